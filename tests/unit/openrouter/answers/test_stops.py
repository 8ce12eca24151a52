from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.openrouter.answers import stop_forms
from ollama_proxy.openrouter.answers.stop_cutter import MOST_HELD, StopCutter
from ollama_proxy.openrouter.answers.stop_finder import StopFinder

DONE = b"[DONE]"
texts = st.text("abc", max_size=12)
stops = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4)


def expected(text: str, wanted: Sequence[str]) -> tuple[int, str] | None:
    """Where the first stop string ends, found the slow way; of two that end there the longer one."""
    for end in range(len(text) + 1):
        for stop in sorted(wanted, key=len, reverse=True):
            if text[:end].endswith(stop):
                return end, stop
    return None


@given(st.lists(texts, max_size=6), stops)
def test_the_first_stop_string_is_found_however_the_text_is_cut(pieces: list[str], wanted: list[str]) -> None:
    finder, before, found = StopFinder(wanted), 0, None
    for piece in pieces:
        if (at := finder.find(piece)) is not None:
            found = (before + at[0], at[1])
            break
        before += len(piece)
        whole = "".join(pieces)[:before]
        beginnings = [stop[:size] for stop in wanted for size in range(len(stop)) if whole.endswith(stop[:size])]
        assert finder.held == max(map(len, beginnings))
    assert found == expected("".join(pieces), wanted)


def test_characters_that_mean_something_to_a_pattern_are_only_characters() -> None:
    for stop in ("]", "^", "\\", "-", "[a", ".*", "\n\n", "é", "😀"):
        assert StopFinder([stop, "zzz"]).find(f"x{stop}y") == (1 + len(stop), stop)


def chunk(text: str, **more: Any) -> bytes:
    return json.dumps({"id": "g", "choices": [{"index": 0, "delta": {"content": text}}], **more}).encode()


def reasoning(text: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": {"reasoning": text}}]}).encode()


FINISH = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def fed(bursts: Sequence[Sequence[bytes]], wanted: Sequence[str] = ("STOP",)) -> tuple[StopCutter, list[bytes]]:
    cutter = StopCutter(stop_forms.CHAT, wanted, 7)
    out = [payload for burst in bursts for payload in cutter.feed(burst)]
    return cutter, out


def said(payloads: Sequence[bytes]) -> str:
    parsed = [json.loads(payload) for payload in payloads if payload != DONE]
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in parsed)


@given(st.lists(st.text("STOPx", min_size=1, max_size=6), min_size=1, max_size=8), st.integers(1, 4))
def test_a_stream_is_cut_where_the_text_would_be(pieces: list[str], size: int) -> None:
    payloads = [*map(chunk, pieces), FINISH, DONE]
    bursts = [payloads[at : at + size] for at in range(0, len(payloads), size)]
    cutter, out = fed(bursts)
    text, stop, _ = "".join(pieces).partition("STOP")
    assert said(out) == text
    assert cutter.stopped is bool(stop)
    assert out[-1] == DONE
    if not stop:
        assert out == payloads  # byte by byte


def test_what_cannot_be_a_stop_string_is_passed_on_at_once() -> None:
    _, out = fed([[chunk("a")], [chunk("b S")], [chunk("T")]])
    assert out == [chunk("a")]


def test_thinking_is_not_searched_and_keeps_its_place() -> None:
    payloads = [reasoning("STOP"), chunk("a S"), reasoning("x"), chunk("b"), FINISH, DONE]
    assert fed([payloads])[1] == payloads


def test_much_behind_a_held_text_is_passed_on() -> None:
    _, out = fed([[chunk("S"), *[reasoning("x")] * (MOST_HELD + 1)]])
    assert out[0] == chunk("S")


def test_the_usage_is_upstreams_if_it_has_come_else_an_estimate() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    _, out = fed([[chunk("a STOP b"), json.dumps({"choices": [], "usage": usage}).encode(), DONE]])
    assert json.loads(out[-2])["usage"] == usage
    _, out = fed([[reasoning("x"), chunk("a"), chunk("STOP")]])
    last = json.loads(out[-2])
    assert last["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert last["choices"][0]["finish_reason"] == "stop"


def test_what_nobody_can_read_goes_on_to_who_says_so() -> None:
    cutter, out = fed([[chunk("a S"), b"not json", chunk("b")]])
    assert out == [chunk("a S"), b"not json", chunk("b")]
    assert not cutter.stopped


def test_logprobs_behind_the_cut_are_left_out() -> None:
    entries = [{"token": "a "}, {"token": "b "}, {"token": "STOP"}]
    choice = {"index": 0, "delta": {"content": "a b STOP"}, "logprobs": {"content": entries}, "finish_reason": "stop"}
    _, out = fed([[json.dumps({"choices": [choice]}).encode()]])
    kept = json.loads(out[0])["choices"][0]
    assert (kept["delta"]["content"], kept["logprobs"]["content"], kept["finish_reason"]) == ("a b ", entries[:2], None)


@pytest.mark.parametrize(
    ("form", "body", "expected"),
    [
        (
            stop_forms.CHAT,
            {"choices": [{"message": {"content": "a STOP b"}, "finish_reason": "length"}], "usage": {"x": 1}},
            {
                "choices": [{"message": {"content": "a "}, "finish_reason": "stop", "native_finish_reason": "stop"}],
                "usage": {"x": 1},
            },
        ),
        (
            stop_forms.COMPLETIONS,
            {"choices": [{"text": "STOP", "finish_reason": "length"}]},
            {"choices": [{"text": "", "finish_reason": "stop", "native_finish_reason": "stop"}]},
        ),
        (
            stop_forms.MESSAGES,
            {
                "type": "message",
                "content": [
                    {"type": "thinking", "thinking": "STOP"},
                    {"type": "text", "text": "a STOP"},
                    {"type": "x"},
                ],
                "stop_reason": "end_turn",
            },
            {
                "type": "message",
                "content": [{"type": "thinking", "thinking": "STOP"}, {"type": "text", "text": "a "}],
                "stop_reason": "stop_sequence",
                "stop_sequence": "STOP",
            },
        ),
        (stop_forms.CHAT, {"choices": [{"message": {"content": None}}]}, None),
        (stop_forms.CHAT, {"choices": [{"message": {"content": "ST OP"}}]}, None),
        (stop_forms.MESSAGES, {"type": "message", "content": None}, None),
    ],
)
def test_a_whole_answer_is_cut(form: Any, body: Any, expected: Any) -> None:
    assert form.cut_whole(body, StopFinder(["STOP"])) == expected


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param(["a STOP b", " c STOP d"], "a STOP b c ", id="behind the prompt"),
        pytest.param(["a ST", "OP b c ", "STOP d"], "a STOP b c ", id="the prompt in pieces"),
        pytest.param(["a STOP bSTOP"], "a STOP b", id="at once behind it"),
        pytest.param(["x STOP d"], "x ", id="a provider that echoes nothing"),
        pytest.param(["a ", "x STOP d"], "a x ", id="an answer that begins as the prompt does"),
        pytest.param(["a S"], "a S", id="an answer shorter than the prompt"),
    ],
)
def test_an_echoed_prompt_is_not_cut(pieces: list[str], expected: str) -> None:
    """`echo: true` of /completions: the answer begins with the prompt, which may hold a stop string."""
    chunks = [
        json.dumps({"choices": [{"index": 0, "text": piece, "finish_reason": None}]}).encode() for piece in pieces
    ]
    cutter = StopCutter(stop_forms.COMPLETIONS, ["STOP"], 3, echoed="a STOP b")
    out = [payload for chunk in chunks for payload in cutter.feed([chunk])] + cutter.rest()
    said = [json.loads(payload)["choices"][0]["text"] for payload in out if payload != DONE]
    assert "".join(said) == expected
    whole = {"choices": [{"index": number, "text": "".join(pieces)} for number in range(2)]}
    cut = stop_forms.COMPLETIONS.cut_whole(whole, StopFinder(["STOP"], echoed="a STOP b")) or whole
    assert [choice["text"] for choice in cut["choices"]] == [expected] * 2
