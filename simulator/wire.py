"""A minimal HTTP/1.1 server side over `asyncio.Protocol`: keep-alive, chunked bodies, and misbehaviour on purpose.

It knows sockets and nothing of OpenRouter. It is a protocol and not a stream pair, because the event loop then tells at
once when the client leaves, also while the answer is silent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MAX_HEAD = 64 * 1024
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as received; header names are in lower case, `body` is not decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the parsed body, None if it is empty or not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class BadHttp(Exception):
    """The bytes are not an HTTP/1.1 request."""


Handler = Callable[["Connection", Request], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One TCP connection: parses requests one after the other and runs `handler` for each as a task.

    If the client leaves, the running task is cancelled; `dropped` says whether this side closed the connection.
    """

    def __init__(self, handler: Handler, open_connections: set[Connection]) -> None:
        self.id = next(_numbers)
        self.control_only = False
        self.dropped = False
        self.reset_next = False
        self.keep_alive = True
        self._handler = handler
        self._open = open_connections
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()
        self._chunked = False
        self._lost = False

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._gone()

    def eof_received(self) -> None:
        self._gone()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._next_request()

    def _gone(self) -> None:
        self._lost = True
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def _next_request(self) -> None:
        try:
            request = self._take_request()
        except (BadHttp, ValueError):
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self._transport.close()
            return
        if request is not None:
            self.keep_alive = request.headers.get("connection", "").lower() != "close"
            self._task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            await self._handler(self, request)
        finally:
            self._task = None
            if not self.keep_alive:
                self._transport.close()
            elif self._buffer and not self._lost:
                self._next_request()

    # requests

    def _take_request(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadHttp
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        method, target, _version = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body, used = self._take_body(headers, end + 4)
        if body is None:
            if headers.get("expect", "").lower() == "100-continue" and len(self._buffer) == end + 4:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        del self._buffer[:used]
        url = urlsplit(target)
        return Request(method, url.path, dict(parse_qsl(url.query)), headers, body)

    def _take_body(self, headers: Mapping[str, str], start: int) -> tuple[bytes | None, int]:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._take_chunks(start)
        end = start + int(headers.get("content-length", "0"))
        if len(self._buffer) < end:
            return None, 0
        return bytes(self._buffer[start:end]), end

    def _take_chunks(self, start: int) -> tuple[bytes | None, int]:
        parts = bytearray()
        while (line_end := self._buffer.find(b"\r\n", start)) >= 0:
            size = int(bytes(self._buffer[start:line_end]).split(b";")[0], 16)
            data = line_end + 2
            if len(self._buffer) < data + size + 2:
                break
            if size == 0:
                return bytes(parts), data + 2
            parts += self._buffer[data : data + size]
            start = data + size + 2
        return None, 0

    # answers

    def start(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        length: int | None = None,
        chunked: bool = True,
        cut: int | None = None,
    ) -> None:
        """Writes the head, or `cut` bytes of it. With `length` a Content-Length, else chunked, else until the close."""
        self._chunked = chunked and length is None
        lines = [f"HTTP/1.1 {status} {_phrase(status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif chunked:
            lines.append("Transfer-Encoding: chunked")
        else:
            self.keep_alive = False
        lines.append("Connection: keep-alive" if self.keep_alive else "Connection: close")
        self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")[:cut])

    async def send(self, data: bytes, *, last: bool = False) -> None:
        """Write `data` as one HTTP chunk in one write; the last chunk includes the terminator."""
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if last:
                data += b"0\r\n\r\n"
        if data:
            self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    async def reply(self, status: int, payload: Any) -> None:
        """Send a plain JSON answer."""
        data = json.dumps(payload).encode()
        self.start(status, {"Content-Type": "application/json"}, length=len(data))
        await self.send(data)

    def drop(self, *, rst: bool = False) -> None:
        """End the connection without a proper end of the answer: FIN after what is written, or a reset at once."""
        self.dropped = True
        self.keep_alive = False
        if rst:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
