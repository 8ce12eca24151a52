"""Payloads of /messages in, the client's event stream out; and the dialect by which failover reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.anthropic.stream import MessageStream, events_of, with_content
from ollama_proxy.errors import ProxyError
from ollama_proxy.openrouter.answers.chunks import MalformedChunk
from ollama_proxy.openrouter.answers.events import DONE, EventDecoder
from ollama_proxy.openrouter.answers.messages_dialect import MESSAGES, is_last, kind_of
from ollama_proxy.openrouter.errors.failure import FailureKind

Json = dict[str, Any]

START: Json = {
    "type": "message_start",
    "message": {"id": "m", "type": "message", "content": [], "usage": {"input_tokens": 7, "output_tokens": 1}},
}
BLOCK: Json = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
DELTA: Json = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
END: Json = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
STOP: Json = {"type": "message_stop"}
ERROR: Json = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def joined(writes: list[bytes]) -> bytes:
    """What the client reads of some writes."""
    return b"".join(writes)


def encoded(*events: Json) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


def read(stream: bytes) -> list[tuple[str, Json]]:
    """The events of a stream with their names, as an SDK reads them."""
    events = []
    for block in stream.decode().split("\n\n"):
        if block:
            name, *data = block.split("\n")
            text = "\n".join(line.removeprefix("data: ") for line in data)
            events.append((name.removeprefix("event: "), json.loads(text)))
    return events


def test_each_payload_goes_down_unchanged_under_its_types_name() -> None:
    payloads = [b'{"type":"message_start","message":{"x" : 1}}', b'{ "type": "future_event", "y": null}']
    assert joined(MessageStream().feed(payloads)) == (
        b'event: message_start\ndata: {"type":"message_start","message":{"x" : 1}}\n\n'
        b'event: future_event\ndata: { "type": "future_event", "y": null}\n\n'
    )


def test_a_payload_of_several_lines_stays_one_event() -> None:
    written = joined(MessageStream().feed([b'{"type":\n"ping"}']))
    assert EventDecoder().feed(written) == [b'{"type":\n"ping"}']


def test_the_stream_ends_with_message_stop_whatever_follows() -> None:
    stream = MessageStream()
    written = joined(stream.feed([*encoded(START, BLOCK, DELTA, END, STOP), DONE, *encoded(ERROR)]))
    assert [name for name, _ in read(written)][-1] == "message_stop"
    assert (joined(stream.end()), stream.failure) == (b"", None)


def test_done_is_not_for_messages_clients() -> None:
    stream = MessageStream()
    assert b"DONE" not in joined(stream.feed([*encoded(START, END), DONE]))


def test_a_missing_message_stop_is_added_behind_a_stop_reason() -> None:
    stream = MessageStream()
    joined(stream.feed(encoded(START, BLOCK, DELTA, END)))
    assert (read(joined(stream.end())), stream.failure) == ([("message_stop", STOP)], None)


@pytest.mark.parametrize(
    ("last", "whole"),
    [
        pytest.param(DELTA, False, id="a delta"),
        pytest.param({**END, "delta": {}}, False, id="no reason"),
        pytest.param(END, True, id="a stop reason"),
        pytest.param(STOP, True, id="message_stop"),
    ],
)
def test_a_message_is_whole_once_it_said_how_it_ended(last: Json, whole: bool) -> None:
    stream = MessageStream()
    joined(stream.feed(encoded(START, BLOCK, last)))
    assert stream.whole is whole


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ERROR, id="the API's own form"),
        pytest.param({"error": {"code": 502, "message": "x"}}, id="OpenRouter's form"),
        pytest.param({"type": "error"}, id="an error that says nothing"),
    ],
)
def test_an_error_ends_the_stream_and_is_not_passed_on_as_it_is(error: Json) -> None:
    stream = MessageStream()
    written = joined(stream.feed(encoded(START, DELTA, error, DELTA)))
    assert [name for name, _ in read(written)] == ["message_start", "content_block_delta"]
    assert stream.failure is not None
    assert (stream.failure.kind, stream.failure.body) == (FailureKind.EVENT, error)
    assert joined(stream.feed(encoded(DELTA))) == b""
    assert stream.whole is False


def test_an_error_behind_the_stop_reason_does_not_spoil_the_message() -> None:
    stream = MessageStream()
    written = joined(stream.feed(encoded(START, DELTA, END, ERROR)))
    assert [name for name, _ in read(written)][-1] == "message_stop"
    assert stream.failure is None


def test_a_payload_that_is_no_json_is_a_failure() -> None:
    stream = MessageStream()
    assert joined(stream.feed([*encoded(START), b"<html>"])) == joined(MessageStream().feed(encoded(START)))
    assert stream.failure is not None
    assert stream.failure.kind is FailureKind.MALFORMED


@pytest.mark.parametrize("payload", [b'{"type":"ping"', b'{"type":"ping"} x', b'{"type":"ping","a":}', b"[]"])
def test_what_is_no_json_is_not_passed_on(payload: bytes) -> None:
    stream = MessageStream()
    assert read(joined(stream.feed([*encoded(START), payload, *encoded(DELTA)]))) == [("message_start", START)]
    assert stream.failure is not None
    assert stream.failure.kind is FailureKind.MALFORMED


@pytest.mark.parametrize("kind", ["a\nb", "\ud83d", "a b", "", 5, [], None])
def test_a_payload_whose_type_can_name_no_event_is_dropped(kind: Any) -> None:
    stream = MessageStream()
    assert joined(stream.feed(encoded({"x": 1, "type": kind}))) == b""
    assert stream.failure is None


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    payload = json.dumps(DELTA).encode().replace(b"hi", b"h\xff")
    assert read(joined(MessageStream().feed([payload])))[0][1]["delta"]["text"] == "h\ufffd"


def test_usage_is_put_together_from_start_and_end() -> None:
    stream = MessageStream()
    joined(stream.feed(encoded(START, {**END, "usage": {"input_tokens": None, "output_tokens": 3}}, STOP)))
    assert stream.usage == {"input_tokens": 7, "output_tokens": 3}


BLOCKS: list[Json] = [
    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
    {"type": "text", "text": "é\u2028", "citations": [{"cited_text": "c"}]},
    {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1]}},
    {"type": "redacted_thinking", "data": "xx"},
]
MESSAGE: Json = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "x/y",
    "content": BLOCKS,
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 2, "output_tokens": 9},
}


def assembled(events: list[Json]) -> Json:
    """A message put together from its events, as SDKs do it."""
    message: Json = json.loads(json.dumps(events[0]["message"]))
    partial: dict[int, str] = {}
    for event in events[1:]:
        if event["type"] == "content_block_start":
            message["content"].append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            match delta["type"]:
                case "text_delta":
                    block["text"] += delta["text"]
                case "thinking_delta":
                    block["thinking"] += delta["thinking"]
                case "signature_delta":
                    block["signature"] = delta["signature"]
                case "citations_delta":
                    block["citations"] = [*block["citations"], delta["citation"]]
                case "input_json_delta":
                    partial[event["index"]] = partial.get(event["index"], "") + delta["partial_json"]
                    block["input"] = json.loads(partial[event["index"]])
        elif event["type"] == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    return message


def test_a_whole_message_is_told_as_events_with_nothing_lost() -> None:
    assert assembled(list(events_of(MESSAGE))) == MESSAGE


@pytest.mark.parametrize("content", [None, "text", [None], [{"type": ["text"]}], [{"type": "text", "text": None}]])
def test_a_strange_whole_message_is_told_with_an_end_all_the_same(content: Any) -> None:
    told = list(events_of({"type": "message", "content": content, "stop_reason": "end_turn"}))
    assert [event["type"] for event in told][-2:] == ["message_delta", "message_stop"]


def test_a_streamed_call_answered_by_a_whole_message_is_a_stream() -> None:
    stream = MessageStream()
    events = read(joined(stream.feed([json.dumps(MESSAGE).encode(), DONE])))
    assert all(name == event["type"] for name, event in events)
    assert assembled([event for _, event in events]) == MESSAGE
    assert (stream.failure, stream.usage) == (None, MESSAGE["usage"])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'{ "content":[{}], "x": 1 }', b'{ "content":[{}], "x": 1 }', id="untouched to the byte"),
        pytest.param(b'{"content":null,"x":1}', b'{"content":[],"x":1}', id="null"),
        pytest.param(b'{"x":{"content":null}}', b'{"x":{"content":null},"content":[]}', id="absent"),
    ],
)
def test_a_whole_message_always_has_a_list_of_content(body: bytes, expected: bytes) -> None:
    assert with_content(body) == expected


def test_half_a_surrogate_pair_in_a_whole_message_is_passed_on() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"x": "\ud83d"}}
    message = {**MESSAGE, "content": [{"type": "text", "text": "a\ud83d"}, block]}
    events = read(joined(MessageStream().feed(encoded(message))))
    deltas = [event["delta"] for name, event in events if name == "content_block_delta"]
    assert deltas[0]["text"] == "a\ud83d"
    assert json.loads(deltas[1]["partial_json"]) == block["input"]


def test_a_broken_stream_ends_with_an_error_event() -> None:
    [(name, event)] = read(MessageStream().failed(ProxyError("slow down", status=429)))
    assert (name, event["type"]) == ("error", "error")
    assert event["error"] == {"type": "rate_limit_error", "message": "slow down"}


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=5), st.data())
def test_bursts_may_be_cut_anywhere(extras: list[Json], data: st.DataObject) -> None:
    payloads = encoded(START, *({**extra, "type": "content_block_delta"} for extra in extras), END, STOP)
    at = data.draw(st.integers(0, len(payloads)))
    cut, whole = MessageStream(), MessageStream()
    assert joined(cut.feed(payloads[:at])) + joined(cut.feed(payloads[at:])) == joined(whole.feed(payloads))


def block_start(**block: Any) -> Json:
    return {"type": "content_block_start", "index": 0, "content_block": block}


def delta(**members: Any) -> Json:
    return {"type": "content_block_delta", "index": 0, "delta": members}


@pytest.mark.parametrize(
    ("payload", "useful"),
    [
        pytest.param(START, False, id="a start"),
        pytest.param({"type": "ping"}, False, id="a ping"),
        pytest.param(block_start(type="text", text=""), False, id="an empty text block"),
        pytest.param(block_start(type="text", text="a"), True, id="a text block that begins with text"),
        pytest.param(block_start(type="thinking", thinking="", signature="x"), False, id="an empty thinking block"),
        pytest.param(block_start(type="redacted_thinking", data="x"), False, id="redacted thinking"),
        pytest.param(block_start(type="tool_use", name="f", input={}), True, id="a tool call"),
        pytest.param(delta(type="text_delta", text=" "), True, id="white space"),
        pytest.param(delta(type="text_delta", text=""), False, id="an empty delta"),
        pytest.param(delta(type="thinking_delta", thinking="a"), True, id="thinking"),
        pytest.param(delta(type="signature_delta", signature="a"), False, id="a signature"),
        pytest.param(delta(type="input_json_delta", partial_json="{"), True, id="arguments"),
        pytest.param({"type": "message_delta", "delta": {"stop_reason": "refusal"}}, True, id="a refusal"),
        pytest.param(END, False, id="an end"),
        pytest.param(MESSAGE, True, id="a whole message"),
        pytest.param({**MESSAGE, "content": None}, False, id="a whole message without content"),
        pytest.param({"type": "content_block_delta", "delta": None}, False, id="a delta that is none"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_useful_is_what_a_reader_would_notice(payload: Json, useful: bool) -> None:
    assert MESSAGES.useful(payload) is useful


@pytest.mark.parametrize(
    ("payload", "ending", "tokens"),
    [
        pytest.param(END, "end_turn", 3, id="message_delta"),
        pytest.param(START, None, 0, id="message_start's count is a placeholder"),
        pytest.param({"type": "message_delta", "delta": {"stop_reason": None}}, None, 0, id="no reason yet"),
        pytest.param(MESSAGE, "tool_use", 9, id="a whole message"),
    ],
)
def test_ending_and_tokens(payload: Json, ending: str | None, tokens: int) -> None:
    assert (MESSAGES.ending(payload), MESSAGES.tokens(payload)) == (ending, tokens)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        pytest.param(ERROR, "Overloaded", id="an error event"),
        pytest.param({"id": "g", "error": {"code": 503, "message": "busy"}}, "busy", id="an error inside a 200"),
        pytest.param({"error": "busy"}, "busy", id="a string"),
        pytest.param({"type": "error", "error": {}}, "error without a message", id="an empty error"),
    ],
)
def test_errors_are_found_in_any_form(payload: Json, message: str) -> None:
    error = MESSAGES.error(payload)
    assert error is not None
    assert error["message"] == message


@pytest.mark.parametrize("payload", [START, END, MESSAGE, {**MESSAGE, "error": None}])
def test_no_error_is_seen_where_none_is(payload: Json) -> None:
    assert MESSAGES.error(payload) is None


@pytest.mark.parametrize(
    ("payload", "kind", "last"),
    [
        pytest.param(b'{"type":"message_stop"}', "message_stop", True, id="the end"),
        pytest.param(b'{"x": {"type": "a"}, "type": "message_stop"}', "message_stop", True, id="type not first"),
        pytest.param(b'{"type":"x","text":"message_stop"}', "x", False, id="the word in a text"),
        pytest.param(b'{"x":"\\"message_stop\\""}', "", False, id="no type"),
        pytest.param(b'{"type":7}', "", False, id="a type that is none"),
    ],
)
def test_the_kind_of_a_payload(payload: bytes, kind: str, last: bool) -> None:
    assert (kind_of(payload), is_last(payload)) == (kind, last)


def test_what_is_no_json_has_no_kind_and_is_no_end() -> None:
    assert is_last(b'<"message_stop">') is False
    with pytest.raises(MalformedChunk):
        kind_of(b"<html>")
