"""Streams passed on to OpenAI clients: pure, from payloads to bytes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.errors import ProxyError
from ollama_proxy.openai.response_stream import ResponseStream
from ollama_proxy.openai.stream import CompletionStream
from ollama_proxy.openrouter.answers.events import DONE, EventDecoder

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0}


def joined(writes: list[bytes]) -> bytes:
    """What the client reads of some writes."""
    return b"".join(writes)


def chunk(text: str | None = "", finish: str | None = None, *, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}
    return json.dumps({"id": "gen-1", "choices": [choice], **more}, separators=(",", ":")).encode()


def passed(stream: CompletionStream | ResponseStream, *bursts: list[bytes]) -> bytes:
    return b"".join(write for burst in bursts for write in stream.feed(burst))


def payloads(data: bytes) -> list[Any]:
    return [json.loads(payload) if payload != DONE else "[DONE]" for payload in EventDecoder().feed(data)]


def finishes(events: list[Any]) -> list[str]:
    choices = [choice for event in events if event != "[DONE]" for choice in event["choices"]]
    return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]


def test_ordinary_payloads_are_passed_on_byte_by_byte() -> None:
    burst = [b'{"x": 1,  "unknown":"\\u00e9 \\"usage\\" \\"error\\""}', chunk("a"), chunk("b", tool="\\n")]
    data = joined(CompletionStream(include_usage=False).feed(burst))
    assert data == b"".join(b"data: " + payload + b"\n\n" for payload in burst)


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize(
    "last",
    [
        chunk("", "stop", usage=USAGE),
        chunk("", None, usage=USAGE),
        chunk(None, "stop", usage=USAGE),
        b'{"id":"gen-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"cost":0}}',
    ],
    ids=["repeats the finish", "null finish", "null content", "no choices"],
)
def test_the_usage_comes_once_without_choices_and_only_if_asked_for(last: bytes, include_usage: bool) -> None:
    stream = CompletionStream(include_usage=include_usage)
    events = payloads(passed(stream, [chunk("a"), chunk("", "stop")], [last, DONE]))
    assert finishes(events) == ["stop"]
    assert events[-1] == "[DONE]"
    assert [event for event in events[:-1] if "usage" in event] == (
        [{"id": "gen-1", "choices": [], "usage": USAGE}] if include_usage else []
    )
    assert len(events) == (4 if include_usage else 3)
    assert stream.usage == USAGE


def test_a_finish_that_comes_only_with_the_usage_is_not_lost() -> None:
    events = payloads(passed(CompletionStream(include_usage=True), [chunk("a", "length", usage=USAGE), DONE]))
    assert events[0]["choices"][0]["delta"]["content"] == "a"
    assert "usage" not in events[0]
    assert finishes(events) == ["length"]
    assert events[1:] == [{"id": "gen-1", "choices": [], "usage": USAGE}, "[DONE]"]


def test_half_a_surrogate_pair_beside_the_usage_is_passed_on() -> None:
    events = payloads(joined(CompletionStream(include_usage=True).feed([chunk("a\ud83d", "stop", usage=USAGE), DONE])))
    assert events[0]["choices"][0]["delta"]["content"] == "a\ud83d"


def test_each_choice_finishes_once() -> None:
    stream = CompletionStream(include_usage=False)
    burst = [chunk("a", "stop"), chunk("b", "length", index=1), chunk("", "stop"), chunk("", "length", index=1), DONE]
    assert finishes(payloads(joined(stream.feed(burst)))) == ["stop", "length"]


def test_usage_in_every_chunk_is_taken_out_and_the_last_one_told() -> None:
    stream = CompletionStream(include_usage=True)
    events = payloads(passed(stream, [chunk("a", usage={"n": 1}), chunk("b", "stop", usage=USAGE), DONE]))
    assert [event.get("usage") for event in events[:-1]] == [None, None, USAGE]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"id":"g","error":{"code":502,"message":"m"},"choices":[]}',
        b'{"error": "text"}',
        b'{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}',
        b'{"choices":[{"index":0,"error":{"message":"m"},"delta":{}}]}',
        b'{"error": not json',
    ],
    ids=["object", "string", "finish reason", "in the choice", "not JSON"],
)
def test_an_error_ends_the_stream_behind_what_came_before_it(payload: bytes) -> None:
    stream = CompletionStream(include_usage=False)
    data = joined(stream.feed([chunk("a"), payload, chunk("never"), DONE]))
    assert payloads(data) == [json.loads(chunk("a"))]
    assert stream.failure is not None
    told = {"message": "m", "type": "api_error", "param": None, "code": None}
    assert payloads(stream.failed(ProxyError("m"))) == [{"error": told}]


BROKEN = [b"not json", b"[1]", b'"x"', b'{"choices":[', b'{"choices":[{"delta":{"content":"b"}}]} {}', b"[" * 3000]


@pytest.mark.parametrize("payload", BROKEN)
@pytest.mark.parametrize("alone", [True, False])
def test_what_is_no_json_is_not_passed_on(payload: bytes, alone: bool) -> None:
    stream = CompletionStream(include_usage=False)
    parts = [chunk("a"), chunk("b"), payload, chunk("never")]
    data = b"".join(joined(stream.feed([part])) for part in parts[:3]) if alone else joined(stream.feed(parts))
    assert payloads(data) == [json.loads(chunk("a")), json.loads(chunk("b"))]
    assert stream.failure is not None


@pytest.mark.parametrize("payload", BROKEN)
def test_what_is_no_json_behind_the_finish_is_left_out(payload: bytes) -> None:
    stream = CompletionStream(include_usage=False)
    data = joined(stream.feed([chunk("a", "stop"), payload, DONE]))
    assert (payloads(data), stream.failure, stream.whole) == ([json.loads(chunk("a", "stop"))], None, True)


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    burst = [chunk("a"), chunk("X").replace(b"X", b"\xff"), chunk("c")]
    assert text_in(joined(CompletionStream(include_usage=False).feed(burst))) == "a\ufffdc"


def test_a_character_cut_between_two_payloads_does_not_make_the_stream_unreadable() -> None:
    burst = [chunk("X").replace(b"X", b"\xc3"), chunk("X").replace(b"X", b"\xa9")]
    assert text_in(joined(CompletionStream(include_usage=False).feed(burst))) == "\ufffd\ufffd"


def text_in(data: bytes) -> str:
    return "".join(payload["choices"][0]["delta"]["content"] for payload in payloads(data))


@pytest.mark.parametrize("index", [[], {}, "0", None, 1.5, [[1]]])
def test_an_index_that_is_no_number_is_the_first(index: Any) -> None:
    stream = CompletionStream(include_usage=False)
    last = json.loads(chunk("a", "stop"))
    last["choices"][0]["index"] = index
    burst = [json.dumps(last, separators=(",", ":")).encode(), chunk("", "stop", usage=USAGE)]
    events = payloads(joined(stream.feed(burst)))
    assert finishes(events) == ["stop"]


def test_a_token_limit_told_after_the_finish_is_no_error() -> None:
    stream = CompletionStream(include_usage=True)
    late = chunk("", None, usage=USAGE, error={"code": 400, "message": "Token limit reached"})
    events = payloads(joined(stream.feed([chunk("a", "length"), late, DONE])))
    assert stream.failure is None
    assert finishes(events) == ["length"]
    assert "error" not in json.dumps(events)
    assert events[1]["usage"] == USAGE


def test_the_end_is_made_up_where_upstream_closed_without_it() -> None:
    stream = CompletionStream(include_usage=True)
    data = joined(stream.feed([chunk("a", "stop"), chunk("", "stop", usage=USAGE)]))
    assert stream.whole
    assert payloads(data + joined(stream.end()))[1:] == [{"id": "gen-1", "choices": [], "usage": USAGE}, "[DONE]"]
    assert joined(stream.end()) == b""


def test_a_payload_of_several_lines_stays_one_event() -> None:
    data = joined(CompletionStream(include_usage=False).feed([b'{\n"a":1}', b'{"b":2}']))
    assert payloads(data) == [{"a": 1}, {"b": 2}]


CHAT = [chunk("a"), chunk("b"), chunk("", "stop"), chunk("", "stop", usage=USAGE), DONE]
RESPONSE = {
    "id": "r",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "ab"}]}],
    "error": None,
}
EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {**RESPONSE, "output": []}, "sequence_number": 0},
    {"type": "response.output_text.delta", "delta": 'a "type":"response.failed"', "sequence_number": 1},
    {"type": "response.output_text.delta", "delta": "b", "sequence_number": 2},
    {"sequence_number": 3, "type": "response.custom.event"},
    {"type": "response.completed", "response": {**RESPONSE, "usage": {"input_tokens": 3}}, "sequence_number": 4},
]
RESPONSES = [json.dumps(event, separators=(",", ":")).encode() for event in EVENTS] + [DONE]


def in_bursts(items: list[bytes], cuts: set[int]) -> list[list[bytes]]:
    edges = [0, *sorted(cut % (len(items) + 1) for cut in cuts), len(items)]
    return [items[one:other] for one, other in pairwise(edges)]


@given(st.sets(st.integers(0, 5)))
def test_it_does_not_matter_how_the_payloads_were_cut_into_bursts(cuts: set[int]) -> None:
    for items, make in ((CHAT, lambda: CompletionStream(include_usage=True)), (RESPONSES, ResponseStream)):
        assert passed(make(), *in_bursts(items, cuts)) == passed(make(), items)


def named(data: bytes) -> list[tuple[str, Any]]:
    events = []
    for text in data.decode().split("\n\n")[:-1]:
        first, second = text.split("\n", 1)
        events.append((first.removeprefix("event: "), json.loads(second.removeprefix("data: "))))
    return events


def test_responses_get_their_names_and_no_done() -> None:
    stream = ResponseStream()
    assert named(joined(stream.feed(RESPONSES))) == [(event["type"], event) for event in EVENTS]
    assert stream.whole
    assert stream.usage == {"input_tokens": 3}


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}',
        b'{"type":"error","code":"x","message":"m"}',
        b'{"error":{"message":"m"}}',
        b'{"type":"error","error":{"message":"m"}}',
        b"not json",
    ],
)
def test_a_failed_response_ends_in_both_kinds_of_error(payload: bytes) -> None:
    stream = ResponseStream()
    assert len(named(joined(stream.feed([*RESPONSES[:2], payload, *RESPONSES[2:]])))) == 2
    assert stream.failure is not None
    told = {"message": "said safely", "type": "api_error", "param": None, "code": None}
    failed, error = named(stream.failed(ProxyError("said safely")))
    assert failed[0] == failed[1]["type"] == "response.failed"
    assert failed[1]["response"]["id"] == "r"
    assert failed[1]["response"]["status"] == "failed"
    assert failed[1]["response"]["error"] == {"code": "server_error", "message": "said safely"}
    assert error[0] == error[1]["type"] == "error"
    assert error[1]["error"] == told
    assert (failed[1]["sequence_number"], error[1]["sequence_number"]) == (2, 3)


def test_a_response_sent_whole_becomes_the_events_that_clients_collect() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    whole = {"id": "r", "output": [*RESPONSE["output"], call], "status": "completed", "usage": {"input_tokens": 3}}
    data = joined(ResponseStream().feed([json.dumps({"type": "response.completed", "response": whole}).encode(), DONE]))
    events = named(data)
    assert [event["sequence_number"] for _, event in events] == list(range(len(events)))
    assert events[0][0] == "response.created"
    assert [event["item"] for name, event in events if name == "response.output_item.done"] == whole["output"]
    assert "".join(event["delta"] for name, event in events if name == "response.output_text.delta") == "ab"
    assert events[-1][1]["response"] == whole


def test_a_response_that_is_done_without_its_last_event_has_failed() -> None:
    stream = ResponseStream()
    assert len(named(joined(stream.feed([*RESPONSES[:3], DONE])))) == 3
    assert stream.failure is not None


def test_half_a_surrogate_pair_in_a_response_sent_whole_is_passed_on() -> None:
    part = {"type": "output_text", "text": "x\ud83d"}
    whole = {"id": "r", "output": [{"type": "message", "content": [part]}], "status": "completed"}
    payload = json.dumps({"type": "response.completed", "response": whole}).encode()
    events = named(joined(ResponseStream().feed([payload])))
    assert [event["delta"] for name, event in events if name == "response.output_text.delta"] == ["x\ud83d"]


@pytest.mark.parametrize("payload", [*BROKEN, b'{"type":"response.output_text.delta","delta":"a'])
def test_what_is_no_json_is_not_passed_on_as_a_response(payload: bytes) -> None:
    stream = ResponseStream()
    assert len(named(joined(stream.feed([*RESPONSES[:2], payload, *RESPONSES[2:]])))) == 2
    assert stream.failure is not None


@pytest.mark.parametrize("kind", ["a\nevent: b", "\ud83d", "a\u2028", 5, [], {}, None])
def test_a_type_that_can_name_no_event_names_none(kind: Any) -> None:
    data = joined(ResponseStream().feed([json.dumps({"sequence_number": 1, "type": kind}).encode()]))
    assert data.startswith(b"data: {")
    assert data.count(b"\n") == 2


@pytest.mark.parametrize("output", [5, {}, "x", [None, 5, {"content": 5}, {"content": [None, {"type": []}]}]])
def test_a_strange_response_sent_whole_is_told_all_the_same(output: Any) -> None:
    whole = {"id": "r", "output": output, "status": "completed"}
    data = joined(ResponseStream().feed([json.dumps({"type": "response.completed", "response": whole}).encode(), DONE]))
    assert [name for name, _ in named(data)][-1] == "response.completed"
