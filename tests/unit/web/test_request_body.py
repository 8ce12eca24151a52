"""Reading bodies off gunicorn's own readers, over sockets that were never connected to anything but this test."""

from __future__ import annotations

import gc
import io
import random
import socket
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import zstandard
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_proxy.errors import BadRequest, BodyTimeout, BodyTooLarge, Unavailable
from ollama_proxy.server.held_bodies import HELD_BODY, HeldBody, held_bytes
from ollama_proxy.web import request_body
from ollama_proxy.web.request_body import decode_zstd, decoded_zstd, read_body


class Untouchable:
    """A body that must not be read."""

    def read(self, size: int) -> bytes:
        raise AssertionError("read")


def environ_of(parts: Iterator[bytes] | list[bytes]) -> dict[str, Any]:
    """The environment of the request in `parts` (each one read off the socket), as gunicorn makes it."""
    message = next(RequestParser(Config(), iter(parts), ("127.0.0.1", 1)))
    headers = dict(message.headers)
    environ = {"wsgi.input": message.body, "wsgi.input_terminated": True}
    if "CONTENT-LENGTH" in headers:
        environ["CONTENT_LENGTH"] = headers["CONTENT-LENGTH"]
    return environ


def sized(length: int | str, *parts: bytes) -> dict[str, Any]:
    return environ_of([f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode(), *parts])


def chunked(*parts: bytes) -> dict[str, Any]:
    return environ_of([b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", *parts])


def read(environ: dict[str, Any], limit: int = 100, seconds: float = 5) -> bytes:
    try:
        return read_body(environ, limit_bytes=limit, timeout_seconds=seconds)
    finally:
        if held := environ.pop(HELD_BODY, None):
            held.release()  # as the worker does: the environments of these tests live on


@pytest.mark.parametrize(
    ("environ", "body"),
    [
        pytest.param(sized(5, b"hello"), b"hello", id="announced"),
        pytest.param(sized(5, b"he", b"l", b"lo"), b"hello", id="in several reads"),
        pytest.param(sized(5, b"helloGET / HTTP/1.1"), b"hello", id="the next request is left alone"),
        pytest.param(sized(0), b"", id="announced as empty"),
        pytest.param(environ_of([b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"]), b"", id="no body"),
        pytest.param(chunked(b"5\r\nhello\r\n0\r\n\r\n"), b"hello", id="chunked"),
        pytest.param(chunked(b"2\r\nhe\r\n", b"3;x=y\r\nllo", b"\r\n0\r\nT: r\r\n\r\n"), b"hello", id="with extras"),
        pytest.param(chunked(b"0\r\n\r\n"), b"", id="chunked and empty"),
        pytest.param(chunked(b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n"), b"x" * 100, id="chunked to the limit"),
        pytest.param(sized(100, b"x" * 100), b"x" * 100, id="announced to the limit"),
        pytest.param({"wsgi.input": Untouchable(), "CONTENT_LENGTH": ""}, b"", id="PEP 3333: no length, no body"),
        pytest.param({"wsgi.input": io.BytesIO(b"{}"), "CONTENT_LENGTH": "2"}, b"{}", id="another server"),
    ],
)
def test_a_whole_body_is_read(environ: dict[str, Any], body: bytes) -> None:
    assert read(environ) == body


@pytest.mark.parametrize(
    ("environ", "error", "text"),
    [
        pytest.param({"wsgi.input": Untouchable(), "CONTENT_LENGTH": "101"}, BodyTooLarge, "too large", id="announced"),
        pytest.param({"wsgi.input": Untouchable(), "CONTENT_LENGTH": "9" * 5000}, BodyTooLarge, "too large", id="huge"),
        pytest.param(chunked(b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n"), BodyTooLarge, "too large", id="chunked"),
        pytest.param(sized(5, b"hell"), BadRequest, "4 of 5 bytes", id="short"),
        pytest.param(sized(5), BadRequest, "0 of 5 bytes", id="absent"),
        pytest.param(chunked(b"zz\r\nhello"), BadRequest, "could not be read", id="a chunk size that is none"),
        pytest.param(chunked(b"5\r\nhelloXX0\r\n\r\n"), BadRequest, "could not be read", id="a chunk without its end"),
        pytest.param(chunked(b"5\r\nhel"), BadRequest, "could not be read", id="cut in a chunk"),
        pytest.param(chunked(b"5\r\nhello\r\n"), BadRequest, "could not be read", id="cut between chunks"),
        pytest.param(chunked(b"5\r\nhello\r\n0\r\n"), BadRequest, "could not be read", id="cut before the last line"),
        pytest.param(
            {"wsgi.input": Untouchable(), "CONTENT_LENGTH": "-1"}, BadRequest, "Content-Length", id="negative"
        ),
        pytest.param({"wsgi.input": Untouchable(), "CONTENT_LENGTH": "٣"}, BadRequest, "Content-Length", id="digits"),
    ],
)
def test_a_body_that_cannot_be_used(environ: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        read(environ)


def test_an_endless_chunked_body_is_read_little_beyond_the_limit() -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            sent += 1024
            yield b"400\r\n" + b"x" * 1024 + b"\r\n"

    with pytest.raises(BodyTooLarge):
        read(environ_of(endless()), limit=10_000)
    assert sent < 20_000


def test_a_body_that_dribbles_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two reads; that a blocked read is interrupted is shown with a real worker."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(request_body.time, "monotonic", lambda: next(clock))
    with pytest.raises(BodyTimeout, match="25 seconds"):
        read(sized(3 << 20, *[b"x" * (1 << 20)] * 3), limit=1 << 30, seconds=25)


class Slow:
    """A body that comes, but not in time."""

    def read(self, size: int) -> bytes:
        return b"x" * size


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        pytest.param({"CONTENT_LENGTH": str(1 << 30)}, -1.0, id="late"),
        pytest.param({"CONTENT_LENGTH": str(1 << 31)}, 5.0, id="too large"),
        pytest.param({"wsgi.input_terminated": True}, 5.0, id="chunked and too large"),
    ],
)
def test_nothing_holds_a_refused_body(environ: dict[str, Any], seconds: float) -> None:
    """Not even for the garbage collector to find: by the time it looks, there are hundreds of megabytes."""
    body = Slow()
    gone = weakref.ref(body)
    environ = {**environ, "wsgi.input": body}
    gc.disable()
    try:
        with pytest.raises((BodyTimeout, BodyTooLarge)):
            read(environ, limit=1 << 30 if "CONTENT_LENGTH" in environ else 3 << 20, seconds=seconds)
        del environ, body
        assert gone() is None
        assert held_bytes() == 0
    finally:
        gc.enable()


def test_a_body_counts_until_its_request_ends() -> None:
    environ = sized(5, b"hello")
    read_body(environ, limit_bytes=100, timeout_seconds=5, total_bytes=1000)
    assert held_bytes() == 5
    environ[HELD_BODY].release()
    assert held_bytes() == 0


def test_no_room_for_a_body_that_was_announced() -> None:
    environ = {"wsgi.input": Untouchable(), "CONTENT_LENGTH": "60"}
    other = HeldBody(100, 50)
    with pytest.raises(Unavailable):
        read_body(environ, limit_bytes=100, timeout_seconds=5, total_bytes=100)
    other.release()


def test_no_room_for_a_body_that_grows() -> None:
    other = HeldBody(100, 50)
    environ = chunked(b"32\r\n" + b"x" * 50 + b"\r\n", b"1\r\nx\r\n0\r\n\r\n")
    with pytest.raises(Unavailable):
        read_body(environ, limit_bytes=100, timeout_seconds=5, total_bytes=100)
    other.release()


def test_a_limit_for_all_bodies_is_one_for_each() -> None:
    with pytest.raises(BodyTooLarge):
        read_body(
            {"wsgi.input": Untouchable(), "CONTENT_LENGTH": "101"}, limit_bytes=500, timeout_seconds=5, total_bytes=100
        )


def test_a_reset_while_reading_is_the_clients_fault() -> None:
    class Reset:
        def read(self, size: int) -> bytes:
            raise ConnectionResetError

    with pytest.raises(BadRequest):
        read({"wsgi.input": Reset(), "CONTENT_LENGTH": "5"})


def test_the_sockets_timeout_is_left_as_it_was() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.settimeout(7)
        theirs.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        message = next(RequestParser(Config(), mine, ("127.0.0.1", 1)))
        assert read({"wsgi.input": message.body, "CONTENT_LENGTH": "2", "gunicorn.socket": mine}) == b"{}"
        assert mine.gettimeout() == 7


@given(body=st.binary(max_size=400), cuts=st.lists(st.integers(1, 60), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_chunks_and_reads_may_be_cut_anywhere(body: bytes, cuts: list[int]) -> None:
    wire, rest = b"", body
    for size in cuts:
        if rest:
            wire += f"{len(rest[:size]):x}\r\n".encode() + rest[:size] + b"\r\n"
            rest = rest[size:]
    wire += (f"{len(rest):x}\r\n".encode() + rest + b"\r\n" if rest else b"") + b"0\r\n\r\n"
    pieces = [wire[start : start + cuts[0]] for start in range(0, len(wire), cuts[0])]
    assert read(chunked(*pieces), limit=400) == body


def compressed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


FRAMES = {
    "empty frames": zstandard.ZstdCompressor().compress(b""),
    "skippable frames": b"\x50\x2a\x4d\x18" + bytes(4),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_body_of_frames_that_hold_nothing_is_refused_after_a_thousand(
    monkeypatch: pytest.MonkeyPatch, frame: bytes
) -> None:
    frames = 0

    decompressor = zstandard.ZstdDecompressor()

    class Counting:
        def decompressobj(self) -> Any:
            nonlocal frames
            frames += 1
            return decompressor.decompressobj()

    monkeypatch.setattr(request_body.zstandard, "ZstdDecompressor", lambda **_: Counting())
    with pytest.raises(BadRequest):
        decode_zstd(frame * 100_000)
    assert frames < 1100
    assert decode_zstd(frame * 900) == b""


def test_more_than_could_ever_be_decoded_is_refused_unread() -> None:
    with pytest.raises(BodyTooLarge):
        decode_zstd(bytes(22 << 20))


def test_what_was_decoded_counts_too() -> None:
    environ = sized(len(WITHOUT_SIZE), WITHOUT_SIZE) | {"HTTP_CONTENT_ENCODING": "ZSTD "}
    data = read_body(environ, limit_bytes=1000, timeout_seconds=5, total_bytes=1000)
    with pytest.raises(Unavailable):
        decoded_zstd(environ, data)
    environ[HELD_BODY].release()


def test_what_is_not_said_to_be_zstd_stays_as_it_is() -> None:
    assert decoded_zstd({"HTTP_CONTENT_ENCODING": "gzip"}, b"{}") == b"{}"


WITHOUT_SIZE = zstandard.ZstdCompressor(write_content_size=False).compress(b"{}" * 500)


@pytest.mark.parametrize(
    ("data", "decoded"),
    [
        pytest.param(compressed(b"{}"), b"{}", id="a frame"),
        pytest.param(WITHOUT_SIZE, b"{}" * 500, id="a frame that does not tell its size"),
        pytest.param(compressed(b"{") + compressed(b"}"), b"{}", id="two frames"),
        pytest.param(compressed(bytes(5000)), bytes(5000), id="to the limit"),
    ],
)
def test_zstd(data: bytes, decoded: bytes) -> None:
    assert decode_zstd(data, 5000) == decoded


def test_the_time_for_zstd_grows_with_the_size_and_not_with_its_square() -> None:
    data = random.Random(1).randbytes(8 << 20)
    began = time.process_time()
    assert decode_zstd(compressed(data)) == data
    assert time.process_time() - began < 2, "seconds; a fiftieth of that if nothing is copied again and again"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"model": "x"}', id="not compressed"),
        pytest.param(compressed(b"{}" * 500)[:-3], id="cut"),
        pytest.param(compressed(b"{}") + b"{}", id="something behind it"),
    ],
)
def test_bad_zstd(data: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^failed to decompress request body$"):
        decode_zstd(data, 5000)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = compressed(bytes(400 << 20))
    with pytest.raises(BodyTooLarge):
        decode_zstd(bomb)
