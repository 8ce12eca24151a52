"""Chunks as OpenRouter sends them, written by hand, and answers with clocks of their own: for several tests."""

from __future__ import annotations

import json
from typing import Any

from ollama_proxy.ollama.answer.from_openrouter import ChatAnswer, GenerateAnswer

NOON = 1_790_000_000_500_000_000
NOON_TEXT = "2026-09-21T14:13:20.5Z"


def ticking() -> Any:
    """A monotonic clock that moves on by 10 ns at each reading, from 1000."""
    readings = iter(range(1000, 10**9, 10))
    return lambda: next(readings)


def chat(model: str = "m:latest", **options: Any) -> ChatAnswer:
    return ChatAnswer(model, started_ns=990, clock=lambda: NOON, monotonic=ticking(), **options)


def generate(**options: Any) -> GenerateAnswer:
    return GenerateAnswer("m:latest", started_ns=990, clock=lambda: NOON, monotonic=ticking(), **options)


def delta(value: dict[str, Any], finish: str | None = None, **parts: Any) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", **value}, "finish_reason": finish, **parts}
    return json.dumps({"choices": [choice]}).encode()


def call(index: int | None, arguments: Any, **first: Any) -> dict[str, Any]:
    """One fragment; `id` and `name` only in the first of a call."""
    function = {"arguments": arguments} | ({"name": first["name"]} if "name" in first else {})
    fragment: dict[str, Any] = {"function": function}
    return fragment | ({} if index is None else {"index": index}) | ({"id": first["id"]} if "id" in first else {})


STOP = delta({"content": ""}, "stop")
USAGE = json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}).encode()


def lines_of(writes: list[bytes]) -> list[dict[str, Any]]:
    assert all(write.endswith(b"\n") for write in writes)
    return [json.loads(line) for line in b"".join(writes).split(b"\n")[:-1]]


def run(answer: ChatAnswer | GenerateAnswer, *payloads: bytes) -> list[dict[str, Any]]:
    return lines_of(answer.feed(list(payloads)) + answer.end())


def messages(*payloads: bytes, **options: Any) -> list[dict[str, Any]]:
    """The messages of all lines but the last."""
    answer = chat(**options)
    *rest, last = run(answer, *payloads)
    assert last["done"] is True
    assert answer.failure is None
    return [line["message"] for line in rest]
