"""How gunicorn's parser reads requests off a connection: in turns with all others, and never what nobody wants.

Its readers go on as long as there are bytes: each read, and each chunk of a body, offers the others their turn here.
gunicorn also reads the rest of an unread body before it looks for the next request, however long it is. Here a
connection ends after such a request, unless little is missing (RFC 9112 sections 9.3 and 9.6).
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import InvalidChunkSize
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader

from ollama_proxy.server.turns import Turn

#: An unread body of up to this size is read and thrown away, to keep the connection.
DRAINED_BYTES = 64 * 1024
#: Bytes of one read. gunicorn reads 8 kB at a time: many calls for an agent's history of a hundred kilobytes.
READ_BYTES = 64 * 1024
#: The most bytes of a head, or of the trailers of a chunked body. Bytes that the same read brought after it count too.
#: gunicorn searches all of them again after each read, and its own limit is 1.6 MB.
MOST_HEAD_BYTES = 2 * READ_BYTES
#: The line that begins a chunk: its size, and extensions that nobody here understands.
MOST_CHUNK_LINE_BYTES = 4096
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


class FairUnreader(SocketUnreader):  # type: ignore[misc]
    """The connection's bytes, read in turns with the other connections."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock, READ_BYTES)
        self.turn = Turn()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes of the socket, at most `size_hint` or READ_BYTES, whichever is more."""
        self.turn.offer()
        data: bytes = super().chunk(size_hint)
        return data


class FairChunks(ChunkedReader):  # type: ignore[misc]
    """A chunked body, decoded in turns with the other connections: one read may bring ten thousand chunks."""

    def __init__(self, req: Any, unreader: FairUnreader) -> None:
        super().__init__(req, unreader)
        self.limit_chunk_size_line = MOST_CHUNK_LINE_BYTES
        # For each chunk, gunicorn copies all bytes that were read after it. Small reads keep these copies small; the
        # data of a large chunk is still read as a whole.
        unreader.mxchunk = MOST_CHUNK_LINE_BYTES

    def parse_chunk_size(self, unreader: FairUnreader, data: bytes | None = None) -> Any:
        """Return a chunk's size and the bytes after its first line. Raises InvalidChunkSize if it is too long."""
        data = data or unreader.read()
        if len(data) > MOST_CHUNK_LINE_BYTES and data.find(b"\n", 0, MOST_CHUNK_LINE_BYTES) < 0:
            raise InvalidChunkSize(b"a line too long")
        return super().parse_chunk_size(unreader, data)

    def parse_chunked(self, unreader: FairUnreader) -> Iterator[bytes]:
        """The data of the chunks (RFC 9112 section 7.1)."""
        for data in super().parse_chunked(unreader):
            yield data
            unreader.turn.offer()


class ProxyRequest(Request):  # type: ignore[misc]
    """A request whose connection closes if its body is left unread or the worker is stopping.

    Its answer says `Connection: close`, if the head has not been written before.
    """

    is_stopping: Callable[[], bool]
    unreader: FairUnreader
    max_buffer_headers: int

    def parse(self, unreader: FairUnreader) -> bytes:
        """Read the head. Returns the bytes that were read after it."""
        unreader.mxchunk = READ_BYTES
        self.max_buffer_headers = min(self.max_buffer_headers, MOST_HEAD_BYTES)
        rest: bytes = super().parse(unreader)
        return rest

    def set_body_reader(self) -> None:
        """As the head says: a length, chunks, or no body."""
        super().set_body_reader()
        if isinstance(self.body.reader, ChunkedReader):
            self.body.reader = FairChunks(self, self.unreader)

    def should_close(self) -> bool:
        """Return True if the connection ends here. gunicorn asks at the head and before the next request."""
        return bool(super().should_close()) or self.is_stopping() or unread_bytes(self) >= DRAINED_BYTES


class ProxyParser(RequestParser):  # type: ignore[misc]
    """Reads requests from one connection; reads and drops only small unread bodies, and only for a short time."""

    mesg_class = ProxyRequest

    def __init__(self, cfg: Any, client: Any, addr: Any, *, is_stopping: Callable[[], bool]) -> None:
        super().__init__(cfg, client, addr)
        self.unreader = FairUnreader(client)
        self.turn = self.unreader.turn
        self._is_stopping = is_stopping

    def __next__(self) -> ProxyRequest:
        request: ProxyRequest = super().__next__()
        request.is_stopping = self._is_stopping
        return request

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        """gunicorn's own, but never without a bound, and with a deadline that also ends a wait for the next byte."""
        if self.mesg is None or unread_bytes(self.mesg) == 0:
            return True
        whole = False
        with gevent.Timeout(DRAIN_SECONDS, False):
            whole = bool(super().finish_body(deadline, DRAINED_BYTES if max_bytes is None else max_bytes))
        return whole  # noqa: RET504 - False where the time was over


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
