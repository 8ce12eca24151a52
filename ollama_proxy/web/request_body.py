"""Reads request bodies, all of them: limited in size and time, and never fewer bytes than the client announced.

It knows WSGI and what gunicorn and gevent add to it, but no routes and no JSON (docs/contract.md, "Transport"; RFC 9112
section 6). Reading is cooperative: a client that uploads, or sends slowly, does not delay the others.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import zstandard
from gunicorn.http.errors import ParseException

from ollama_proxy.errors import BadRequest, BodyTimeout, BodyTooLarge
from ollama_proxy.server.held_bodies import HELD_BODY, HeldBody, largest_body
from ollama_proxy.server.turns import Turn

_PIECE = 1 << 20
_ZSTD_PIECE = 256
_ZSTD_WINDOW = 1 << 25
_MOST_ZSTD_FRAMES = 1000
ZSTD_LIMIT = 20 << 20


def read_body(
    environ: dict[str, Any], *, limit_bytes: int, timeout_seconds: float, total_bytes: int = sys.maxsize
) -> bytes:
    """Read the whole body of a request.

    `total_bytes` is what all requests of this process may hold of bodies at once, this one among them until it ends.
    Raises BodyTooLarge (an announced size over the limit, with nothing read, or a chunked body that grows over it),
    Unavailable (no room beside the others, with nothing read of an announced size), BadRequest (fewer bytes than
    announced, malformed chunks), BodyTimeout (not complete within `timeout_seconds`; without gevent that is
    checked only between two reads). The socket's own time-out is never touched.
    """
    limit_bytes = min(limit_bytes, largest_body(total_bytes))
    announced = _announced_size(environ)
    if announced is not None and announced > limit_bytes:
        raise _too_large(limit_bytes)
    if announced is None and not environ.get("wsgi.input_terminated"):
        announced = 0  # PEP 3333: without a length, and no promise of an end, there is no body
    wanted = limit_bytes + 1 if announced is None else announced
    held = environ[HELD_BODY] = HeldBody(total_bytes, announced or 0)
    body = BytesIO()  # not a list to be joined, which would be twice as much for a moment
    try:
        with _deadline(timeout_seconds):
            for piece in _pieces(environ["wsgi.input"], wanted, timeout_seconds):
                if announced is None:
                    held.grow(len(piece))
                body.write(piece)
    except (OSError, ParseException) as error:
        raise BadRequest("the request body could not be read") from error
    received = body.tell()
    if announced is None and received > limit_bytes:
        raise _too_large(limit_bytes)
    if announced is not None and received < announced:
        raise BadRequest(f"the request body ended after {received} of {announced} bytes")
    return body.getvalue()


def decoded_zstd(environ: dict[str, Any], data: bytes) -> bytes:
    """`data`, decoded, if the request says that it is zstd; it counts as more of what the request holds.

    Raises as `decode_zstd`, and Unavailable where there is no room for it.
    """
    if environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() != "zstd":
        return data
    decoded = decode_zstd(data)
    environ[HELD_BODY].grow(len(decoded))
    return decoded


def decode_zstd(data: bytes, limit: int = ZSTD_LIMIT) -> bytes:
    """Decode a `Content-Encoding: zstd` body (RFC 8878; several frames may follow each other).

    Decoding stops once more than `limit` bytes came out, so a decompression bomb costs little. Raises BadRequest for
    data that is not whole zstd frames, or a thousand of them, BodyTooLarge for more than the limit, decoded or not.
    """
    if len(data) > limit + _PIECE:  # what cannot be made smaller grows by some bytes a frame
        raise _too_large(limit)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    decoded = bytearray()
    frame, frames = decompressor.decompressobj(), 1
    position = 0
    offer_turn = _turns()
    try:
        while position < len(data) and frames <= _MOST_ZSTD_FRAMES:
            # Small pieces: a block of 4 bytes may hold 128 KiB.
            piece = data[position : position + _ZSTD_PIECE]
            decoded += frame.decompress(piece)
            position += len(piece)
            if len(decoded) > limit:
                raise _too_large(limit)
            if frame.eof:
                position -= len(frame.unused_data)
                if position < len(data):
                    frame, frames = decompressor.decompressobj(), frames + 1
            offer_turn()
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
    return int(text[:20])  # 20 digits are over every limit, and `int` of very many digits is slow


def _pieces(stream: Any, wanted: int, timeout_seconds: float) -> Iterator[bytes]:
    deadline = time.monotonic() + timeout_seconds
    while wanted > 0:
        piece = stream.read(min(wanted, _PIECE))
        if not piece:
            return
        wanted -= len(piece)
        yield piece
        if time.monotonic() > deadline:
            raise _late(timeout_seconds)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raises BodyTimeout in a read that blocks, where reads block cooperatively.

    A socket's own time-out would not do: it starts anew with each byte that a client dribbles. No frame keeps the
    exception by a name: its traceback knows the frames, and the two would hold each other, and the body with them.
    It is an Exception, not a gevent.Timeout: gunicorn's reader notes that it has lost its place.
    """
    gevent = _gevent()
    if gevent is None or math.isinf(seconds):
        yield
        return
    timer = gevent.Timeout.start_new(seconds, _late(seconds))
    try:
        yield
    finally:
        timer.close()
        del timer


def _turns() -> Callable[[], None]:
    """What to call in a loop, so that other clients get their turns where connections are greenlets."""
    return (lambda: None) if _gevent() is None else Turn().offer


def _gevent() -> Any:
    """Return gevent if this process's sockets are cooperative, else None (the development server)."""
    is_patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    return sys.modules["gevent"] if is_patched is not None and is_patched("socket") else None


def _late(seconds: float) -> BodyTimeout:
    return BodyTimeout(f"the request body did not arrive within {seconds:g} seconds")


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"request body too large: the limit is {limit / 1024 / 1024:g} MB")
