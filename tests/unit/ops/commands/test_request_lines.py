"""ops.commands.request_lines: requests as people read them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ollama_proxy.ops.commands.request_lines import (
    asked_text,
    chain_text,
    in_flight_line,
    request_lines,
    request_rows,
    seconds_text,
    tokens_text,
)

#: 12:00 UTC on 22 November 2026.
NOW = 1795348800.0

ONE: dict[str, Any] = {
    "id": "0123456789abcdef",
    "ended_at": "2026-11-22T11:59:58.123Z",
    "caller": "key 1",
    "api": "ollama",
    "route": "/api/chat",
    "asked": "free",
    "model": "z-ai/glm:free",
    "chain": [
        {"model": "a/b:free", "reason": "rate limited", "seconds": 0.5},
        {"model": "c/d:free", "reason": "empty", "seconds": 1.25},
        {"model": "z-ai/glm:free", "reason": None, "seconds": 2.0},
    ],
    "first_token_seconds": 0.82,
    "seconds": 12.34,
    "prompt_tokens": 12,
    "completion_tokens": 340,
    "cost": 0.00025,
    "status": 200,
    "outcome": "whole",
    "streamed": True,
    "error": "",
}


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_a_row() -> None:
    [row] = request_rows([ONE], NOW)
    assert row == (
        "01234567",
        "11:59:58",
        "key 1",
        "ollama",
        "free -> glm:free",
        "0.82 s",
        "12.3 s",
        "12+340",
        "whole",
        "b:free (rate limited) > d:free (empty) > glm:free",
    )


def test_a_row_of_a_refused_request() -> None:
    refused = ONE | {
        "model": None,
        "chain": [],
        "first_token_seconds": None,
        "prompt_tokens": None,
        "completion_tokens": None,
        "status": 404,
        "outcome": "refused",
    }
    [row] = request_rows([refused], NOW)
    assert row[4:] == ("free", "", "12.3 s", "", "refused 404", "")


@pytest.mark.parametrize(
    ("asked", "model", "text"),
    [
        ("free", "a/b:free", "free -> b:free"),
        ("a/b:free", "a/b:free", "b:free"),
        ("b:free", "a/b:free", "b:free"),
        ("", "a/b:free", "b:free"),
        ("x", None, "x"),
        ("", None, ""),
    ],
)
def test_who_was_asked_and_who_answered(asked: str, model: str | None, text: str) -> None:
    assert asked_text({"asked": asked, "model": model}) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.004, "0.00 s"), (0.5, "0.50 s"), (1, "1 s"), (12.34, "12.3 s"), (99.9, "99.9 s"), (130, "3 min")],
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("prompt", "completion", "text"), [(None, None, ""), (3, None, "3+0"), (None, 4, "0+4"), (0, 0, "0+0")]
)
def test_tokens(prompt: int | None, completion: int | None, text: str) -> None:
    assert tokens_text({"prompt_tokens": prompt, "completion_tokens": completion}) == text


def test_a_chain_of_one() -> None:
    assert chain_text(ONE["chain"][2:]) == "glm:free"


def test_one_request_in_full() -> None:
    assert list(request_lines(ONE, NOW)) == [
        "id           0123456789abcdef",
        "ended        11:59:58",
        "caller       key 1",
        "route        /api/chat (ollama, streamed)",
        "asked        free",
        "answered     z-ai/glm:free",
        "outcome      whole, status 200",
        "first token  0.82 s",
        "total        12.3 s",
        "tokens       12+340",
        "cost         $0.000250",
        "attempt 1    a/b:free: rate limited (0.50 s)",
        "attempt 2    c/d:free: empty (1.25 s)",
        "attempt 3    z-ai/glm:free: answered (2 s)",
    ]


def test_a_request_that_is_under_way() -> None:
    flying = {
        "began_at": "2026-11-22T11:59:30.500Z",
        "caller": "10.0.0.1",
        "api": "openai",
        "asked": "x",
        "model": None,
    }
    assert in_flight_line(flying, NOW).split() == ["30", "s", "10.0.0.1", "openai", "x"]
