"""Reading an answer's body in bursts, with a limit on how long one read may wait.

It reads the connection's socket itself, so that a read takes all that has arrived, and so that waiting can stop for a
heartbeat and go on (a time-out inside the library's buffered reader poisons it: "cannot read from timed out object").
For an answer that came through the library it reaches behind `requests` and urllib3 to that socket.
"""

from __future__ import annotations

import socket
import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import requests

from ollama_proxy.openrouter.http.fair_reads import FairReads
from ollama_proxy.openrouter.http.framing import CloseFraming, Framing, FramingError, framing_of

#: The most one read takes: what a loopback or TLS socket hands over at once.
READ_SIZE = 65536


class BodyBroken(Exception):
    """The connection ended or broke before the body's end. The text says how; it holds nothing of the body."""


class Body(Protocol):
    """An answer's body."""

    def read(self, timeout: float) -> bytes | None:
        """What has arrived: b"" at the end, None if nothing came for `timeout` seconds. Raises BodyBroken."""

    def close(self) -> None:
        """End it: a body read to its end gives its connection back to the pool, any other closes it."""


def body_of(response: requests.Response) -> Body:
    """The body of `response` (from `HTTPAdapter.send` with `stream=True`). Raises FramingError."""
    raw: Any = response.raw
    buffered, connection = raw._fp.fp, raw.connection
    if buffered is None:  # there is no body, and the library has let go of the connection
        return SocketBody(None, framing_of(204, {}), ahead=bytes, end=partial(_end, response))
    # http.client lets go of a connection that the server will close; the reader still holds its socket.
    sock = connection.sock if connection is not None and connection.sock is not None else buffered.raw._sock
    body = SocketBody(
        sock,
        framing_of(response.status_code, response.headers),
        ahead=partial(_read_ahead, sock, buffered),
        end=partial(_end, response),
    )
    return decoded(body, response.headers)


def decoded(body: Body, headers: Mapping[str, str]) -> Body:
    """`body` without its `Content-Encoding`. What is neither gzip nor deflate was not asked for and stays as it is."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    return Decompressed(body) if encoding in ("gzip", "x-gzip", "deflate") else body


def _read_ahead(sock: socket.socket, buffered: Any) -> bytes:
    """What came with the headers. The socket must not be waited for, so it is asked without blocking."""
    sock.settimeout(0)
    try:
        held = buffered.peek()
    except (BlockingIOError, ssl.SSLWantReadError):
        return b""
    return bytes(buffered.read(len(held))) if held else b""


def _end(response: requests.Response, clean: bool) -> None:
    if clean:
        # http.client thinks that the body is unread: closing its response (not the connection) says otherwise.
        raw: Any = response.raw
        raw._fp.close()
        raw.release_conn()
    else:
        response.close()


class SocketBody:
    """Reads from the socket, all that is there at a time."""

    def __init__(self, sock: Any, framing: Framing, *, ahead: Callable[[], bytes], end: Callable[[bool], None]) -> None:
        """`ahead` gives what came with the headers; `end` is told whether the connection can be used again."""
        self._sock = sock
        self._framing = framing
        self._ahead: Callable[[], bytes] | None = ahead
        self._end: Callable[[bool], None] | None = end
        self._fair_reads = FairReads()

    def read(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        while not self._framing.finished:
            data = self._receive(timeout)
            if data is None:
                return None
            if not data:
                if self._framing.eof():
                    return b""
                raise BodyBroken("the connection closed before the end of the answer")
            try:
                body = self._framing.feed(data)
            except FramingError as error:
                raise BodyBroken(f"broken chunked encoding: {error}") from error
            self._fair_reads.took(len(data))
            if body:
                return body
            # A peer that keeps sending what is no part of the body does not make the wait longer.
            if (timeout := deadline - time.monotonic()) <= 0:
                return b"" if self._framing.finished else None
        return b""

    def _receive(self, timeout: float) -> bytes | None:
        try:
            if self._ahead is not None:
                ahead, self._ahead = self._ahead, None
                if held := ahead():
                    return held
            self._sock.settimeout(timeout)
            data: bytes = self._sock.recv(READ_SIZE)
            return data
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError as error:
            raise BodyBroken(f"the connection broke: {type(error).__name__}") from error

    def close(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            framing = self._framing
            end(framing.finished and not framing.leftover and not isinstance(framing, CloseFraming))


class Decompressed:
    """A gzip body, of one member or several (RFC 1952, 2.2), or a deflate body.

    Each read gives at most `READ_SIZE` bytes, however much what came can be blown up to.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._inflate = _new_decompressor()
        self._rest = b""
        self._has_more = False  # the last read was full
        self._begun = False
        self._members = 0  # that have been read whole
        self._fair_reads = FairReads()

    def read(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        while True:
            if not (self._rest or self._has_more):
                data = self._body.read(timeout)
                if not data:
                    return data if data is None else self._end()
                self._rest, self._begun = data, True
            if found := self._next():
                self._fair_reads.took(len(found))
                return found
            if (timeout := deadline - time.monotonic()) <= 0 and not self._rest:
                return None

    def _next(self) -> bytes:
        found: bytes
        if self._inflate.eof:
            self._inflate = _new_decompressor()
            self._members += 1
        try:
            found = self._inflate.decompress(self._rest, READ_SIZE)
        except zlib.error as error:
            if not self._members:
                raise BodyBroken("a compressed body that cannot be read") from error
            found = self._rest = b""  # what follows a whole member and is none is padding
        else:
            self._rest = self._inflate.unconsumed_tail or self._inflate.unused_data
        self._has_more = len(found) == READ_SIZE
        return found

    def _end(self) -> bytes:
        if self._begun and not (self._inflate.eof or self._members):
            raise BodyBroken("a compressed body that ends too early")
        return b""

    def close(self) -> None:
        self._body.close()


def _new_decompressor() -> Any:
    return zlib.decompressobj(wbits=47)  # with either header
