"""The event stream decoder: framing by the WHATWG rules, at any cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.openrouter.answers import events
from ollama_proxy.openrouter.answers.events import EventDecoder, EventTooLarge

STREAMS = [
    pytest.param(b'data: {"a":1}\n\ndata: {"b":2}\n\n', [b'{"a":1}', b'{"b":2}'], id="LF"),
    pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"], id="CRLF"),
    pytest.param(b"data: a\r\rdata: b\r\r", [b"a", b"b"], id="CR"),
    pytest.param(b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"], id="mixed line ends"),
    pytest.param(b"data:a\n\ndata:  b\n\n", [b"a", b" b"], id="at most one space is dropped"),
    pytest.param(b": OPENROUTER PROCESSING\n\n:\n\ndata: a\n\n", [b"a"], id="comments as events are dropped"),
    pytest.param(b"data: a\n\n: wait\ndata: b\n\n", [b"a", b"b"], id="a comment before data in one event"),
    pytest.param(b"data: a\ndata: b\ndata:\n\n", [b"a\nb\n"], id="data lines are joined with LF"),
    pytest.param(b"event: x\nid: 1\nretry: 5\ndatax: n\ndata: a\n\n", [b"a"], id="other fields are ignored"),
    pytest.param(b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"], id="extra blank lines are nothing"),
    pytest.param(b"data: \n\ndata\n\ndata: a\n\n", [b"a"], id="empty data is dropped"),
    pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="a byte order mark is dropped"),
    pytest.param("data: é😀\n\n".encode(), ["é😀".encode()], id="UTF-8"),
    pytest.param(b"data: a\n\ndata: [DONE]", [b"a", b"[DONE]"], id="the last event without a blank line"),
    pytest.param(b"data: a\n\ndata: [DONE]\n", [b"a", b"[DONE]"], id="the last event with one line end"),
    pytest.param(b"data: a\r\n\r\ndata: b\r\n", [b"a", b"b"], id="the last event with one CRLF"),
    pytest.param(b": only a comment\n\n", [], id="only a comment"),
    pytest.param(b"", [], id="nothing"),
]


def decode(parts: list[bytes]) -> list[bytes]:
    decoder = EventDecoder()
    payloads = [payload for part in parts for payload in decoder.feed(part)]
    return payloads + decoder.flush()


@pytest.mark.parametrize(("stream", "payloads"), STREAMS)
def test_whole(stream: bytes, payloads: list[bytes]) -> None:
    assert decode([stream]) == payloads


@pytest.mark.parametrize(("stream", "payloads"), STREAMS)
def test_every_single_cut_and_byte_by_byte(stream: bytes, payloads: list[bytes]) -> None:
    for cut in range(len(stream) + 1):
        assert decode([stream[:cut], stream[cut:]]) == payloads
    assert decode([stream[i : i + 1] for i in range(len(stream))]) == payloads


@given(
    st.lists(
        st.sampled_from([b"data: ", b"data:", b": c", b"\n", b"\r", b"\r\n", b"\n\n", b"x", b"\xc3\xa9"]), max_size=40
    ),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_cuts_change_nothing(tokens: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(tokens)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    assert decode([stream[a:b] for a, b in itertools.pairwise(edges)]) == by_the_standard(stream)


def by_the_standard(stream: bytes) -> list[bytes]:
    """The algorithm of the standard, line by line, with the decoder's two documented departures."""
    payloads, data = [], []
    for line in [*stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), b""]:
        if not line:
            payloads.append(b"\n".join(data))
            data = []
        elif line.split(b":")[0] == b"data":
            value = line.partition(b":")[2]
            data.append(value.removeprefix(b" "))
    return [payload for payload in payloads if payload]


def test_an_event_is_delivered_with_its_blank_line_not_later() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\ndata: b") == [b"a"]
    assert decoder.feed(b"\n\n") == [b"b"]
    assert decoder.flush() == []


@pytest.mark.parametrize("read", [1000, 100_000], ids=["in many reads", "in one read"])
def test_an_event_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch, read: int) -> None:
    monkeypatch.setattr(events, "MAX_EVENT_BYTES", 10_000)
    stream = b"data: " + b"x" * 20_000 + b"\n\n"
    reads = [stream[start : start + read] for start in range(0, len(stream), read)]
    with pytest.raises(EventTooLarge):
        decode(reads)


def test_an_event_under_the_limit_passes_between_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_EVENT_BYTES", 10_000)
    stream = b"data: " + b"x" * 9_000 + b"\n\n"
    assert decode([stream * 5]) == [b"x" * 9_000] * 5
