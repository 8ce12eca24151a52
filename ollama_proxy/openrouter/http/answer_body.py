"""Reading an answer's body in bursts, with a limit on how long one read may wait.

The only module that reaches behind `requests` and urllib3: it reads the connection's socket itself, so that a read
takes all that has arrived, and so that waiting can stop for a heartbeat and go on (a time-out inside the library's
buffered reader poisons it: "cannot read from timed out object"). Where the private parts it needs are missing, or the
body is compressed, `LibraryBody` reads through urllib3's public interface: slower, and without short waits.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from ollama_proxy.openrouter.http.framing import ChunkedFraming, CloseFraming, Framing, FramingError, LengthFraming

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
    """The reader that suits `response` (from `HTTPAdapter.send` with `stream=True`)."""
    sock, buffered = _socket_of(response)
    if sock is None or response.headers.get("Content-Encoding", "identity").lower() != "identity":
        return LibraryBody(response)
    return SocketBody(
        sock,
        framing_of(response.status_code, response.headers),
        ahead=partial(_read_ahead, sock, buffered),
        end=partial(_end, response),
    )


def _socket_of(response: requests.Response) -> tuple[socket.socket | None, Any]:
    """The connection's socket and the buffered reader over it that may hold the first bytes of the body."""
    try:
        raw: Any = response.raw
        buffered = raw._fp.fp
        connection = raw.connection
        # http.client lets go of a connection that the server will close; the reader still holds its socket.
        sock = connection.sock if connection is not None and connection.sock is not None else buffered.raw._sock
    except AttributeError:
        return None, None
    return sock, buffered


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


def framing_of(status: int, headers: Mapping[str, str]) -> Framing:
    """How the end of an answer's body is known (RFC 9112, 6.3)."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return ChunkedFraming()
    if status in (204, 304):
        return LengthFraming(0)  # without a body, whatever the headers say
    length = headers.get("Content-Length", "")
    return LengthFraming(int(length)) if length.isdigit() else CloseFraming()


class SocketBody:
    """Reads from the socket, all that is there at a time."""

    def __init__(
        self, sock: socket.socket, framing: Framing, *, ahead: Callable[[], bytes], end: Callable[[bool], None]
    ) -> None:
        """`ahead` gives what came with the headers; `end` is told whether the connection can be used again."""
        self._sock = sock
        self._framing = framing
        self._ahead: Callable[[], bytes] | None = ahead
        self._end: Callable[[bool], None] | None = end

    def read(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        while not self._framing.finished:
            data = self._receive(max(deadline - time.monotonic(), 0.001))
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
            if body:
                return body
        return b""

    def _receive(self, timeout: float) -> bytes | None:
        try:
            if self._ahead is not None:
                ahead, self._ahead = self._ahead, None
                if held := ahead():
                    return held
            self._sock.settimeout(timeout)
            return self._sock.recv(READ_SIZE)
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError as error:
            raise BodyBroken(f"the connection broke: {type(error).__name__}") from error

    def close(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            framing = self._framing
            end(framing.finished and not framing.leftover and not isinstance(framing, CloseFraming))


class LibraryBody:
    """Reads through urllib3: decodes gzip, waits as long as the request's read time-out."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response

    def read(self, timeout: float) -> bytes | None:
        try:
            return bytes(self._response.raw.read1(READ_SIZE, decode_content=True) or b"")
        except ReadTimeoutError:
            return None
        except (HTTPError, OSError) as error:
            raise BodyBroken(f"the connection broke: {type(error).__name__}") from error

    def close(self) -> None:
        self._response.close()
