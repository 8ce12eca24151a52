"""Where a message body ends, whatever the reads look like in which it arrives."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.openrouter.http.framing import (
    LONGEST_SIZE_LINE,
    LONGEST_TRAILERS,
    ChunkedFraming,
    CloseFraming,
    Framing,
    FramingError,
    LengthFraming,
    framing_of,
)

EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b' ; a="b;c"'])
TRAILERS = st.sampled_from([b"", b"X-Checksum: 1\r\n", b"A: 1\r\nB: 2\r\n"])


def chunked(chunks: list[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    data = b"".join(b"%X%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return data + b"000" + extension + b"\r\n" + trailers + b"\r\n"


def feed(framing: Framing, data: bytes, cuts: list[int]) -> bytes:
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    return b"".join(framing.feed(data[start:end]) for start, end in pairwise(edges))


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    extension=EXTENSIONS,
    trailers=TRAILERS,
    cuts=st.lists(st.integers(1, 400), max_size=12),
)
def test_a_chunked_body_is_the_same_however_it_is_cut(
    chunks: list[bytes], extension: bytes, trailers: bytes, cuts: list[int]
) -> None:
    framing = ChunkedFraming()
    assert feed(framing, chunked(chunks, extension, trailers), cuts) == b"".join(chunks)
    assert framing.finished
    assert framing.leftover == b""


@given(cut=st.integers(0, 60), trailers=TRAILERS)
def test_a_chunked_body_is_whole_only_with_its_last_byte(cut: int, trailers: bytes) -> None:
    data = chunked([b"hello", b"world"], trailers=trailers)
    framing = ChunkedFraming()
    framing.feed(data[: min(cut, len(data) - 1)])
    assert not framing.eof()


@given(st.binary(min_size=1, max_size=30))
def test_what_comes_behind_the_body_is_left_over(rest: bytes) -> None:
    framing = ChunkedFraming()
    assert framing.feed(chunked([b"a"]) + rest) == b"a"
    assert framing.leftover == rest


def test_several_chunks_in_one_read_come_out_together() -> None:
    assert ChunkedFraming().feed(chunked([b"one", b"two", b"three"])) == b"onetwothree"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"xyz\r\n", id="a size that is no hex number"),
        pytest.param(b"-5\r\nhello", id="a negative size"),
        pytest.param(b"0x5\r\nhello", id="a size with a prefix"),
        pytest.param(b"\r\n", id="no size"),
        pytest.param(b";a=b\r\n", id="an extension without a size"),
        pytest.param(b"5\r\nhelloworld\r\n", id="a chunk longer than its size"),
        pytest.param(b"1" * (LONGEST_SIZE_LINE + 1), id="a size line without an end"),
        pytest.param(b"0\r\n" + b"A: b\r\n" * LONGEST_TRAILERS, id="trailers without an end"),
    ],
)
def test_broken_framing_is_an_error(data: bytes) -> None:
    framing = ChunkedFraming()
    with suppress(FramingError):  # raised at once, unless there was something good before
        framing.feed(data)
    with pytest.raises(FramingError):
        framing.feed(b"more")


def test_what_came_before_broken_framing_is_given_out() -> None:
    framing = ChunkedFraming()
    assert framing.feed(b"5\r\nhello\r\nxyz\r\n") == b"hello"
    with pytest.raises(FramingError):
        framing.feed(b"5\r\nhello\r\n")
    assert not framing.eof()


@pytest.mark.parametrize(
    ("status", "headers", "kind", "finished"),
    [
        pytest.param(200, {}, CloseFraming, False, id="nothing said"),
        pytest.param(200, {"Content-Length": "5"}, LengthFraming, False, id="a length"),
        pytest.param(200, {"Content-Length": "0"}, LengthFraming, True, id="no bytes"),
        pytest.param(200, {"Content-Length": "5, 5,5"}, LengthFraming, False, id="equal lengths count as one"),
        pytest.param(200, {"Content-Length": ""}, CloseFraming, False, id="an empty length"),
        pytest.param(200, {"Transfer-Encoding": "Chunked"}, ChunkedFraming, False, id="chunks"),
        pytest.param(
            200,
            {"Transfer-Encoding": "chunked", "Content-Length": "x"},
            ChunkedFraming,
            False,
            id="chunks go first",
        ),
        pytest.param(204, {"Content-Length": "5"}, LengthFraming, True, id="204"),
        pytest.param(304, {"Transfer-Encoding": "chunked"}, LengthFraming, True, id="304"),
    ],
)
def test_how_the_end_is_known(status: int, headers: dict[str, str], kind: type, finished: bool) -> None:
    framing = framing_of(status, headers)
    assert (type(framing), framing.finished) == (kind, finished)


@pytest.mark.parametrize("length", ["5, 6", "²³", "٣", "-1", "+1", "0x5", "1.0", "5 5", "5,", "9" * 19, "9" * 5000])
def test_a_length_that_is_no_single_number_is_an_error(length: str) -> None:
    with pytest.raises(FramingError):
        framing_of(200, {"Content-Length": length})


@given(st.binary(max_size=200), st.lists(st.integers(1, 200), max_size=10))
def test_any_bytes_are_read_or_refused(data: bytes, cuts: list[int]) -> None:
    framing = ChunkedFraming()
    try:
        body = feed(framing, data, cuts)
    except FramingError:
        return
    assert len(body) <= len(data)


@given(body=st.binary(max_size=50), rest=st.binary(max_size=10), cuts=st.lists(st.integers(1, 60), max_size=5))
def test_a_length_ends_the_body(body: bytes, rest: bytes, cuts: list[int]) -> None:
    framing = LengthFraming(len(body))
    data = body + rest
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    read = b""
    for start, end in pairwise(edges):
        if framing.finished:
            break
        read += framing.feed(data[start:end])
    assert read == body
    assert framing.finished
    assert rest.startswith(framing.leftover)


def test_a_short_body_with_a_length_is_not_whole() -> None:
    framing = LengthFraming(5)
    assert framing.feed(b"hell") == b"hell"
    assert not framing.eof()


def test_without_a_length_the_end_of_the_connection_is_the_end() -> None:
    framing = CloseFraming()
    assert framing.feed(b"abc") == b"abc"
    assert not framing.finished
    assert framing.eof()
    assert framing.finished
