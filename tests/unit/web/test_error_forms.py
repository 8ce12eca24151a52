"""docs/contract.md, "Errors": how each API tells an error: how long to wait, and that a prompt is too long."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ollama_proxy.anthropic import error_form as messages_form
from ollama_proxy.errors import PromptTooLong, ProxyError, ShuttingDown, Unavailable
from ollama_proxy.ollama import error_form as ollama_form
from ollama_proxy.openai import error_form as openai_form
from ollama_proxy.openai import response_error_form as responses_form
from ollama_proxy.openai.response_stream import ResponseStream
from ollama_proxy.web.error_rendering import ErrorForm, rendered

FORMS: dict[str, ErrorForm] = {
    "ollama": ollama_form,
    "openai": openai_form,
    "responses": responses_form,
    "messages": messages_form,
}
AGENTS = ("openai", "responses", "messages")
LONG = ProxyError("upstream error: slow down", status=429, retry_after=7200)


def told(api: str, error: ProxyError) -> tuple[dict[str, str], Any]:
    headers, body = rendered(FORMS[api], error)
    value = json.loads(body)["error"]
    return {name.lower(): text for name, text in headers}, value


def text(value: Any) -> str:
    return value if isinstance(value, str) else str(value["message"])


@pytest.mark.parametrize("api", FORMS)
@pytest.mark.parametrize("seconds", [1, 60])
def test_a_short_wait_is_a_header_everywhere(api: str, seconds: int) -> None:
    headers, value = told(api, ProxyError("slow down", status=429, retry_after=seconds))
    assert (headers["retry-after"], "x-should-retry" in headers) == (str(seconds), False)
    assert text(value) == "slow down"
    assert api == "ollama" or value["type"] == "rate_limit_error"


def test_a_long_wait_is_a_header_of_the_ollama_api() -> None:
    headers, value = told("ollama", LONG)
    assert (headers["retry-after"], "x-should-retry" in headers) == ("7200", False)
    assert value == "upstream error: slow down"


@pytest.mark.parametrize("api", AGENTS)
@pytest.mark.parametrize("error", [LONG, Unavailable("all are cooling down", retry_after=61)], ids=["429", "503"])
def test_a_long_wait_is_only_said_where_agents_call(api: str, error: ProxyError) -> None:
    headers, value = told(api, error)
    assert ("retry-after" in headers, headers["x-should-retry"]) == (False, "false")
    assert text(value).endswith("(try again in 2 h)" if error is LONG else "(try again in 61 s)")


@pytest.mark.parametrize("api", AGENTS)
def test_what_says_already_how_long_says_it_once(api: str) -> None:
    said = "resets at 14:05 UTC, in 2 h 5 min"
    assert text(told(api, ProxyError(said, status=429, retry_after=7500))[1]) == said


def test_codex_learns_when_a_limit_resets() -> None:
    value = told("responses", LONG)[1]
    assert value["type"] == "usage_limit_reached"
    assert value["resets_at"] == pytest.approx(time.time() + 7200, abs=5)
    assert type(value["resets_at"]) is int
    assert told("openai", LONG)[1]["type"] == "rate_limit_error"
    assert told("responses", Unavailable("x", retry_after=7200))[1]["type"] == "api_error"


FAILED = {
    "a limit that lasts": (LONG, "usage_limit_reached"),
    "a limit that does not": (ProxyError("slow down", status=429, retry_after=5), "rate_limit_exceeded"),
    "too long a prompt": (PromptTooLong(10, 5, said="x"), "context_length_exceeded"),
    "anything else": (ProxyError("no", status=502), "server_error"),
}


@pytest.mark.parametrize("case", FAILED.values(), ids=FAILED)
def test_a_response_that_fails_after_it_began_says_the_same(case: tuple[ProxyError, str]) -> None:
    error, code = case
    events = ResponseStream().failed(error).decode().strip().split("\n\n")
    failed, raised = (json.loads(event.partition("data: ")[2]) for event in events)
    assert failed["response"]["error"]["code"] == raised["code"] == code
    if code == "usage_limit_reached":
        for told_error in (failed["response"]["error"], raised["error"]):
            assert told_error["type"] == "usage_limit_reached"
            assert told_error["resets_at"] == pytest.approx(time.time() + 7200, abs=5)
    assert raised["error"]["message"] == failed["response"]["error"]["message"]


@pytest.mark.parametrize("api", FORMS)
def test_agents_find_the_words_and_numbers_of_too_long_a_prompt(api: str) -> None:
    value = told(api, PromptTooLong(212745, 131072, said="upstream error: no"))[1]
    assert text(value).startswith("prompt is too long: 212745 tokens > 131072 maximum")
    assert "maximum context length is 131072 tokens" in text(value)
    assert api == "ollama" or value["type"] == "invalid_request_error"
    assert api not in ("openai", "responses") or value["code"] == "context_length_exceeded"
    assert b"context_length_exceeded" in openai_form.error_event(PromptTooLong(2, 1, said="x"))


def test_the_shutdown_does_not_end_the_command_line() -> None:
    assert "upstream error" in told("ollama", ShuttingDown())[1]
