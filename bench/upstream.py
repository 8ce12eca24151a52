"""The stand-in upstream: OpenRouter's endpoints on plain sockets, so cheap that it is not what is measured.

    python -m bench.upstream --port 9999

What an answer looks like is asked for in the request itself, anywhere in its body: `bench:burst:200` (an event a token,
back to back), `bench:paced:200:20` (one every 20 ms), `bench:whole:20` (one JSON object, also to a streamed call). A
call that is not streamed always gets the latter. Linux only (epoll), one thread, no HTTP library.
"""

from __future__ import annotations

import argparse
import re
import select
import signal
import socket
import time
from collections import deque

from bench import replies

_ASKED = re.compile(rb"bench:(burst|paced|whole):(\d{1,5})(?::(\d{1,4}))?")
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_STREAMED = re.compile(rb'"stream":\s*true')
_NOBODY_WAITS = 1.0


class Connection:
    """One client: what it sent and has not been answered, what it has not taken yet, and its paced stream."""

    __slots__ = ("left", "received", "sock", "step", "tokens", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.unsent = b""
        self.left = self.tokens = 0
        self.step = 0.0


class Upstream:
    """Serves until `stop` is called."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._woken, self._waker = socket.socketpair()
        self._poll.register(self._woken, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        #: Streams by their step, each ordered by when the next event is due: (time, descriptor, connection).
        self._paced: dict[float, deque[tuple[float, int, Connection]]] = {}
        self._running = True
        self._fixed = {
            b"/models": replies.catalogue(),
            b"/models/user": replies.catalogue(),
            b"/embeddings/models": replies.no_models(),
            b"/key": replies.key(),
        }
        self._not_found = replies.not_found()

    def stop(self) -> None:
        """Let `serve` return. May be called from a signal's handler or another thread."""
        # In this order: `serve` closes both ends as soon as it sees that it is to end. It never reads this byte, so it
        # wakes up again and again until it does.
        self._waker.send(b"!")
        self._running = False

    def serve(self) -> None:
        """The loop."""
        while self._running:
            for descriptor, event in self._poll.poll(self._until_next_event(), 512):
                connection = self._connections.get(descriptor)
                if connection is None:
                    self._accept()
                elif event & select.EPOLLOUT:
                    self._send(connection, b"")
                else:
                    self._read(descriptor, connection)
            self._send_due_events()
        for connection in self._connections.values():
            connection.sock.close()
        for sock in (self._listener, self._woken, self._waker):
            sock.close()
        self._poll.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[sock.fileno()] = Connection(sock)
        self._poll.register(sock, select.EPOLLIN)

    def _close(self, descriptor: int, connection: Connection) -> None:
        if self._connections.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)
            connection.left = 0
            connection.sock.close()

    def _read(self, descriptor: int, connection: Connection) -> None:
        try:
            data = connection.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(descriptor, connection)
            return
        request = connection.received + data if connection.received else data
        head_end = request.find(b"\r\n\r\n")
        if head_end >= 0:
            length = _LENGTH.search(request, 0, head_end)
            if len(request) >= head_end + 4 + (int(length[1]) if length else 0):
                connection.received = b""
                self._answer(descriptor, connection, request, head_end)
                return
        connection.received = request

    def _answer(self, descriptor: int, connection: Connection, request: bytes, head_end: int) -> None:
        path = request[: request.find(b"\r\n")].split(b" ")[1].removeprefix(b"/api/v1")
        if not request.startswith(b"POST"):
            self._send(connection, self._fixed.get(path, self._not_found))
            return
        asked = _ASKED.search(request, head_end)
        mode, tokens, step = (asked[1], int(asked[2]), int(asked[3] or 0)) if asked else (b"burst", 20, 0)
        if mode == b"whole" or not _STREAMED.search(request, head_end):
            self._send(connection, replies.whole(tokens))
        elif mode == b"burst":
            self._send(connection, replies.burst(tokens))
        else:
            connection.left = connection.tokens = tokens
            connection.step = step / 1000
            self._send(connection, replies.OPENING)
            due = time.monotonic() + connection.step
            self._paced.setdefault(connection.step, deque()).append((due, descriptor, connection))

    def _send(self, connection: Connection, data: bytes) -> None:
        data = connection.unsent + data if connection.unsent else data
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection.sock.fileno(), connection)
            return
        waits, connection.unsent = bool(connection.unsent), data[sent:]
        if connection.unsent or waits:
            events = select.EPOLLIN | select.EPOLLOUT if connection.unsent else select.EPOLLIN
            self._poll.modify(connection.sock, events)

    def _until_next_event(self) -> float:
        now = time.monotonic()
        return max(min((queue[0][0] - now for queue in self._paced.values() if queue), default=_NOBODY_WAITS), 0.0)

    def _send_due_events(self) -> None:
        now = time.monotonic()
        for queue in self._paced.values():
            while queue and queue[0][0] <= now:
                due, descriptor, connection = queue.popleft()
                if connection.left <= 0:
                    continue  # the client has gone
                connection.left -= 1
                if connection.left:
                    queue.append((due + connection.step, descriptor, connection))
                    self._send(connection, replies.event(connection.left))
                else:
                    self._send(connection, replies.event(0) + replies.ending(connection.tokens))


def main() -> None:
    """Serve until SIGTERM or SIGINT; the first line of the output names the port."""
    parser = argparse.ArgumentParser(prog="python -m bench.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    upstream = Upstream(parser.parse_args().port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: upstream.stop())
    print(upstream.port, flush=True)
    upstream.serve()


if __name__ == "__main__":
    main()
