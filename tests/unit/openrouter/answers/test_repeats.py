"""Deltas that are not parsed: only such as would parse to the same but for their text."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.ollama.answer.from_openrouter import ChatAnswer, GenerateAnswer
from ollama_proxy.openrouter.answers.repeats import RepeatedDelta, are_alike_and_sound


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


BETWEEN = b"\n\ndata: "


def sound(payloads: list[bytes]) -> bool:
    return are_alike_and_sound(payloads, BETWEEN.join(payloads), BETWEEN)


def around(literal: bytes) -> bytes:
    """A delta whose text stands between its quotes as given."""
    return payload("X").replace(b'"X"', b'"%b"' % literal)


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["Hello", " world", "!"], id="plain"),
        pytest.param(["", "", ""], id="empty ones"),
        pytest.param(["a", 'say "x"', "a\\", '\\"', "\\\\", "a\nb"], id="escapes"),
        pytest.param(["é", "\U0001f600", "\u2028"], id="not ASCII"),
        pytest.param(["only one"], id="a single one"),
    ],
)
def test_a_burst_of_deltas_is_sound(texts: list[str]) -> None:
    assert sound([payload(text) for text in texts])


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param([payload("a"), payload("b", more=1)], id="one that differs elsewhere"),
        pytest.param([payload("a"), payload("b")[:-1]], id="one that is cut"),
        pytest.param([payload("a")[:-1], payload("b")[:-1]], id="alike, and no JSON"),
        pytest.param([b'["content":"a"]', b'["content":"b"]'], id="alike, and no object"),
        pytest.param([around(b"a"), around(b"\xff")], id="bytes that are not UTF-8"),
        pytest.param([around(b"a"), around(b"\xc3"), around(b"\xa9")], id="a character over two payloads"),
        pytest.param([around(b"a"), around(b"\t")], id="a bare control character"),
        pytest.param([around(b"a"), around(b"\\x")], id="an escape that is none"),
        pytest.param([around(b"a"), around(rb"\ud83d")], id="half of a pair"),
        pytest.param([around(b"a"), around(b"b\\"), around(b',"')], id="a backslash at the end"),
        pytest.param([around(b"a"), around(b'b","c')], id="a quote in the middle"),
        pytest.param([b"{}", b"{}"], id="no content"),
    ],
)
def test_what_may_not_be_sound_is_looked_at_one_by_one(payloads: list[bytes]) -> None:
    assert not sound(payloads)


@given(
    first=st.binary(max_size=4),
    others=st.lists(
        st.one_of(
            st.binary(max_size=4),
            st.lists(st.sampled_from([b"\\", b'"', b",", b"n", b"u0041", b"a", b"\xc3", b"\xa9", b" "])).map(b"".join),
        ),
        max_size=6,
    ),
)
def test_bursts_that_are_taken_for_sound_are_json_in_each_payload(first: bytes, others: list[bytes]) -> None:
    payloads = [around(literal) for literal in (first, *others) if b"\n" not in literal]
    if payloads and sound(payloads):
        for one in payloads:
            assert isinstance(json.loads(one.decode()), dict)
