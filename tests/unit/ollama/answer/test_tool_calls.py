"""Tool calls: fragments in, complete calls out, each on a line of its own."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ollama_proxy.openrouter.answers.events import DONE
from ollama_proxy.openrouter.errors.classify import classify
from ollama_proxy.openrouter.errors.failure import Blame, FailureKind
from tests.unit.openrouter.answers.upstream_chunks import STOP, USAGE, call, chat, delta, lines_of, messages, run

TOOL_CASES = [
    pytest.param(
        [[call(0, "", id="a", name="f")], [call(0, '{"x"')], [call(0, ":1}")]], [("a", "f", {"x": 1})], id="fragments"
    ),
    pytest.param([[call(0, '{"x":1}', id="a", name="f")]], [("a", "f", {"x": 1})], id="complete in one"),
    pytest.param([[call(0, "", id="a", name="f")]], [("a", "f", {})], id="no arguments"),
    pytest.param([[call(0, None, id="a", name="f")]], [("a", "f", {})], id="null arguments"),
    pytest.param([[call(0, " null ", id="a", name="f")]], [("a", "f", {})], id="the text null"),
    pytest.param([[call(0, {"x": 1}, id="a", name="f")]], [("a", "f", {"x": 1})], id="arguments as an object"),
    pytest.param([[call(0, '"{\\"x\\":1}"', id="a", name="f")]], [("a", "f", {"x": 1})], id="JSON made JSON twice"),
    pytest.param([[call(0, '{"x":"a\nb"}', id="a", name="f")]], [("a", "f", {"x": "a\nb"})], id="raw line end"),
    pytest.param(
        [[call(0, '{"n":123456789012345678901234567890}', id="a", name="f")]],
        [("a", "f", {"n": 123456789012345678901234567890})],
        id="an integer over 64 bits",
    ),
    pytest.param(
        [[call(0, '{"x":1}', id="a", name="f"), call(1, "{}", id="b", name="g")]],
        [("a", "f", {"x": 1}), ("b", "g", {})],
        id="two in one delta",
    ),
    pytest.param(
        [[call(0, "", id="a", name="f")], [call(1, "", id="b", name="g")], [call(0, "{}")], [call(1, '{"y":2}')]],
        [("a", "f", {}), ("b", "g", {"y": 2})],
        id="fragments in turns",
    ),
    pytest.param(
        [[call(0, "{}", id="a", name="f")], [call(0, '{"y":2}', id="b", name="g")]],
        [("a", "f", {}), ("b", "g", {"y": 2})],
        id="every call numbered 0",
    ),
    pytest.param(
        [[call(None, "{", id="a", name="f")], [call(None, "}")], [call(None, "{}", id="b", name="g")]],
        [("a", "f", {}), ("b", "g", {})],
        id="no index at all",
    ),
    pytest.param(
        [[call(0, "{", id="a", name="f")], [call(0, "}", id="z")]], [("a", "f", {})], id="another id for each fragment"
    ),
    pytest.param(
        [[call(0, "{}", id="a", name="f")], [call(1, "{}", id="b", name="f")], [call(0, "")]],
        [("a", "f", {}), ("b", "f", {})],
        id="an empty fragment after its call was sent",
    ),
    pytest.param([[call(3, "{}", id="a", name="f")]], [("a", "f", {})], id="the index is our own"),
    pytest.param([[call(0, "{}", id="a", name="short")]], [("a", "the client's name", {})], id="names are mapped back"),
]


@pytest.mark.parametrize(("fragments", "calls"), TOOL_CASES)
def test_tool_calls_are_complete_and_alone(fragments: list[Any], calls: list[tuple[str, str, Any]]) -> None:
    payloads = [delta({"content": None, "tool_calls": part}) for part in fragments]
    finish = delta({"content": ""}, "tool_calls")
    expected = [
        {"id": id_, "function": {"index": index, "name": name, "arguments": arguments}}
        for index, (id_, name, arguments) in enumerate(calls)
    ]
    names = {"short": "the client's name"}
    got = messages(*payloads, finish, DONE, tool_names=names)
    assert got == [{"role": "assistant", "content": "", "tool_calls": [one]} for one in expected]
    whole = chat(collect=True, tool_names=names)
    whole.feed([*payloads, finish, DONE])
    assert whole.end() == []
    assert json.loads(whole.body())["message"] == {"role": "assistant", "content": "", "tool_calls": expected}


def test_a_call_leaves_when_the_next_one_begins() -> None:
    answer = chat()
    assert answer.feed([delta({"tool_calls": [call(0, '{"x":1}', id="a", name="f")]})]) == []
    assert answer.has_output
    [line] = lines_of(answer.feed([delta({"tool_calls": [call(1, "", id="b", name="g")]})]))
    assert line["message"]["tool_calls"][0]["id"] == "a"


def test_missing_and_repeated_ids_are_replaced() -> None:
    fragments = [call(0, "{}", name="f"), call(1, "{}", id="x", name="f"), call(2, "{}", id="x", name="g")]
    ids = [message["tool_calls"][0]["id"] for message in messages(delta({"tool_calls": fragments}), STOP)]
    assert ids[1] == "x"
    assert len(set(ids)) == 3
    assert all(re.fullmatch("call_[a-z0-9]{8}", ids[position]) for position in (0, 2))


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", "1", "NaN", '{"a":NaN}', '{"a":' * 300 + "1" + "}" * 300])
def test_unusable_arguments_fail_the_model(arguments: str) -> None:
    answer = chat()
    lines = run(answer, delta({"content": "x", "tool_calls": [call(0, arguments, id="a", name="f")]}), STOP, DONE)
    assert [line["done"] for line in lines] == [False]
    assert answer.failure is not None
    assert answer.failure.kind is FailureKind.MALFORMED
    assert "a tool call whose arguments are not" in classify(answer.failure, now=0).message


@pytest.mark.parametrize(
    ("finish", "native"), [("tool_calls", "max_output_tokens"), ("length", None), ("tool_calls", "MAX_TOKENS")]
)
def test_a_call_cut_off_by_the_token_limit_fails_the_request(finish: str, native: str | None) -> None:
    answer = chat()
    cut = delta({"tool_calls": [call(0, '{"a":"b', id="a", name="f")]})
    assert run(answer, cut, delta({"content": ""}, finish, native_finish_reason=native), USAGE, DONE) == []
    assert answer.failure is not None
    verdict = classify(answer.failure, now=0)
    assert (verdict.blame, verdict.status) == (Blame.REQUEST, 400)
    assert verdict.message.startswith("upstream error: the model's tool call was cut off by the token limit")
