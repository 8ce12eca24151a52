"""The one reader of request bodies: bounded in size and in time, and never less than the client announced.

It knows WSGI and what gunicorn and gevent add to it, but no routes and no JSON (docs/contract.md, "Transport"; RFC 9112
section 6). Reading goes on cooperatively: a client that uploads or dribbles does not delay the others.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import zstandard
from gunicorn.http.errors import ParseException

from ollama_proxy.errors import BadRequest, BodyTimeout, BodyTooLarge

#: Set to True in the environment when the body was read to its end.
BODY_READ = "ollama_proxy.body_read"

_PIECE = 1 << 20
_ZSTD_PIECE = 256
_ZSTD_WINDOW = 1 << 25
ZSTD_LIMIT = 20 << 20


def read_body(environ: dict[str, Any], *, limit_bytes: int, timeout_seconds: float) -> bytes:
    """The whole body of a request, after which `environ["ollama_proxy.body_read"]` is True.

    Raises BodyTooLarge (an announced size over the limit, with nothing read, or a chunked body that grows over it),
    BadRequest (fewer bytes than announced, chunks that are none), BodyTimeout (not complete within `timeout_seconds`;
    without gevent that is only noticed between two reads). The socket's own time-out is never touched.
    """
    announced = _announced_size(environ)
    if announced is not None and announced > limit_bytes:
        raise _too_large(limit_bytes)
    if announced is None and not environ.get("wsgi.input_terminated"):
        announced = 0  # PEP 3333: without a length, and no promise of an end, there is no body
    wanted = limit_bytes + 1 if announced is None else announced
    late = BodyTimeout(f"the request body did not arrive within {timeout_seconds:g} seconds")
    try:
        with _deadline(timeout_seconds, late):
            pieces = list(_pieces(environ["wsgi.input"], wanted, time.monotonic() + timeout_seconds, late))
    except (OSError, ParseException) as error:
        raise BadRequest("the request body could not be read") from error
    received = sum(map(len, pieces))
    if announced is None and received > limit_bytes:
        raise _too_large(limit_bytes)
    if announced is not None and received < announced:
        raise BadRequest(f"the request body ended after {received} of {announced} bytes")
    environ[BODY_READ] = True
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decode_zstd(data: bytes, limit: int = ZSTD_LIMIT) -> bytes:
    """A `Content-Encoding: zstd` body, decoded (RFC 8878; several frames follow each other).

    Decoding stops once more than `limit` bytes came out, so a bomb costs little. Raises BadRequest for data that is not
    whole zstd frames, BodyTooLarge over the limit.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    decoded = bytearray()
    frame = decompressor.decompressobj()
    position = 0
    try:
        while position < len(data):
            # Small pieces: a block of 4 bytes may hold 128 KiB.
            piece = data[position : position + _ZSTD_PIECE]
            decoded += frame.decompress(piece)
            position += len(piece)
            if len(decoded) > limit:
                raise _too_large(limit)
            if frame.eof:
                position -= len(frame.unused_data)
                frame = decompressor.decompressobj() if position < len(data) else frame
    except zstandard.ZstdError as error:
        raise BadRequest("failed to decompress request body") from error
    if not frame.eof:
        raise BadRequest("failed to decompress request body")
    return bytes(decoded)


def _announced_size(environ: dict[str, Any]) -> int | None:
    text = environ.get("CONTENT_LENGTH") or None
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise BadRequest("invalid Content-Length")
    return int(text[:20])  # more digits than any size: enough to be over every limit, too few to be slow


def _pieces(stream: Any, wanted: int, deadline: float, late: BodyTimeout) -> Iterator[bytes]:
    while wanted > 0:
        piece = stream.read(min(wanted, _PIECE))
        if not piece:
            return
        wanted -= len(piece)
        yield piece
        if time.monotonic() > deadline:
            raise late


def _deadline(seconds: float, late: BodyTimeout) -> AbstractContextManager[Any]:
    """Interrupts a read that blocks, where reads block cooperatively.

    A socket's own time-out would not do: it starts anew with each byte that a client dribbles.
    """
    gevent = _gevent()
    if gevent is None or math.isinf(seconds):
        return nullcontext()
    timeout: AbstractContextManager[Any] = gevent.Timeout(seconds, late)
    return timeout


def _gevent() -> Any:
    """gevent, where this process's sockets are cooperative; else None (the development server)."""
    is_patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    return sys.modules["gevent"] if is_patched is not None and is_patched("socket") else None


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"request body too large: the limit is {limit / 1024 / 1024:g} MB")
