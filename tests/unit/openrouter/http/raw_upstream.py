"""A server that says exactly the bytes a test tells it to, over real local sockets."""

from __future__ import annotations

import queue
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

SECONDS = 10.0


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.number = number
        self._socket = sock
        self._socket.settimeout(SECONDS)

    def request(self) -> tuple[bytes, bytes]:
        """The next request's head and body (by its Content-Length); (b"", b"") at the end of the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := self._receive()):
                return b"", b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += self._receive()
        return head, body

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except ConnectionError:
            return b""

    def read_exactly(self, size: int) -> None:
        """Read `size` bytes of whatever comes, or up to the end of the connection."""
        while size > 0 and (data := self._socket.recv(min(size, 65536))):
            size -= len(data)

    def end_writing(self) -> None:
        """Say that nothing more will come."""
        self._socket.shutdown(socket.SHUT_WR)

    def say(self, data: bytes) -> None:
        """Send `data`."""
        self._socket.sendall(data)

    def say_while_wanted(self, data: bytes, seconds: float = SECONDS) -> None:
        """Send `data` again and again, as fast as it is taken, until the client closes; at most for `seconds`."""
        block, deadline = data * (65536 // len(data) + 1), time.monotonic() + seconds
        with suppress(OSError):
            while time.monotonic() < deadline:
                self._socket.sendall(block)

    def is_closed(self) -> bool:
        """Wait for the client to close; False if it has not within the patience."""
        try:
            return self._receive() == b""
        except TimeoutError:
            return False

    def reset(self) -> None:
        """Tear the connection down with RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


class RawUpstream:
    """Calls `script(peer)` in a thread for each connection, which is closed after it. A context manager."""

    def __init__(self, script: Callable[[Peer], None], *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        #: What went wrong in scripts.
        self.errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        #: How many connections there were.
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._sockets.append(sock)
            peer = Peer(sock, number)
            try:
                self._script(peer)
            finally:
                peer.close()
        except (ssl.SSLError, ConnectionError):
            sock.close()  # a client that does not trust us, or that has gone
        except BaseException as error:
            self.errors.put(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)
        assert self.errors.empty(), self.errors.get()


def answer(body: bytes, *, status: str = "200 OK", content_type: str = "application/json", more: bytes = b"") -> bytes:
    """A whole HTTP answer with a Content-Length."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n".encode()
    return head + more + b"\r\n" + body


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """`data` as one chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)
