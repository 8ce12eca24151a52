"""When upstream may be asked again, and with what."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from tests.unit.openrouter.errors.upstream_errors import MIDNIGHT, NOW, error, verdict, wrapped


def free_limit(name: str, reset: Any = None, **headers: str) -> Verdict:
    echoed = {} if reset is None else {"headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Reset": reset}}
    return verdict(
        error(f"Rate limit exceeded: free-models-{name}. ", 429, provider_name=None, **echoed), 429, **headers
    )


@pytest.mark.parametrize(
    ("name", "reset", "expected"),
    [
        ("per-min", str(int((NOW + 42) * 1000)), NOW + 42),
        ("per-min", str(int(NOW + 42)), NOW + 42),
        ("per-min", None, NOW + 60),
        ("per-min", str(int((NOW + 9 * 3600) * 1000)), NOW + 60),
        ("per-day", int(MIDNIGHT * 1000), MIDNIGHT),
        ("per-day", "2026-05-05T00:00:00Z", MIDNIGHT),
        ("per-day", None, MIDNIGHT),
        ("per-day", "soon", MIDNIGHT),
        ("per-day", "-5", MIDNIGHT),
        ("per-day", "12", MIDNIGHT),
        ("per-day", str(int((NOW - 86_400) * 1000)), MIDNIGHT),
        ("per-day", str(int((NOW - 5) * 1000)), NOW + 30),
        ("per-day", str(int((NOW + 400_000) * 1000)), NOW + 86_400),
        ("per-day", "1e400", MIDNIGHT),
        ("per-day-high-balance", None, MIDNIGHT),
        ("per-hour", None, NOW + 720),
    ],
    ids=[
        "milliseconds",
        "seconds",
        "next full minute",
        "hours for a minute limit are not believed",
        "as a number",
        "ISO date",
        "next midnight UTC",
        "junk",
        "negative",
        "small number",
        "long past",
        "just past: clocks differ",
        "at most 24 h",
        "infinite",
        "high balance",
        "an hour limit",
    ],
)
def test_account_limit_reset(name: str, reset: Any, expected: float) -> None:
    found = free_limit(name, reset)
    assert (found.blame, found.status) == (Blame.ACCOUNT_LIMIT, 429)
    assert found.retry_at == pytest.approx(expected, abs=0.01)


def test_account_limit_reads_http_headers_in_any_case() -> None:
    found = free_limit("per-day", **{"X-RATELIMIT-Reset": str(int(MIDNIGHT * 1000)), "x-ratelimit-LIMIT": "1000"})
    assert found.retry_at == MIDNIGHT
    assert "1000 a day" in found.message


def test_account_limit_is_known_by_its_source() -> None:
    found = verdict(error("Too many requests", 429, limit_source="openrouter_free_tier_per_minute"), 429)
    assert (found.blame, found.reason, found.retry_at) == (Blame.ACCOUNT_LIMIT, "free limit per minute", NOW + 60)


def test_account_limit_says_when_in_words() -> None:
    assert free_limit("per-day", str(int(MIDNIGHT * 1000))).message == (
        "upstream error: OpenRouter's free limit for this account is reached (free-models-per-day, 50 a day):"
        " resets at 00:00 UTC, in 3 h 12 min"
    )


def test_stealth_limit_is_not_the_account_limit() -> None:
    found = free_limit("per-day-stealth")
    assert (found.blame, found.status, found.retry_at) == (Blame.STEALTH_LIMIT, 429, MIDNIGHT)
    assert "stealth models" in found.message


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


def test_a_free_limit_that_says_to_try_at_once_holds_until_its_usual_end() -> None:
    found = verdict(error("Rate limit exceeded: free-models-per-day. ", 429), 429, retry_after="0")
    assert (found.blame, found.retry_at) == (Blame.ACCOUNT_LIMIT, MIDNIGHT)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("0", None),
        (" 30 ", 30.0),
        (http_date(90), 90.0),
        ("999999999", 86_400.0),
        (http_date(999_999), 86_400.0),
        ("-3", None),
        (http_date(-90), None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
    ],
    ids=[
        "seconds",
        "fraction",
        "zero",
        "spaces",
        "date",
        "huge",
        "far date",
        "negative",
        "past date",
        "junk",
        "empty",
        "nan",
        "inf",
    ],
)
@pytest.mark.parametrize("place", ["http header", "echoed header", "metadata"])
def test_retry_after(place: str, value: str, expected: float | None) -> None:
    metadata: dict[str, Any] = {"provider_name": "Acme"}
    headers = {"reTRY-after": value} if place == "http header" else {}
    if place == "echoed header":
        metadata["headers"] = {"Retry-After": value}
    if place == "metadata":
        metadata["retry_after_seconds"] = value
    found = verdict(error("Provider returned error", 429, **metadata), 429, **headers)
    assert found.blame is Blame.MODEL_RATE_LIMIT
    assert found.retry_at == (None if expected is None else pytest.approx(NOW + expected))


def test_retry_after_of_an_overloaded_model() -> None:
    assert verdict(error("Busy", 503), 503, Retry_After="120").retry_at == NOW + 120


def test_retry_after_in_a_providers_words() -> None:
    raw = json.dumps({"error": {"message": "Quota", "details": [{"retryDelay": "34s"}]}})
    assert verdict(error("Provider returned error", 429, raw=raw, provider_name="A"), 429).retry_at == NOW + 34
    assert verdict(wrapped(429, "Limit reached. Please try again in 7.5s."), 429).retry_at == NOW + 7.5


def test_unknown_limit_waits_half_a_minute_unless_told() -> None:
    assert verdict(error("Slow down", 429), 429).retry_at == NOW + 30
    assert verdict(error("Slow down", 429), 429, retry_after="5").retry_at == NOW + 5
    assert verdict(error("Slow down", 429), 429, retry_after="600").retry_at == NOW + 600


@pytest.mark.parametrize(
    "body", [b"<html>Error 1015</html>", b"", b"slow down", {"message": "Too many requests"}, {"detail": "no"}]
)
def test_a_limit_that_is_not_in_openrouters_form_is_not_believed_for_long(body: Any) -> None:
    found = verdict(body, 429, retry_after="86400")
    assert (found.blame, found.retry_at) == (Blame.UNKNOWN_LIMIT, NOW + 30)
    assert verdict(body, 429, retry_after="5").retry_at == NOW + 5
    assert verdict(body, 429, **{"X_RateLimit_Reset": str(int(NOW + 7200))}).retry_at == NOW + 30


def test_what_blames_no_time_names_none() -> None:
    for body, status in [
        (wrapped(400, "bad"), 400),
        (error("x is not a valid model ID"), 400),
        (error("no", 413), 413),
    ]:
        assert verdict(body, status, retry_after="5").retry_at is None


@pytest.mark.parametrize(
    ("body", "status", "tokens"),
    [
        (
            error(
                "This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but"
                " can only"
                " afford 2,345. To increase, visit https://openrouter.ai/settings/credits",
                402,
            ),
            402,
            2345,
        ),
        (error("fewer max_tokens. You requested up to 9 tokens, but can only afford 0.", 402), 402, None),
        (
            error(
                "This endpoint's maximum context length is 1000 tokens. However, you requested about 1300"
                " tokens (600 of text"
                " input, 100 of tool input, 600 in the output).",
                400,
            ),
            400,
            300,
        ),
        (
            error(
                "This endpoint's maximum context length is 1000 tokens. However, you requested about 1300"
                " tokens (1200 of text"
                " input, 100 in the output).",
                400,
            ),
            400,
            None,
        ),
        (
            error(
                "This endpoint's maximum context length is 1000 tokens. However, you requested about 1300"
                " tokens (1300 of text"
                " input).",
                400,
            ),
            400,
            None,
        ),
        (
            wrapped(
                400,
                "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (5000 in the"
                " messages, 4000 in the completion).",
            ),
            400,
            3192,
        ),
        (
            wrapped(
                400,
                "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is"
                " 32768 tokens and your request has 1500 input tokens (32000 > 32768 - 1500).",
            ),
            400,
            31268,
        ),
        (wrapped(400, "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens"), 400, 8192),
        (
            wrapped(400, "max_tokens is too large: 99999. This model supports at most 16384 completion tokens"),
            400,
            16384,
        ),
    ],
    ids=[
        "affordable",
        "nothing affordable",
        "output too large",
        "input too large",
        "no output asked",
        "OpenAI",
        "vLLM",
        "Anthropic ceiling",
        "OpenAI ceiling",
    ],
)
def test_smaller_max_tokens(body: dict[str, Any], status: int, tokens: int | None) -> None:
    assert verdict(body, status).smaller_max_tokens == tokens


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (error("Reasoning is mandatory for this endpoint and cannot be disabled.", 400), {"reasoning"}),
        (wrapped(400, "Budget 0 is invalid. This model only works in thinking mode."), {"reasoning"}),
        (error("No endpoints found that support the provided 'tool_choice' value.", 404), {"tool_choice"}),
        (wrapped(400, "tools.0.name: bad"), set()),
    ],
    ids=["reasoning is mandatory", "thinking is mandatory", "tool_choice", "something else"],
)
def test_fields_to_leave_out(body: dict[str, Any], fields: set[str]) -> None:
    found = verdict(body)
    assert found.blame is Blame.CAPABILITY
    assert found.without == fields
