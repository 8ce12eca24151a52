"""Decides how a request ends on a keep-alive connection: which unread bodies are read, and when the connection closes.

gunicorn reads the rest of an unread body before it looks for the next request, however long it is, and without letting
other greenlets run. Here the connection closes after such a request, unless little is missing (RFC 9112 sections 9.3
and 9.6).
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from typing import Any

import gevent
from gunicorn.http.body import LengthReader
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

#: An unread body of up to this size is read and thrown away, to keep the connection.
DRAINED_BYTES = 64 * 1024
#: Bytes of one read: an agent's history has a hundred kilobytes, which with gunicorn's own 8 would be many calls.
READ_BYTES = 64 * 1024
DRAIN_SECONDS = 1.0
LINGER_SECONDS = 1.0
_LINGER_PAUSE_SECONDS = 0.01


def unread_bytes(req: Request) -> float:
    """Return how many bytes of a request's body were not read; infinity where that cannot be known."""
    body = req.body
    if body.failed:
        return math.inf
    if isinstance(body.reader, LengthReader):
        unread: int = body.reader.length + body.buf.tell()
        return unread
    return 0 if body.reader.parser is None else math.inf


class ProxyRequest(Request):  # type: ignore[misc]
    """A request whose connection closes if its body is left unread or the worker is stopping.

    Its answer says `Connection: close`, if the head has not been written before.
    """

    is_stopping: Callable[[], bool]

    def should_close(self) -> bool:
        """Return True if the connection ends here. gunicorn asks at the head and before the next request."""
        return bool(super().should_close()) or self.is_stopping() or unread_bytes(self) >= DRAINED_BYTES


class ProxyParser(RequestParser):  # type: ignore[misc]
    """Reads requests from one connection; reads and drops only small unread bodies, and only for a short time."""

    mesg_class = ProxyRequest

    def __init__(self, cfg: Any, client: Any, addr: Any, *, is_stopping: Callable[[], bool]) -> None:
        super().__init__(cfg, client, addr)
        self.unreader.mxchunk = READ_BYTES
        self._is_stopping = is_stopping

    def __next__(self) -> ProxyRequest:
        request: ProxyRequest = super().__next__()
        request.is_stopping = self._is_stopping
        return request

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        """Read and drop the rest of a body, as gunicorn does, but always with a deadline (seconds) and a limit in
        bytes.
        """
        if deadline is None:
            deadline = time.monotonic() + DRAIN_SECONDS
        return bool(super().finish_body(deadline, DRAINED_BYTES if max_bytes is None else max_bytes))


def close_after_answer(client: Any) -> None:
    """End the answer, then give a client that is still sending a second to read it before the socket closes.

    Closing at once would reset the connection, and the reset may overtake the answer (RFC 9112 section 9.6). What comes
    in is dropped slowly, so that even gigabytes cost almost nothing.
    """
    try:
        client.shutdown(socket.SHUT_WR)
        with gevent.Timeout(LINGER_SECONDS, False):
            while client.recv(DRAINED_BYTES):
                gevent.sleep(_LINGER_PAUSE_SECONDS)
    except OSError:
        pass  # the client has gone already
