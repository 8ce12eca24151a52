"""Sending a prepared POST on a pooled connection directly, without the library's request and response objects.

Most of what a call costs is spent in them: checking headers that never change, parsing the answer's head as if it were
e-mail, wrapping the answer three times. Here the bytes of the head are made once, and the answer's head is read from
the socket (RFC 9112). The pool, connecting, TLS and all that is rare stay the library's. `pool_of` returns None if
this is not possible: behind a proxy, or in a version of the library without the two methods of the pool that are used
here, which are not public. Then `Transport.send` is used.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import requests

from ollama_proxy.openrouter.http.answer_body import Body, SocketBody, decoded
from ollama_proxy.openrouter.http.fair_reads import FairReads
from ollama_proxy.openrouter.http.framing import FramingError, framing_of
from ollama_proxy.openrouter.http.transport import (
    CLOSED,
    CONNECT_TIMEOUT,
    MOST_INTERIM,
    NotHttp,
    Transport,
    mark_unsent,
    unsent,
)

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
        repeated: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            if name in values:
                repeated.setdefault(name, [values[name]]).append(value)
            else:
                values[name] = value
        for name, all_of_it in repeated.items():
            values[name] = ", ".join(all_of_it)
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
                status, headers, version, rest = read_head(connection.sock, read_timeout)
            else:
                with unsent(reused=reused):
                    status, headers, version, rest = read_head(connection.sock, read_timeout)
            answer = SocketBody(
                connection.sock,
                _framing(status, headers),
                ahead=lambda: rest,
                end=partial(self._end, connection, kept=_is_kept(version, headers)),
            )
        except BaseException:
            self._end(connection, clean=False, kept=False)
            raise
        return status, headers, decoded(answer, headers)

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
            sock.sendall(b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (self._head, own, len(body), body))
        except CLOSED:
            return False
        except Exception as error:
            mark_unsent(error, reused=reused)
            raise
        return True

    def _end(self, connection: Any, clean: bool, *, kept: bool) -> None:
        if not (clean and kept):
            connection.close()
        self._pool._put_conn(connection)


def read_head(sock: Any, timeout: float) -> tuple[int, AnswerHeaders, int, bytes]:
    """Read up to the end of the answer's head, within `timeout` seconds, which are also the socket's own time-out.

    Returns what `parse_head` gives, and the bytes that came behind the head. Raises TimeoutError, RemoteDisconnected,
    NotHttp, BadHead or another OSError.
    """
    deadline = time.monotonic() + timeout
    fair_reads = FairReads()
    received = bytearray()
    interim = 0
    while data := sock.recv(_HEAD_READ):
        looked_at = max(len(received) - len(b"\r\n\r"), 0)
        received += data
        while (end := _HEAD_END.search(received, looked_at)) is not None:
            status, headers, version = parse_head(bytes(received[: end.start()]))
            del received[: end.end()]
            if status >= 200:
                return status, headers, version, bytes(received)
            looked_at, interim = 0, interim + 1  # an interim answer, which another follows
            if interim > MOST_INTERIM:
                raise BadHead("too many interim answers")
        if not received.startswith(_BEGIN[: len(received)]):
            raise NotHttp("not HTTP/1")
        if len(received) > LONGEST_HEAD:
            raise BadHead("an answer without an end of its head")
        fair_reads.took(len(data))
        if (left := deadline - time.monotonic()) <= 0:
            raise TimeoutError("an answer's head that comes too slowly")
        sock.settimeout(left)
    raise http.client.RemoteDisconnected("the connection was closed without an answer")


def _framing(status: int, headers: AnswerHeaders) -> Any:
    try:
        return framing_of(status, headers)
    except FramingError as error:
        raise BadHead(str(error)) from error


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
    for line in rest.decode("latin-1").split("\n"):
        if line[:1] in " \t" and lines:
            lines[-1] = f"{lines[-1].rstrip()} {line.strip()}"  # RFC 9112, 5.2: a folded line
        elif ":" in line:
            lines.append(line)
    return int(status[2]), AnswerHeaders(lines), int(status[1])


def _is_kept(version: int, headers: AnswerHeaders) -> bool:
    """Whether the connection goes on after this answer (RFC 9112, 9.3)."""
    connection = headers.get("Connection", "").lower()
    return "close" not in connection and (version >= 1 or "keep-alive" in connection)
