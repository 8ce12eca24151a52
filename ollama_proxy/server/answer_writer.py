"""Writes an answer to the client's connection: gunicorn's response, with fewer writes.

gunicorn sends head, body and end in separate writes; each write is a system call and may wake the client for nothing.
Here the head waits for the first bytes of the body, which the application has ready when it sets the status. Only
methods that gunicorn allows other protocols to replace are replaced (`gunicorn.http.wsgi.create`, `response_class`).
"""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

from gunicorn.http.wsgi import Response


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    """Return the Date header for a second (RFC 9110, 5.6.7)."""
    return formatdate(second, usegmt=True)


@lru_cache(maxsize=256)
def status_line(status: str) -> str:
    """Return `502 BAD GATEWAY` as HTTP writes it, `502 Bad Gateway` (RFC 9110, 15): Ollama's clients show it."""
    code = status[:3]
    try:
        return f"{code} {HTTPStatus(int(code)).phrase}"
    except ValueError:
        return status  # a status that is not in the standard


class AnswerWriter(Response):  # type: ignore[misc]
    """One answer. If it has no length, each write is a chunk of its own (RFC 9112, 7.1)."""

    headers_sent: bool
    _held = b""

    def send_headers(self) -> None:
        """Build the head. It goes out with the first bytes of the body, or at the end if there is no body."""
        if self.headers_sent:
            return
        self.headers_sent = True
        major, minor = self.req.version
        lines = [
            f"HTTP/{major}.{minor} {status_line(self.status)}",
            f"Server: {self.version}",
            f"Date: {_date(int(time()))}",
            f"Connection: {'close' if self.should_close() else 'keep-alive'}",
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        lines += [f"{name}: {value}" for name, value in self.headers]
        self._held = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _emit_body(self, data: bytes) -> None:
        head, self._held = self._held, b""
        self._send(b"%b%X\r\n%b\r\n" % (head, len(data), data) if self.chunked else head + data)

    def _send(self, data: bytes) -> None:
        # The socket nearly always takes all of it at once; gevent's `sendall` would cost a second system call.
        sent = self.sock.send(data)
        if sent < len(data):
            self.sock.sendall(data[sent:])

    def can_sendfile(self) -> bool:
        """Return False always: a file would be sent before the head."""
        return False

    def close(self) -> None:
        """End the answer: send the head if it still waits, and the last chunk."""
        self.send_headers()
        rest, self._held = self._held + (b"0\r\n\r\n" if self.chunked else b""), b""
        if rest:
            self._send(rest)
