"""Where an HTTP/1.1 message body ends: bytes in, bytes out, no sockets.

RFC 9112 section 6.3 names three ways: chunked, a length, or the end of the connection. Reading a body through these in
place of the library's reader lets one `recv` take everything that has arrived: OpenRouter sends one event per chunk,
and a reader that hands out one chunk at a time costs several times as much per token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

#: A chunk-size line longer than this is not HTTP: sizes are a few hex digits, extensions are rare and short.
LONGEST_SIZE_LINE = 4096

#: Bytes of all trailers together. Nobody reads them here, and few servers send any.
LONGEST_TRAILERS = 16 * 1024

#: Digits of a Content-Length that can be meant: 10^18 bytes are an exabyte.
_MOST_DIGITS = 18

_HEX_DIGITS = b"0123456789abcdefABCDEF"
_PLAIN_SIZE_LINE = 10  # eight digits and the line's end


class FramingError(Exception):
    """Where the body ends cannot be known: nothing more can be read from this connection."""


class Framing(Protocol):
    """A body decoder. `finished` turns true at the body's end, `leftover` holds what came behind it."""

    finished: bool
    leftover: bytes

    def feed(self, data: bytes) -> bytes:
        """The body bytes in `data`, which is whatever one read brought. Raises FramingError."""

    def eof(self) -> bool:
        """Say that the connection ended. True if the body is whole."""


def framing_of(status: int, headers: Mapping[str, str]) -> Framing:
    """How the end of an answer's body is known (RFC 9112, 6.3). Repeated headers are joined with commas.

    Raises FramingError for a Content-Length that is no number, or for several that differ (RFC 9110, 8.6).
    """
    if status in (204, 304):
        return LengthFraming(0)  # without a body, whatever the headers say
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return ChunkedFraming()
    given = headers.get("Content-Length", "").strip()
    if not given:
        return CloseFraming()
    lengths = {length.strip() for length in given.split(",")}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()) or len(length) > _MOST_DIGITS:
        raise FramingError("a Content-Length that is no single number")
    return LengthFraming(int(length))


class ChunkedFraming:
    """RFC 9112 section 7.1: `size[;ext]CRLF data CRLF`, a zero chunk, trailers, an empty line."""

    def __init__(self) -> None:
        self.finished = False
        self.leftover = b""
        self._held = b""
        self._missing = 0  # bytes of the current chunk still to come, with its CRLF
        self._in_trailers = False
        self._trailers_left = LONGEST_TRAILERS
        self._broken: FramingError | None = None

    def feed(self, data: bytes) -> bytes:
        if self._broken is not None:
            raise self._broken
        body: list[bytes] = []
        try:
            self._decode(data, body)
        except FramingError as error:
            self._broken = error
            if not body:  # else what came before it is good, and the next call says so
                raise
        return body[0] if len(body) == 1 else b"".join(body)

    def _decode(self, data: bytes, body: list[bytes]) -> None:
        if self._held:
            data = self._held + data
            self._held = b""
        at, end = 0, len(data)
        if not self._missing and not self._in_trailers:
            at = _whole_chunks(data, body)
        while at < end and not self.finished:
            if self._missing:
                at = self._take(data, at, body)
                continue
            line_end = data.find(b"\n", at)
            if line_end < 0:
                if end - at > LONGEST_SIZE_LINE:
                    raise FramingError("a chunk-size line without an end")
                self._held = data[at:]
                break
            line = data[at:line_end].rstrip(b"\r")
            at = line_end + 1
            if self._in_trailers:
                self.finished = not line
                self._trailers_left -= len(line) + 2
                if self._trailers_left < 0:
                    raise FramingError("too many trailers")
            else:
                self._start_chunk(line)
        if self.finished:
            self.leftover = data[at:]

    def _start_chunk(self, line: bytes) -> None:
        size = line.partition(b";")[0].strip()
        if not size or size.translate(None, _HEX_DIGITS):
            raise FramingError("not a chunk size")
        length = int(size, 16)
        self._in_trailers = length == 0
        self._missing = length + 2 if length else 0

    def _take(self, data: bytes, at: int, body: list[bytes]) -> int:
        """Move the current chunk's bytes to `body`; the last two of what is missing are its CRLF."""
        there = min(self._missing, len(data) - at)
        payload = min(there, max(self._missing - 2, 0))
        if payload:
            body.append(data[at : at + payload])
        if data[at + payload : at + there].strip(b"\r\n"):
            raise FramingError("a chunk longer than its size")
        self._missing -= there
        return at + there

    def eof(self) -> bool:
        return self.finished


def _whole_chunks(data: bytes, body: list[bytes]) -> int:
    """Move the chunks that lie whole at the start of `data`, in their plainest form, to `body`; where they end.

    A stream is nothing but these: one pass without a call per chunk, which leaves whatever is unusual to the decoder.
    """
    at = 0
    while (line_end := data.find(b"\r\n", at, at + _PLAIN_SIZE_LINE)) > at:
        digits = data[at:line_end]
        if digits.strip(_HEX_DIGITS):
            break  # extensions, white space
        start = line_end + 2
        stop = start + int(digits, 16)
        if stop == start or data[stop : stop + 2] != b"\r\n":
            break
        body.append(data[start:stop])
        at = stop + 2
    return at


class LengthFraming:
    """RFC 9112 section 6.2: Content-Length."""

    def __init__(self, length: int) -> None:
        self._missing = length
        self.finished = length == 0
        self.leftover = b""

    def feed(self, data: bytes) -> bytes:
        body, self.leftover = data[: self._missing], data[self._missing :]
        self._missing -= len(body)
        self.finished = self._missing == 0
        return body

    def eof(self) -> bool:
        return self.finished


class CloseFraming:
    """A body that the end of the connection ends. Whether it is whole cannot be known."""

    def __init__(self) -> None:
        self.finished = False
        self.leftover = b""

    def feed(self, data: bytes) -> bytes:
        return data

    def eof(self) -> bool:
        self.finished = True
        return True
