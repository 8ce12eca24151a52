"""The load generator: many keep-alive clients in one process, on plain sockets, that check what they get.

    python -m bench.load '{"port": 11434, "path": "/api/chat", "body": "...", "clients": 4, "seconds": 2}'

prints a `Measured` as JSON. A process of its own, so that its cost is never counted as the server's. Linux only.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field

WORD = b" token"
"""What the stand-in upstream says for each token; nothing else in an answer holds it."""

_ALL_GONE = 0.05


@dataclass(slots=True)
class Load:
    """What to ask for.

    `clients` ask one request after another, each `pause` seconds after the last answer, until `seconds` are over or
    each has had `requests_each` answers. They begin spread over `ramp` seconds. An answer is complete if it has status
    200, ends properly, holds `WORD` `words` times and `last` near its end. Requests under way after `grace` more
    seconds are counted as lost. `key` is shown with each request, if there is one.
    """

    port: int
    path: str
    body: str = ""
    clients: int = 1
    seconds: float = 1.0
    requests_each: int | None = None
    pause: float = 0.0
    ramp: float = 0.0
    grace: float = 5.0
    words: int = 0
    last: str = ""
    key: str = ""


@dataclass(slots=True)
class Measured:
    """What came back. Times are seconds, `cpu` this process's own; `first` are delays until the first word."""

    answers: int = 0
    lost: int = 0
    words: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    first: list[float] = field(default_factory=list)
    problem: str = ""


class _Client:
    __slots__ = ("answers", "parts", "sent_at", "sock", "tail", "told")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.parts: list[bytes] = []
        self.tail = b""
        self.sent_at = 0.0
        self.told = False  # the first word has come
        self.answers = 0


class Generator:
    """Runs one Load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        body = load.body.encode()
        method = "POST" if body else "GET"
        head = f"{method} {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        if load.key:
            head += f"Authorization: Bearer {load.key}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._request = head.encode() + b"\r\n" + body
        self._last = load.last.encode()
        self.measured = Measured()

    def run(self) -> Measured:
        """Ask until done."""
        load, measured = self._load, self.measured
        began, cpu = time.monotonic(), time.process_time()
        step = load.ramp / load.clients
        waiting = deque((began + number * step, _Client()) for number in range(load.clients))
        end = began + load.seconds
        while waiting or self._clients:
            now = time.monotonic()
            if now > end + load.grace:
                break
            while waiting and waiting[0][0] <= now:
                client = waiting.popleft()[1]
                if now < end:
                    self._ask(client)
            until = min(waiting[0][0] - now if waiting else 1.0, end + load.grace - now)
            for descriptor, _ in self._poll.poll(max(until, 0.0), 512):
                client = self._clients[descriptor]
                if self._read(client) and self._wants_more(client) and time.monotonic() < end:
                    if load.pause:
                        waiting.append((time.monotonic() + load.pause, client))
                    else:
                        self._ask(client)
        self._count_lost("not finished in time")
        measured.seconds = time.monotonic() - began
        measured.cpu = time.process_time() - cpu
        return measured

    def _wants_more(self, client: _Client) -> bool:
        return self._load.requests_each is None or client.answers < self._load.requests_each

    def _ask(self, client: _Client) -> None:
        if client.sock is None:
            client.sock = socket.create_connection(("127.0.0.1", self._load.port), timeout=5)
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(client.sock, select.EPOLLIN)
        self._clients[client.sock.fileno()] = client
        client.parts.clear()
        client.told, client.tail = False, b""
        client.sent_at = time.perf_counter()
        client.sock.setblocking(True)
        client.sock.sendall(self._request)
        client.sock.setblocking(False)

    def _read(self, client: _Client) -> bool:
        """Take what has come. True when the answer is whole; the client then has nothing under way."""
        assert client.sock is not None
        try:
            data = client.sock.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            return self._lose(client, "the connection closed")
        if not client.told and WORD in client.tail + data:
            client.told = True
            self.measured.first.append(time.perf_counter() - client.sent_at)
        client.parts.append(data)
        client.tail = (client.tail + data)[-16:]
        if not _may_be_whole(client.parts, client.tail):
            return False
        answer = b"".join(client.parts)
        body = body_of(answer)
        if body is None:
            return False
        del self._clients[client.sock.fileno()]
        client.answers += 1
        self.measured.answers += 1
        self.measured.words += body.count(WORD)
        self._check(answer, body)
        return True

    def _check(self, answer: bytes, body: bytes) -> None:
        status = answer[9:12].decode("latin-1")
        if status != "200":
            problem = f"status {status}: {body[:200]!r}"
        elif body.count(WORD) != self._load.words:
            problem = f"{body.count(WORD)} words of {self._load.words}"
        elif self._last not in body[-600:]:
            problem = "no proper end"
        else:
            return
        self.measured.lost += 1
        self.measured.problem = self.measured.problem or problem

    def _lose(self, client: _Client, problem: str) -> bool:
        assert client.sock is not None
        del self._clients[client.sock.fileno()]
        self._poll.unregister(client.sock)
        client.sock.close()
        client.sock = None
        client.answers += 1
        self.measured.lost += 1
        self.measured.problem = self.measured.problem or problem
        return True

    def _count_lost(self, problem: str) -> None:
        for client in list(self._clients.values()):
            self._lose(client, problem)


def _may_be_whole(parts: list[bytes], tail: bytes) -> bool:
    """A cheap look before the answer is joined: one in chunks ends in an empty chunk."""
    return b"chunked" not in parts[0][:1000] or tail.endswith(b"0\r\n\r\n")


def body_of(answer: bytes) -> bytes | None:
    """The body of an HTTP answer without its chunk framing, None as long as it is not whole."""
    head_end = answer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = answer[:head_end].lower()
    at = head_end + 4
    if b"transfer-encoding: chunked" not in head:
        _, _, length = head.partition(b"content-length:")
        wanted = int(length.split(b"\r\n")[0]) if length else 0
        return answer[at : at + wanted] if len(answer) >= at + wanted else None
    parts: list[bytes] = []
    while (line_end := answer.find(b"\r\n", at)) >= 0:
        size = int(answer[at:line_end], 16)
        at = line_end + 2 + size + 2
        if at > len(answer):
            return None
        if size == 0:
            return b"".join(parts)
        parts.append(answer[line_end + 2 : at - 2])
    return None


def main() -> None:
    """Run the load that the argument describes; print what was measured."""
    measured = Generator(Load(**json.loads(sys.stdin.read() if sys.argv[1] == "-" else sys.argv[1]))).run()
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
