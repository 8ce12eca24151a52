"""Looks at parsed payloads."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.openrouter.answers import chunks
from ollama_proxy.openrouter.answers.chunks import MalformedChunk, cost_of, count_of


def chunk(**parts: Any) -> dict[str, Any]:
    """A chunk with one choice; `delta` and the choice's other keys are given."""
    return {"id": "gen-1", "choices": [{"index": 0, "delta": {}, "finish_reason": None, **parts}]}


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        pytest.param(b' \n {"a":1}\n', {"a": 1}, id="padding"),
        pytest.param(rb'{"a":"\ud83d\ude00"}', {"a": "\U0001f600"}, id="a whole escaped pair"),
        pytest.param(rb'{"a":"x\ud83d"}', {"a": "x\ud83d"}, id="the first half alone stays"),
        pytest.param(rb'{"a":"\ude00x"}', {"a": "\ude00x"}, id="the second half alone stays"),
        pytest.param(b'{"a":"\xff"}', {"a": "\ufffd"}, id="bytes that are not UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', {"a": 1}, id="byte order mark"),
        pytest.param(b'{"a":"\n"}', {"a": "\n"}, id="raw control character"),
        pytest.param(b'{"a":[NaN,-Infinity,1e999]}', {"a": [None, None, None]}, id="numbers that are none"),
        pytest.param(
            b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890.0}, id="a large one"
        ),
        pytest.param(
            rb'{"a":123456789012345678901234567890,"b":"\ud83d"}',
            {"a": 123456789012345678901234567890.0, "b": "\ud83d"},
            id="a large one, read leniently",
        ),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", {"a": None}, id="a number of thousands of digits"),
    ],
)
def test_parse(payload: bytes, value: dict[str, Any]) -> None:
    assert chunks.parse_payload(payload) == value


@pytest.mark.parametrize(
    "payload",
    [rb'{"a":"x\ud83d"}', rb'{"a":["\ude00"]}', b'{"a":' * 300 + b"{}" + b"}" * 300],
    ids=["first half of a pair", "second half of a pair", "deep"],
)
def test_whatever_can_be_read_can_be_written(payload: bytes) -> None:
    assert chunks.dump_payload(chunks.parse_payload(payload)) == payload


@pytest.mark.parametrize(
    ("payload", "passed"),
    [
        pytest.param(b'{"a": 1, "b": "\xc3\xa9"}', b'{"a": 1, "b": "\xc3\xa9"}', id="JSON goes as it is"),
        pytest.param(b'{"a":"\xff"}', '{"a":"\ufffd"}'.encode(), id="bytes that are not UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', b'{"a":1}', id="byte order mark"),
        pytest.param(b'{"a":NaN}', b'{"a":null}', id="no number"),
        pytest.param(rb'{"a":"\ud83d"}', rb'{"a":"\ud83d"}', id="half a pair"),
        pytest.param(b'{"a":"\t"}', rb'{"a":"\t"}', id="a bare control character"),
    ],
)
def test_what_a_client_gets_can_be_read_by_any(payload: bytes, passed: bytes) -> None:
    assert chunks.passable(payload) == passed


def test_what_is_nested_too_deep_cannot_be_written() -> None:
    value: Any = 0
    for _ in range(5000):
        value = [value]
    with pytest.raises(MalformedChunk):
        chunks.dump_payload({"a": value})


@pytest.mark.parametrize(
    ("usage", "count"),
    [
        ({"prompt_tokens": 7}, 7),
        ({"input_tokens": 0}, 0),
        ({"prompt_tokens": None, "input_tokens": 3}, 3),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": True}, None),
        ({"prompt_tokens": 1.5}, None),
        ({"prompt_tokens": "7"}, None),
        ({"prompt_tokens": 2**63}, None),
        ({}, None),
    ],
)
def test_counts(usage: dict[str, Any], count: int | None) -> None:
    assert chunks.count_of(usage, "prompt_tokens", "input_tokens") == count


@pytest.mark.parametrize("payload", [b"", b"<html>", b'{"a":', b"[1]", b'"x"', b"null", b'{"a":1}x', b"[" * 100_000])
def test_parse_refuses(payload: bytes) -> None:
    with pytest.raises(MalformedChunk) as caught:
        chunks.parse_payload(payload)
    assert "html" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param({"choices": [], "error": {"code": 502, "message": "lost"}}, "lost", id="no choices"),
        pytest.param({"error": "in words"}, "in words", id="a string"),
        pytest.param({"error": {"code": 500}}, "error without a message", id="without a message"),
        pytest.param(chunk(error={"message": "inside"}), "inside", id="in the choice"),
        pytest.param(
            chunk(finish_reason="error", native_finish_reason="MALFORMED_FUNCTION_CALL"),
            "the provider ended the answer with an error: MALFORMED_FUNCTION_CALL",
            id="only a finish reason",
        ),
        pytest.param(
            {"error": {"message": "top"}} | chunk(finish_reason="error"), "top", id="an object beats the finish reason"
        ),
        pytest.param({"error": None} | chunk(), None, id="null is no error"),
        pytest.param(chunk(finish_reason="stop"), None, id="a good finish"),
        pytest.param({}, None, id="empty"),
    ],
)
def test_error_of(value: dict[str, Any], message: str | None) -> None:
    error = chunks.error_of(value)
    assert (error and error["message"]) == message


def test_error_of_keeps_code_and_metadata() -> None:
    error = {"code": 429, "message": "slow", "metadata": {"provider_name": "X"}}
    assert chunks.error_of({"error": error, "choices": []}) == error
    assert chunks.error_of({"choices": [{"delta": {}, "finish_reason": "error"}]})["code"] == 502  # type: ignore[index]


@pytest.mark.parametrize(
    ("delta", "useful"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"content": None, "reasoning": None, "reasoning_details": [], "tool_calls": []}, False),
        ({"content": " "}, True),
        ({"reasoning": "hm"}, True),
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]}, True),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "xx"}]}, False),
        ({"refusal": "no"}, True),
        ({"tool_calls": [{"index": 0}]}, True),
        ({"images": [{"image_url": {"url": "data:image/png;base64,AA=="}}]}, True),
        ({"content": None, "audio": {"data": "AA==", "transcript": "hi"}}, True),
    ],
    ids=str,
)
def test_is_useful(delta: dict[str, Any], useful: bool) -> None:
    assert chunks.is_useful(chunk(delta=delta)) is useful
    assert chunks.is_useful({"choices": [{"message": delta}]}) is useful


@pytest.mark.parametrize(
    "value", [{}, {"choices": None}, {"choices": []}, {"choices": [None]}, {"choices": [{"index": 1}]}]
)
def test_without_a_first_choice_there_is_nothing(value: dict[str, Any]) -> None:
    assert chunks.choice_of(value) is None
    assert not chunks.is_useful(value)
    assert chunks.finish_of(value) is None


def test_reasoning_is_taken_once() -> None:
    both = {"reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a"}]}
    assert chunks.reasoning_of(both) == "a"
    assert chunks.reasoning_of({**both, "reasoning": None}) == "a"


def test_finish_and_usage() -> None:
    assert chunks.finish_of(chunk(finish_reason="length")) == "length"
    assert chunks.usage_of({"usage": {"prompt_tokens": 1}}) == {"prompt_tokens": 1}
    assert chunks.usage_of({"usage": None}) is None


def test_a_completion_becomes_a_chunk() -> None:
    message = {"role": "assistant", "content": "hi"}
    completion = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}
    made = chunks.as_chunk(completion)
    assert made["choices"] == [{"index": 0, "delta": message, "finish_reason": "stop"}]
    assert made["usage"] == completion["usage"]
    assert chunks.as_chunk({"error": {"message": "x"}}) == {"error": {"message": "x"}}


@pytest.mark.parametrize(
    ("message", "finished", "late"),
    [
        ("Token limit reached", True, True),
        ("Token limit reached", False, False),
        ("Network connection lost.", True, False),
    ],
)
def test_is_late_limit(message: str, finished: bool, late: bool) -> None:
    assert chunks.is_late_limit(chunk() | {"error": {"code": 400, "message": message}}, finished) is late


def test_a_late_limit_is_known_by_its_type_too() -> None:
    error = {"code": 400, "message": "x", "metadata": {"error_type": "token_limit_exceeded"}}
    assert chunks.is_late_limit(chunk() | {"error": error}, finished=True)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param({"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.5}, (3, 4, 0.5), id="chat"),
        pytest.param({"input_tokens": 3, "output_tokens": 4}, (3, 4, None), id="responses and messages"),
        pytest.param({"prompt_tokens": 3}, (3, None, None), id="embeddings"),
        pytest.param({}, (None, None, None), id="none"),
        pytest.param({"prompt_tokens": -1, "completion_tokens": 2**64, "cost": -1}, (None, None, None), id="absurd"),
        pytest.param(
            {"prompt_tokens": "3", "completion_tokens": True, "cost": "1"}, (None, None, None), id="no numbers"
        ),
        pytest.param({"cost": float("nan")}, (None, None, None), id="not a number"),
    ],
)
def test_usage(usage: dict[str, Any], expected: tuple[int | None, int | None, float | None]) -> None:
    counts = count_of(usage, "prompt_tokens", "input_tokens"), count_of(usage, "completion_tokens", "output_tokens")
    assert (*counts, cost_of(usage)) == expected
