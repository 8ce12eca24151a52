"""Sending a prepared POST on a pooled connection directly, without the library's request and response objects.

Most of what a call costs is spent in them: checking headers that never change, parsing the answer's head as if it were
e-mail, wrapping the answer three times. Here the bytes of the head are made once, and the answer's head is read from
the socket (RFC 9112). The pool, connecting, TLS and all that is rare stay the library's. `pool_of` gives None where
this cannot be done: the pool's two methods below are not public, and a proxy wants more; then `Transport.send` is used.
"""

from __future__ import annotations

import http.client
import re
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import requests

from ollama_proxy.openrouter.http.answer_body import Body, BodyBroken, SocketBody, framing_of
from ollama_proxy.openrouter.http.transport import CLOSED, CONNECT_TIMEOUT, NotHttp, Transport, unsent

#: A head longer than this is not one.
LONGEST_HEAD = 65536

_HEAD_READ = 65536
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_BEGIN = b"HTTP/1."
_STATUS = re.compile(rb"HTTP/1\.(\d) (\d{3})(?: |\r?$)")


class NotConnected(OSError):
    """No connection could be made; nothing was sent. Its argument is why."""


class BadHead(OSError):
    """What came back begins as an HTTP/1 answer, and its head cannot be read."""


class AnswerHeaders(Mapping[str, str]):
    """An answer's headers; names without regard to case, repeated ones joined with a comma."""

    __slots__ = ("_values",)

    def __init__(self, lines: list[str]) -> None:
        values: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            values[name] = f"{values[name]}, {value}" if name in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class DirectPost:
    """POSTs to one URL. `send` may be called from many greenlets or threads at once."""

    def __init__(self, pool: Any, request: requests.PreparedRequest) -> None:
        """`request` has no body; its headers and its URL are sent with every call."""
        self._pool = pool
        host = pool.host if pool.port in (None, 80, 443) else f"{pool.host}:{pool.port}"
        head = [f"POST {request.path_url} HTTP/1.1", f"Host: {host}"]
        head += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "content-length"]
        self._head = "\r\n".join(head).encode("latin-1")

    def send(self, body: bytes, more: Mapping[str, str], *, read_timeout: float) -> tuple[int, AnswerHeaders, Body]:
        """Status, headers and the open body of the answer.

        Raises NotConnected, TimeoutError, NotHttp, BadHead or another OSError. `was_sent` and `stale` say of each
        whether the request had been handed over whole.
        """
        connection = self._pool._get_conn()
        try:
            reused = connection.sock is not None
            if not reused:
                self._connect(connection)
            connection.sock.settimeout(read_timeout)
            if self._hand_over(connection.sock, body, more, reused=reused):
                status, headers, version, rest = _answer_head(connection.sock)
            else:
                with unsent(reused=reused):
                    status, headers, version, rest = _answer_head(connection.sock)
            answer = SocketBody(
                connection.sock,
                framing_of(status, headers),
                ahead=lambda: rest,
                end=partial(self._end, connection, kept=_is_kept(version, headers)),
            )
        except BaseException:
            self._end(connection, clean=False, kept=False)
            raise
        encoding = headers.get("Content-Encoding", "identity").lower()
        return status, headers, answer if encoding == "identity" else Decompressed(answer)

    def _connect(self, connection: Any) -> None:
        connection.timeout = CONNECT_TIMEOUT
        try:
            connection.connect()
        except Exception as error:
            raise NotConnected(error) from error

    def _hand_over(self, sock: Any, body: bytes, more: Mapping[str, str], *, reused: bool) -> bool:
        """Send the request. False: the peer closed before it had all, though it may have answered before it did."""
        own = "".join([f"\r\n{name}: {value}" for name, value in more.items()]).encode("latin-1")
        try:
            with unsent(reused=reused):
                sock.sendall(b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (self._head, own, len(body), body))
        except CLOSED:
            return False
        return True

    def _end(self, connection: Any, clean: bool, *, kept: bool) -> None:
        if not (clean and kept):
            connection.close()
        self._pool._put_conn(connection)


def _answer_head(sock: Any) -> tuple[int, AnswerHeaders, int, bytes]:
    """Read up to the end of the answer's head: what `parse_head` gives, and what came behind it."""
    received = b""
    while True:
        data = sock.recv(_HEAD_READ)
        if not data:
            raise http.client.RemoteDisconnected("the connection was closed without an answer")
        received += data
        while (end := _HEAD_END.search(received)) is not None:
            status, headers, version = parse_head(received[: end.start()])
            received = received[end.end() :]
            if status >= 200:  # else an interim answer, which another follows
                return status, headers, version, received
        if not received.startswith(_BEGIN[: len(received)]):
            raise NotHttp("not HTTP/1")
        if len(received) > LONGEST_HEAD:
            raise BadHead("an answer without an end of its head")


def pool_of(transport: Transport, request: requests.PreparedRequest, proxies: Mapping[str, str]) -> Any:
    """The pool of connections for `request`, or None if it cannot be used directly."""
    if proxies:
        return None
    pool = transport.get_connection_with_tls_context(request, verify=True)
    return pool if callable(getattr(pool, "_get_conn", None)) and callable(getattr(pool, "_put_conn", None)) else None


def parse_head(head: bytes) -> tuple[int, AnswerHeaders, int]:
    """Status, headers and minor version of an answer's head (RFC 9112, 4 and 5). Raises NotHttp or BadHead."""
    first, _, rest = head.partition(b"\n")
    status = _STATUS.match(first)
    if status is None:
        raise BadHead("not a status line") if first.startswith(_BEGIN) else NotHttp("not HTTP/1")
    lines: list[str] = []
    for line in rest.decode("latin-1").splitlines():
        if line[:1] in " \t" and lines:
            lines[-1] += " " + line.strip()  # RFC 9112, 5.2: a folded line
        elif ":" in line:
            lines.append(line)
    return int(status[2]), AnswerHeaders(lines), int(status[1])


def _is_kept(version: int, headers: AnswerHeaders) -> bool:
    """Whether the connection goes on after this answer (RFC 9112, 9.3)."""
    connection = headers.get("Connection", "").lower()
    return "close" not in connection and (version >= 1 or "keep-alive" in connection)


class Decompressed:
    """A gzip or deflate body, from a server that compresses although it was asked not to."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._decompressor = zlib.decompressobj(wbits=47)  # either header

    def read(self, timeout: float) -> bytes | None:
        while True:
            data = self._body.read(timeout)
            if not data:
                return data
            try:
                if decompressed := self._decompressor.decompress(data):
                    return decompressed
            except zlib.error as error:
                raise BodyBroken("a compressed body that cannot be read") from error

    def close(self) -> None:
        self._body.close()
