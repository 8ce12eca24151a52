"""A gunicorn of its own around `worker_app`, and clients that say each byte themselves."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONF = """
from gevent import monkey
monkey.patch_all()
wsgi_app = "tests.api.worker_app:app"
worker_class = "ollama_proxy.server.worker.ProxyWorker"
control_socket_disable = True
keepalive = 2
graceful_timeout = 25
"""


class Answer:
    """One HTTP answer, read off a socket: status, headers (names in lower case), body."""

    def __init__(self, client: Client, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if self.headers.get("transfer-encoding") == "chunked":
            self.body = b"".join(iter(client.chunk, b""))
        else:
            self.body = client.take(int(self.headers["content-length"])) if "content-length" in self.headers else b""


class Client:
    """A connection to the server, one byte at a time if need be."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.buffer = b""

    def send(self, method: str, target: str, *headers: str, body: bytes = b"") -> Client:
        head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""])
        self.socket.sendall(head.encode("latin-1") + body)
        return self

    def get(self, target: str) -> Answer:
        return self.send("GET", target).answer()

    def answer(self) -> Answer:
        return Answer(self, self.until(b"\r\n\r\n"))

    def until(self, end: bytes) -> bytes:
        while end not in self.buffer:
            self._more()
        data, _, self.buffer = self.buffer.partition(end)
        return data

    def take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def chunk(self) -> bytes:
        return self.take(int(self.until(b"\r\n"), 16) + 2)[:-2]

    def is_closed(self) -> bool:
        """Whether the server ends the connection, after whatever it has sent, within the socket's time-out."""
        with suppress(ConnectionError):
            while self.socket.recv(65536):
                pass
        return True

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.buffer += data


class Server:
    """A gunicorn on a socket that the test has bound, so that no port is guessed and no request comes too early."""

    def __init__(self, folder: Path, drain_seconds: float) -> None:
        self._clients: list[Client] = []
        self.log = folder / "log"
        (folder / "conf.py").write_text(CONF)
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, self.log.open("wb") as log:
            self.port = listener.getsockname()[1]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", folder / "conf.py", "-b", f"fd://{listener.fileno()}"],
                cwd=ROOT,
                env={**os.environ, "DRAIN_SECONDS": str(drain_seconds)},
                pass_fds=[listener.fileno()],
                stderr=log,
                stdout=log,
            )

    def client(self) -> Client:
        client = Client(self.port)
        self._clients.append(client)
        return client

    def get(self, target: str) -> Answer:
        client = self.client()
        try:
            return client.get(target)
        finally:
            client.socket.close()

    def wait_for(self, event: str) -> bool:
        """Whether something the application tells of has happened, or does within 5 s."""
        return self.get(f"/await?name={event.replace(' ', '+')}").status == 200

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self, within: float) -> int:
        return self.process.wait(within)

    def stop(self) -> None:
        for client in self._clients:
            client.socket.close()
        if self.process.poll() is None:
            self.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def running(folder: Path, drain_seconds: float = 5) -> Iterator[Server]:
    server = Server(folder, drain_seconds)
    try:
        assert server.get("/ready").status == 200, server.log.read_text()
        yield server
    finally:
        server.stop()
    text = server.log.read_text()
    assert "Traceback" not in text, text
    assert "[ERROR]" not in text, text


@contextmanager
def in_background(work: Callable[[], Any]) -> Iterator[None]:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(15)
        assert not thread.is_alive()
