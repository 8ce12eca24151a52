"""Deltas that are not parsed: only such as would parse to the same but for their text."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.ollama.answer.from_openrouter import ChatAnswer, GenerateAnswer
from ollama_proxy.openrouter.answers.repeats import RepeatedDelta


def payload(content: str, **more: Any) -> bytes:
    delta = {"role": "assistant", "content": content, **more}
    choice = {"index": 0, "delta": delta, "finish_reason": None, "native_finish_reason": None}
    return orjson.dumps({"id": "gen-1", "model": "a/b", "choices": [choice], "created": 1})


def learned(example: bytes = payload("Hello"), content: str = "Hello") -> RepeatedDelta:
    repeated = RepeatedDelta()
    repeated.learn(example, content)
    return repeated


def test_the_text_of_a_delta_like_the_one_before() -> None:
    assert learned().content_of(payload(" world!")) == b'" world!"'


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(payload(""), id="an empty text"),
        pytest.param(payload('say "x"'), id="an escaped quote"),
        pytest.param(payload("a\nb"), id="an escaped newline"),
        pytest.param(payload("a").replace(b'"a"', b'"a\tb"'), id="a bare tab, which is no JSON"),
        pytest.param(payload("a").replace(b'"a"', b'"a\x7fb"'), id="a delete character"),
        pytest.param(payload("é"), id="not ASCII"),
        pytest.param(payload("\u2028"), id="a line separator"),
        pytest.param(payload("x" * 5000), id="a long text"),
        pytest.param(payload("a").replace(b'"a"', b"null"), id="null"),
        pytest.param(payload("a").replace(b'"a"', b'"a","b":"c"'), id="another member"),
        pytest.param(payload("a").replace(b'"a"', b'["a"]'), id="a list"),
        pytest.param(payload("a").replace(b'"a"', b' "a"'), id="white space"),
        pytest.param(payload("a", reasoning="b"), id="a text of another kind beside it"),
        pytest.param(payload("a").replace(b'"finish_reason":null', b'"finish_reason":"stop"'), id="the finish"),
        pytest.param(payload("a")[:-1], id="a cut payload"),
        pytest.param(b"[DONE]", id="the end"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_anything_else_must_be_parsed(other: bytes) -> None:
    assert learned().content_of(other) is None


@pytest.mark.parametrize(
    ("example", "content"),
    [
        pytest.param(json.dumps({"choices": [{"delta": {"content": "a"}}]}).encode(), "a", id="white space"),
        pytest.param(b'{"choices":[{"delta":{"content":"a","content":"b"}}]}', "b", id="the key twice"),
        pytest.param(b'{"choices":[{"delta":{"cont\\u0065nt":"a"}}]}', "a", id="an escaped key"),
        pytest.param(b'{"choices":[{"delta":{"content":"\\u0061"}}]}', "a", id="an escaped text"),
        pytest.param(payload("é"), "é", id="a text that is not ASCII"),
    ],
)
def test_what_nothing_is_learned_from(example: bytes, content: str) -> None:
    repeated = learned(example, content)
    assert repeated.content_of(example) is None
    assert repeated.content_of(payload("a")) is None


CONTENTS = st.lists(st.one_of(st.text(max_size=8), st.sampled_from(["a", " b", '"', "\\", "\ud83d", "\ude00", ""])))


@given(
    contents=CONTENTS, cut=st.integers(0, 20), collect=st.booleans(), kind=st.sampled_from([ChatAnswer, GenerateAnswer])
)
def test_an_answer_is_the_same_with_and_without(contents: list[str], cut: int, collect: bool, kind: type) -> None:
    payloads = [json.dumps(json.loads(payload("X")), separators=(",", ":")).replace('"X"', json.dumps(text)).encode()
                for text in contents]  # fmt: skip
    answers = [kind("m", started_ns=0, collect=collect, clock=lambda: 0, monotonic=lambda: 1) for _ in range(2)]
    answers[1]._repeats.learn = lambda *_: None
    told = [
        [*answer.feed(payloads[:cut]), *answer.feed([*payloads[cut:], b"[DONE]"]), *answer.end()] for answer in answers
    ]
    assert told[0] == told[1]
    assert not collect or answers[0].body() == answers[1].body()
