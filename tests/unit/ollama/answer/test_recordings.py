"""Recorded answers of OpenRouter, replayed: what a client reads against a naive reading of the recording."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ollama import ChatResponse, GenerateResponse

from ollama_proxy.ollama.answer.from_openrouter import ChatAnswer, GenerateAnswer
from ollama_proxy.openrouter.answers.chunks import as_chunk, dump_payload, parse_payload
from ollama_proxy.openrouter.answers.events import DONE, EventDecoder

TRUNCATED = {"gpt-4.1-mini.tool-truncated"}
"""Recordings whose tool call the token limit cut off."""


def recordings(folder: str, suffix: str) -> list[Any]:
    root = os.environ.get("OPENROUTER_RECORDINGS")
    if not root:
        return [pytest.param(None, marks=pytest.mark.skip(reason="OPENROUTER_RECORDINGS is unset"))]
    paths = sorted(Path(root, folder).glob(f"*{suffix}"))
    return [pytest.param(path, id=path.name.removesuffix(suffix)) for path in paths]


STREAMS = recordings("chat-stream", ".response.sse")
BODIES = recordings("chat", ".response.json")


def naive(deltas: Iterable[dict[str, Any]], usages: Iterable[Any]) -> dict[str, Any]:
    """An independent reading: content and refusals, thinking, calls by index, the last usage."""
    text, thinking, calls = "", "", {}
    for delta in deltas:
        text += (delta.get("content") or "") + (delta.get("refusal") or "")
        details = delta.get("reasoning_details") or []
        thinking += delta.get("reasoning") or "".join(d.get("text") or d.get("summary") or "" for d in details)
        for position, fragment in enumerate(delta.get("tool_calls") or []):
            call = calls.setdefault(fragment.get("index", position), ["", "", ""])
            call[0] += fragment.get("id") or ""
            call[1] += fragment["function"].get("name") or ""
            call[2] += fragment["function"].get("arguments") or ""
    usage = [usage for usage in usages if usage][-1:] or [{}]
    counts = (usage[0].get("prompt_tokens"), usage[0].get("completion_tokens"))
    return {"text": text, "thinking": thinking, "calls": list(calls.values()), "counts": counts}


def naive_stream(path: Path) -> dict[str, Any]:
    lines = path.read_text().split("\n")
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return naive([chunk["choices"][0]["delta"] for chunk in chunks], [chunk.get("usage") for chunk in chunks])


def naive_body(path: Path) -> dict[str, Any]:
    body = json.loads(path.read_text())
    return naive([body["choices"][0]["message"]], [body.get("usage")])


def decoded(path: Path) -> list[bytes]:
    decoder = EventDecoder()
    return decoder.feed(path.read_bytes()) + decoder.flush()


def read_as_client(writes: list[bytes]) -> dict[str, Any]:
    """What the official package's models make of the lines."""
    *chunks, last = [ChatResponse(**json.loads(line)) for line in b"".join(writes).splitlines()]
    assert last.done is True
    assert last.message.content == ""
    assert [chunk.done for chunk in chunks] == [False] * len(chunks)
    calls = [call for chunk in chunks for call in chunk.message.tool_calls or []]
    return {
        "text": "".join(chunk.message.content or "" for chunk in chunks),
        "thinking": "".join(chunk.message.thinking or "" for chunk in chunks),
        "calls": [[call.function.name, call.function.arguments] for call in calls],
        "counts": (last.prompt_eval_count, last.eval_count),
    }


def without_ids(reading: dict[str, Any]) -> dict[str, Any]:
    calls = [[name, json.loads(arguments or "{}")] for _, name, arguments in reading["calls"]]
    return {**reading, "calls": calls}


def ids_of(writes: list[bytes]) -> list[str]:
    messages = [json.loads(line)["message"] for line in b"".join(writes).splitlines()]
    return [call["id"] for message in messages for call in message.get("tool_calls", [])]


@pytest.mark.parametrize("path", STREAMS)
def test_a_recorded_stream_reads_the_same(path: Path) -> None:
    answer = ChatAnswer("m:latest", started_ns=0)
    writes = answer.feed(decoded(path)) + answer.end()
    expected = naive_stream(path)
    if path.name.partition(".response")[0] in TRUNCATED:
        assert writes == []
        assert answer.failure is not None
        return
    assert answer.failure is None
    assert read_as_client(writes) == without_ids(expected)
    assert ids_of(writes) == [id_ for id_, _, _ in expected["calls"]]


@pytest.mark.parametrize("path", STREAMS)
def test_a_recorded_stream_as_one_object(path: Path) -> None:
    answer = ChatAnswer("m:latest", started_ns=0, collect=True)
    assert answer.feed(decoded(path)) + answer.end() == []
    if path.name.partition(".response")[0] in TRUNCATED:
        assert answer.failure is not None
        return
    whole = json.loads(answer.body())
    ChatResponse(**whole)
    expected = without_ids(naive_stream(path))
    assert whole["message"]["content"] == expected["text"]
    assert whole["message"].get("thinking", "") == expected["thinking"]
    assert len(whole["message"].get("tool_calls", [])) == len(expected["calls"])


@pytest.mark.parametrize("path", STREAMS)
def test_a_recorded_stream_through_generate(path: Path) -> None:
    answer = GenerateAnswer("m:latest", started_ns=0)
    writes = answer.feed(decoded(path)) + answer.end()
    chunks = [GenerateResponse(**json.loads(line)) for line in b"".join(writes).splitlines()]
    assert "".join(chunk.response or "" for chunk in chunks) == naive_stream(path)["text"]
    assert [chunk.done for chunk in chunks].count(True) == (0 if answer.failure else 1)


@pytest.mark.parametrize("path", BODIES)
def test_a_recorded_completion_reads_the_same(path: Path) -> None:
    answer = ChatAnswer("m:latest", started_ns=0)
    writes = answer.feed([dump_payload(as_chunk(parse_payload(path.read_bytes()))), DONE]) + answer.end()
    assert answer.failure is None
    assert read_as_client(writes) == without_ids(naive_body(path))


def test_the_late_token_limit_ends_with_length() -> None:
    root = os.environ.get("OPENROUTER_RECORDINGS")
    if not root:
        pytest.skip("OPENROUTER_RECORDINGS is unset")
    answer = ChatAnswer("m:latest", started_ns=0)
    path = Path(root, "chat-stream", "free-minimax-m2.mid-stream-error.response.sse")
    writes = answer.feed(decoded(path)) + answer.end()
    assert json.loads(b"".join(writes).splitlines()[-1])["done_reason"] == "length"


@pytest.mark.parametrize("path", recordings("errors", ".response.sse"))
def test_a_recorded_error_in_a_stream_is_a_failure_before_any_output(path: Path) -> None:
    answer = ChatAnswer("m:latest", started_ns=0)
    assert answer.feed(decoded(path)) + answer.end() == []
    assert answer.failure is not None
    assert not answer.has_output
