"""What the client reads of a failure, and what nobody may read."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.fallback.refusals import limited
from ollama_proxy.storage.failure_table import LimitRow
from tests.unit.openrouter.errors.upstream_errors import KEYS, PRIVACY, error, verdict, wrapped


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (error("No endpoints found that support tool use.", 404), 404, "does not support tools"),
        (error("No endpoints found matching your data policy", 404), 404, PRIVACY),
        (error("No auth credentials found", 401), 401, "OPENROUTER_API_KEY"),
        (error("Insufficient credits", 402), 402, "https://openrouter.ai/settings/credits"),
        (error("Key limit exceeded (daily limit)", 403), 403, KEYS),
        (wrapped(400, "tools.0.name: only letters"), 400, "tools.0.name: only letters"),
        (
            wrapped(400, "Messages must hold the word 'json' to use the type 'json_object' as the format"),
            400,
            "'json_object' as",
        ),
        (error("Provider returned error", 400, raw={"detail": "bad top_k"}, provider_name="Acme"), 400, "bad top_k"),
        (error('Your input was flagged for "violence/graphic".', 403), 403, "violence/graphic"),
        (
            {
                "success": False,
                "error": {
                    "name": "ZodError",
                    "message": '[{"code":"x","path":["input",0],"message":"Invalid input: expected string,'
                    ' received undefined"}]',
                },
            },
            400,
            "Invalid input: expected string, received undefined (at input.0)",
        ),
    ],
    ids=[
        "tools",
        "privacy page",
        "key",
        "credits page",
        "keys page",
        "provider text",
        "short quotations",
        "raw object",
        "category",
        "zod",
    ],
)
def test_message_says_what_to_do(body: dict[str, Any], status: int, words: str) -> None:
    assert words in verdict(body, status).message


CANARY = "the purple walrus sings at noon"
LEAKS: list[tuple[str, Any, int]] = [
    (
        "user id",
        {"error": {"message": "Denied for user_2abcDEF of org_9XYZ12", "code": 400}, "user_id": "user_2abcDEF"},
        400,
    ),
    ("key", error("Incorrect API key provided: sk-or-v1-0123456789abcdef0123", 400), 400),
    ("bearer", error("Header was 'Bearer abc.def-ghi'", 400), 400),
    ("long token", error("Token 0123456789abcdef0123456789abcdef01234567 refused", 400), 400),
    ("e-mail", error("Ask jane.doe@example.com", 400), 400),
    ("data URL", wrapped(400, "Cannot fetch data:image/png;base64,iVBORw0KGgo="), 400),
    (
        "flagged input",
        error(f'Your input was flagged for "{CANARY}".', 403, flagged_input=CANARY, reasons=["hate"]),
        403,
    ),
    ("flagged input in the text", error(f"flagged {CANARY}", 400, flagged_input=CANARY), 400),
    ("patterns", error(f"Request blocked: prompt injection patterns detected {CANARY}", 403, patterns=[CANARY]), 403),
    ("raw text", error("Provider returned error", 400, raw=f"could not read: {CANARY}", provider_name="A"), 400),
    ("raw text of a 500", error("Provider returned error", 500, raw=CANARY, provider_name="A"), 500),
    (
        "pydantic",
        wrapped(400, f"Input should be valid [type=string_type, input_value='{CANARY}', input_type=str]"),
        400,
    ),
    ("echoed prompt", wrapped(400, f"Invalid prompt: {CANARY}"), 400),
    ("long quotation", wrapped(400, f'Cannot parse "{CANARY} {CANARY} {CANARY}" as a message'), 400),
    ("dumped message", wrapped(400, f"Bad item {{'role': 'user', 'content': '{CANARY}'}} in list"), 400),
    ("web page", f"<html>{CANARY}</html>".encode(), 500),
    ("previous errors", error("Overloaded", 503, previous_errors=[{"raw": CANARY}]), 503),
]
PRIVATE = [CANARY, "2abcDEF", "9XYZ12", "0123456789", "abc.def", "jane.doe", "iVBOR"]


@pytest.mark.parametrize(("body", "status"), [leak[1:] for leak in LEAKS], ids=[leak[0] for leak in LEAKS])
def test_nothing_private_is_said(body: Any, status: int) -> None:
    found = verdict(body, status)
    for private in PRIVATE:
        assert private not in found.message
        assert private not in found.reason


def test_a_limit_that_is_told_again_says_how_long_it_holds_yet() -> None:
    met = verdict(error("Rate limit exceeded: free-models-per-day. ", 429), 429)
    assert met.retry_at is not None
    limit = LimitRow("free", met.retry_at, met.reason, met.message, updated_at=0, status=429)
    told = limited(limit, now=met.retry_at - 3_000)
    assert told.retry_after == 3_000
    assert told.message.endswith(" UTC, in 50 min")
    assert told.message.partition(", in ")[0] == met.message.partition(", in ")[0]
    other = LimitRow("account", met.retry_at, "x", "try again in 30 s: Slow down, in 5", updated_at=0, status=429)
    assert limited(other, now=met.retry_at - 3_000).message == other.message
