"""OpenRouter's chunks to Ollama's lines: the rules one by one, then recorded streams cut anywhere."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_proxy.errors import ProxyError
from ollama_proxy.ollama.answer import from_openrouter
from ollama_proxy.ollama.answer.from_openrouter import ChatAnswer, load_reply, unload_reply
from ollama_proxy.ollama.answer.lines import MAX_TEXT_BYTES, MAX_WRITE_BYTES
from ollama_proxy.openrouter.answers.chunks import as_chunk, dump_payload
from ollama_proxy.openrouter.answers.events import DONE, EventDecoder
from ollama_proxy.openrouter.errors.failure import FailureKind
from tests.unit.openrouter.answers.upstream_chunks import (
    NOON,
    NOON_TEXT,
    STOP,
    USAGE,
    call,
    chat,
    delta,
    generate,
    lines_of,
    messages,
    run,
)


def test_a_chat_line_and_the_last_line_have_ollamas_shape() -> None:
    answer = chat("Org/Model")
    writes = answer.feed([delta({"content": "Hi"})])
    assert writes == [
        b'{"model":"Org/Model","created_at":"' + NOON_TEXT.encode() + b'","message":{"role":"assistant","content":"Hi"}'
        b',"done":false}\n'
    ]
    assert answer.feed([STOP, USAGE, DONE]) == []
    assert json.loads(answer.end()[0]) == {
        "model": "Org/Model",
        "created_at": NOON_TEXT,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "total_duration": 30,
        "load_duration": 10,
        "prompt_eval_count": 7,
        "prompt_eval_duration": 10,
        "eval_count": 3,
        "eval_duration": 10,
    }
    assert answer.end() == []


def test_a_generate_line_and_the_last_line_have_ollamas_shape() -> None:
    text, thought, last = run(generate(), delta({"content": "Hi"}), delta({"reasoning": "hm"}), STOP, DONE)
    assert text == {"model": "m:latest", "created_at": NOON_TEXT, "response": "Hi", "done": False}
    assert thought == {**text, "response": "", "thinking": "hm"}
    assert list(last)[:6] == ["model", "created_at", "response", "done", "done_reason", "context"]
    assert (last["response"], last["done"], last["context"]) == ("", True, [])
    assert "context" not in run(generate(raw=True), STOP)[-1]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param([{"content": ""}, {"content": None}], [], id="empty deltas make no line"),
        pytest.param([{"content": " \n"}], [{"content": " \n"}], id="white space is content"),
        pytest.param([{"refusal": "No"}], [{"content": "No"}], id="a refusal is content"),
        pytest.param(
            [{"reasoning": "a", "reasoning_details": [{"text": "a"}]}],
            [{"content": "", "thinking": "a"}],
            id="reasoning is taken once",
        ),
        pytest.param(
            [
                {
                    "reasoning": None,
                    "reasoning_details": [{"summary": "a"}, {"type": "reasoning.encrypted", "data": "x"}],
                }
            ],
            [{"content": "", "thinking": "a"}],
            id="reasoning details stand in",
        ),
        pytest.param(
            [{"reasoning": "a", "content": "b"}],
            [{"content": "", "thinking": "a"}, {"content": "b"}],
            id="thinking and content never share a line",
        ),
        pytest.param(
            [{"content": "a\ud83d"}, {"content": "\ude00b"}], [{"content": "a"}, {"content": "😀b"}], id="split emoji"
        ),
        pytest.param(
            [{"reasoning": "\ud83d"}, {"content": "x"}, {"reasoning": "\ude00"}],
            [{"content": "x"}, {"content": "", "thinking": "😀"}],
            id="split emoji in thinking",
        ),
        pytest.param(
            [{"content": "\ude00a\ud83d"}], [{"content": "\ufffda"}, {"content": "\ufffd"}], id="halves that stay alone"
        ),
        pytest.param(
            [{"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}],
            [{"content": "", "images": ["AAAA"]}],
            id="an image",
        ),
    ],
)
def test_deltas_become_messages(deltas: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert messages(*map(delta, deltas), STOP, DONE) == [{"role": "assistant", **message} for message in expected]


def test_only_the_first_choice_counts() -> None:
    other = {"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}
    mine = {"index": 0, "delta": {"content": "mine"}, "finish_reason": "stop"}
    both = json.dumps({"choices": [other, mine]}).encode()
    assert messages(both, json.dumps({"choices": [other]}).encode(), DONE) == [{"role": "assistant", "content": "mine"}]


@pytest.mark.parametrize("text", ["a\u2028b", "a\u2029b", "a\u0085b"], ids=["U+2028", "U+2029", "U+0085"])
def test_line_separators_are_escaped_everywhere(text: str) -> None:
    answer = chat(text)
    parts = [delta({"content": text}), delta({"reasoning": text})]
    tool = delta({"tool_calls": [call(0, json.dumps({"a": text}), id="c", name=text)]})
    written = b"".join(answer.feed([*parts, tool, STOP])) + b"".join(answer.end())
    assert written.decode().splitlines() == written.decode().split("\n")[:-1]
    assert lines_of([written])[0]["message"]["content"] == text


@pytest.mark.parametrize(
    ("finish", "native", "reason"),
    [
        ("stop", "STOP", "stop"),
        ("tool_calls", "tool_use", "stop"),
        ("content_filter", "content_filter", "stop"),
        ("length", "MAX_TOKENS", "length"),
    ],
)
def test_done_reason(finish: str, native: str, reason: str) -> None:
    answer = chat()
    assert run(answer, delta({"content": "x"}, finish, native_finish_reason=native))[-1]["done_reason"] == reason
    assert answer.finish_reason == finish


def test_a_usage_chunk_that_repeats_the_finish_ends_once() -> None:
    repeated = json.loads(STOP) | {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    lines = run(chat(), delta({"content": "x"}), STOP, json.dumps(repeated).encode(), DONE, DONE)
    assert [line["done"] for line in lines] == [False, True]
    assert (lines[-1]["prompt_eval_count"], lines[-1]["eval_count"]) == (5, 2)


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": None, "completion_tokens": None}, {"prompt_tokens": "5"}]
)
def test_without_usage_counts_are_estimated_integers(usage: Any) -> None:
    payload = json.dumps({"choices": [], "usage": usage}).encode()
    last = run(chat(prompt_tokens=12), delta({"content": "a"}), delta({"content": "b"}), STOP, payload)[-1]
    assert (last["prompt_eval_count"], last["eval_count"]) == (12, 2)


def test_durations_are_positive_when_no_time_passes() -> None:
    answer = ChatAnswer("m", started_ns=5, clock=lambda: NOON, monotonic=lambda: 5)
    last = run(answer, STOP)[-1]
    assert [value for key, value in last.items() if key.endswith("duration")] == [1, 1, 1, 1]
    assert all(type(value) is int and value >= 1 for key, value in last.items() if key.endswith(("duration", "count")))


@pytest.mark.parametrize(
    ("payloads", "kind"),
    [
        pytest.param(
            [b'{"choices":[],"error":{"code":502,"message":"lost"}}', DONE], FailureKind.EVENT, id="top-level error"
        ),
        pytest.param([delta({"content": ""}, "error"), DONE], FailureKind.EVENT, id="finish reason error"),
        pytest.param([b"<html>"], FailureKind.MALFORMED, id="not JSON"),
        pytest.param([], FailureKind.EARLY_CLOSE, id="early close"),
    ],
)
def test_a_failure_after_output_leaves_no_last_line(payloads: list[bytes], kind: FailureKind) -> None:
    answer = chat()
    assert [line["done"] for line in run(answer, delta({"content": "x"}), *payloads, delta({"content": "y"}))] == [
        False
    ] * (2 if kind is FailureKind.EARLY_CLOSE else 1)
    assert answer.failure is not None
    assert answer.failure.kind is kind
    assert answer.has_output
    assert answer.end() == []
    assert json.loads(answer.failed(ProxyError('say "x"\n'))) == {"error": 'say "x"\n'}


def test_an_error_first_leaves_no_output() -> None:
    answer = chat()
    assert answer.feed([delta({"content": ""}), b'{"error":{"code":429,"message":"slow"}}']) == []
    assert not answer.has_output
    assert answer.failure is not None
    assert answer.failure.body == {"error": {"code": 429, "message": "slow"}}


def test_a_late_token_limit_is_a_normal_end() -> None:
    answer = chat()
    late = {
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}],
        "error": {"code": 400, "message": "Token limit reached"},
        "usage": {"prompt_tokens": 43, "completion_tokens": 10},
    }
    last = run(answer, delta({"content": "x"}, "length"), json.dumps(late).encode(), DONE)[-1]
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "length", 10)
    assert answer.failure is None


@pytest.mark.parametrize(
    "end", [[STOP], [DONE], [STOP, b'{"choi']], ids=["only finish", "only DONE", "broken after it"]
)
def test_a_finish_reason_or_done_is_an_end(end: list[bytes]) -> None:
    answer = chat()
    assert run(answer, delta({"content": "x"}), *end)[-1]["done"] is True
    assert answer.failure is None


def test_heartbeat_is_an_empty_chunk() -> None:
    [line] = lines_of([chat().heartbeat()])
    assert (line["message"], line["done"]) == ({"role": "assistant", "content": ""}, False)
    [line] = lines_of([generate().heartbeat()])
    assert (line["response"], line["done"]) == ("", False)


LOGPROBS = {
    "content": [
        {"token": "é", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "e", "logprob": -1, "bytes": [101]}]},
        {"token": "", "logprob": 0, "bytes": [], "top_logprobs": []},
        {"token": "x", "logprob": None},
    ]
}
OLLAMA_LOGPROBS = [
    {
        "token": "é",
        "logprob": -0.5,
        "bytes": [195, 169],
        "top_logprobs": [{"token": "e", "logprob": -1, "bytes": [101]}],
    },
    {"token": "", "logprob": 0},
]


def test_logprobs_only_if_wanted() -> None:
    payloads = [delta({"content": "é"}, logprobs=LOGPROBS), delta({"content": ""}, logprobs=LOGPROBS), STOP]
    assert all("logprobs" not in line for line in run(chat(), *payloads))
    first, second, last = run(chat(want_logprobs=True), *payloads)
    assert first["logprobs"] == second["logprobs"] == OLLAMA_LOGPROBS
    assert "logprobs" not in last
    whole = generate(want_logprobs=True, collect=True)
    run(whole, *payloads)
    assert json.loads(whole.body())["logprobs"] == OLLAMA_LOGPROBS * 2


def test_whole_chat() -> None:
    answer = chat(collect=True)
    deltas = [{"reasoning": "a"}, {"reasoning": "b"}, {"content": "x\ud83d"}, {"content": "\ude00"}]
    assert answer.feed([*map(delta, deltas), STOP, USAGE, DONE]) + answer.end() == []
    whole = json.loads(answer.body())
    assert whole["message"] == {"role": "assistant", "content": "x😀", "thinking": "ab"}
    assert (whole["done"], whole["done_reason"], whole["prompt_eval_count"], whole["eval_count"]) == (
        True,
        "stop",
        7,
        3,
    )


def test_whole_generate() -> None:
    answer = generate(collect=True)
    run(answer, delta({"reasoning": "a"}), delta({"content": "x"}), STOP)
    assert list(json.loads(answer.body()))[:5] == ["model", "created_at", "response", "thinking", "done"]
    assert (json.loads(answer.body())["response"], json.loads(answer.body())["thinking"]) == ("x", "a")


def test_whole_needs_a_good_end() -> None:
    answer = chat(collect=True)
    answer.feed([delta({"content": "x"})])
    answer.end()
    assert answer.failure is not None
    with pytest.raises(RuntimeError):
        json.loads(answer.body())


def test_a_whole_completion_as_one_chunk() -> None:
    message = {
        "role": "assistant",
        "content": "hi",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": ""}}],
    }
    answer = chat()
    text, tool, last = lines_of(
        answer.feed([dump_payload(as_chunk({"choices": [{"message": message}]})), DONE]) + answer.end()
    )
    assert text["message"]["content"] == "hi"
    assert tool["message"]["tool_calls"][0]["function"]["arguments"] == {}
    assert last["done"] is True


def test_writes_end_at_a_line_and_fit_one_segment() -> None:
    words = [delta({"content": f"word {number} "}) for number in range(300)]
    writes = chat().feed(words)
    assert len(lines_of(writes)) == 300
    assert max(map(len, writes)) <= MAX_WRITE_BYTES
    assert len(writes) < 50


@pytest.mark.parametrize("character", ["a", "é", "\u2028", '"', "😀"])
def test_long_text_is_split_into_lines(character: str) -> None:
    text = character * 40_000
    writes = chat().feed([delta({"content": "short"}), delta({"content": text}), delta({"reasoning": text})])
    lines = lines_of(writes)
    assert max(map(len, writes)) < MAX_TEXT_BYTES + 200
    assert "".join(line["message"]["content"] for line in lines) == "short" + text
    assert "".join(line["message"].get("thinking", "") for line in lines) == text


@pytest.mark.parametrize(
    ("collect", "part", "held"),
    [
        pytest.param(True, {"content": "x" * 50}, True, id="an answer that is collected"),
        pytest.param(False, {"content": "x" * 50}, False, id="a streamed one is not held"),
        pytest.param(
            False, {"tool_calls": [{"index": 0, "function": {"arguments": "x" * 50}}]}, True, id="a tool call"
        ),
    ],
)
def test_what_must_be_held_is_bounded(
    monkeypatch: pytest.MonkeyPatch, collect: bool, part: dict[str, Any], held: bool
) -> None:
    monkeypatch.setattr(from_openrouter, "MOST_HELD_BYTES", 5000)
    answer = chat(collect=collect)
    for _ in range(100):
        answer.feed([delta(part)])
    assert (answer.failure is not None) is held
    if answer.failure is not None:
        assert (answer.failure.kind, answer.failure.detail) == (FailureKind.MALFORMED, "the answer is too long")


def test_load_and_unload_replies() -> None:
    assert load_reply("m", now_ns=NOON) == {
        "model": "m",
        "created_at": NOON_TEXT,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "load",
    }
    reply = unload_reply("m", generate=True, now_ns=NOON)
    assert (reply["response"], reply["done_reason"], "message" in reply) == ("", "unload", False)


def _recorded_streams() -> Iterator[Any]:
    folder = os.environ.get("OPENROUTER_RECORDINGS")
    if not folder:
        yield pytest.param(None, marks=pytest.mark.skip(reason="OPENROUTER_RECORDINGS is unset"))
        return
    for path in sorted(Path(folder, "chat-stream").glob("*.response.sse")):
        yield pytest.param(path, id=path.name.removesuffix(".response.sse"))


RECORDED_STREAMS = list(_recorded_streams())


def replay(parts: list[bytes]) -> tuple[Any, ...]:
    """What a client reads from a stream that came in these parts, without what only tells when."""
    decoder, answer = EventDecoder(), chat(want_logprobs=True)
    writes = [write for part in parts for write in answer.feed(decoder.feed(part))]
    writes += answer.feed(decoder.flush()) + answer.end()
    lines = [{key: value for key, value in line.items() if "duration" not in key} for line in lines_of(writes)]
    return lines, answer.failure, answer.finish_reason, answer.usage


@pytest.mark.parametrize("path", RECORDED_STREAMS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_recorded_stream_cut_anywhere_gives_the_same(path: Path, data: st.DataObject) -> None:
    stream = path.read_bytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *cuts, len(stream)]
    parts = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert replay(parts) == replay([stream])


@pytest.mark.parametrize("path", RECORDED_STREAMS)
@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"], ids=["CRLF", "CR"])
def test_a_recorded_stream_with_other_line_ends_gives_the_same(path: Path, line_end: bytes) -> None:
    stream = path.read_bytes()
    assert replay([stream.replace(b"\n", line_end)]) == replay([stream])
