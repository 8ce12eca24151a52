"""The pooled connections to OpenRouter: one `requests` adapter, tuned for a gateway.

What it changes in the library's defaults, and why: one TLS context for the process (making one costs 24 ms of a blocked
worker), proxies and CA bundle read once from the environment (`trust_env` would read them per request, and `.netrc`
would replace the key), a pool as large as the number of clients, and connections that can tell whether a request that
failed had been handed over whole: only one that had not may be sent again.
"""

from __future__ import annotations

import errno
import http.client
import os
import select
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.request import getproxies

import certifi
import requests.adapters
from gevent.monkey import get_original
from requests.utils import select_proxy, should_bypass_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

#: Seconds for DNS, TCP and TLS together with a new connection.
CONNECT_TIMEOUT = 10.0


#: Seconds after which an idle connection is not used again. Load balancers give up theirs after 60 s or more, and not
#: all of them say so: a request that is sent into such a connection is lost, and cannot be sent again.
LONGEST_IDLE = 30.0

#: Interim answers (RFC 9110, 15.2) before the one that is waited for. One is usual, a few are possible.
MOST_INTERIM = 16

#: `select.poll` itself, whatever gevent has put in its place. It is only asked, never waited on.
_poll = get_original("select", "poll")

#: How a connection that the peer has closed shows itself.
CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

#: The attribute of an exception that says: the request had not been handed over whole. Its value says whether that was
#: on a connection that had answered before, and that the peer has closed since.
_UNSENT = "ollama_proxy_unsent"


@contextmanager
def unsent(*, reused: bool) -> Iterator[None]:
    """Whatever is raised in the block is marked: the request was not handed over whole (see `was_sent`, `stale`)."""
    try:
        yield
    except Exception as error:
        mark_unsent(error, reused=reused)
        raise


def mark_unsent(error: Exception, *, reused: bool) -> None:
    """What `unsent` does, for the one place where a context manager costs too much: every request passes it."""
    setattr(error, _UNSENT, reused and isinstance(error, CLOSED))


def was_sent(error: BaseException) -> bool:
    """Whether the request that `error` ended may have been handed over whole, so that it must not be sent again."""
    return not any(hasattr(cause, _UNSENT) for cause in _chain(error))


def stale(error: BaseException) -> bool:
    """Whether a kept-alive connection had gone before the request was handed over whole: another one may take it."""
    return any(getattr(cause, _UNSENT, False) for cause in _chain(error))


class _BoundedResponse(http.client.HTTPResponse):
    """The library's answer, which would read interim answers for ever."""

    _status_lines = 0

    def _read_status(self) -> Any:
        self._status_lines += 1
        if self._status_lines > MOST_INTERIM + 1:
            raise http.client.HTTPException("too many interim answers")
        return super()._read_status()  # type: ignore[misc]


class _KnowsItsUse:
    """A connection that marks what is raised before a request was handed over whole."""

    response_class = _BoundedResponse
    _has_answered = False
    _handed_over = False
    #: When it was put back into the pool, on the monotonic clock.
    idle_since = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used: what the library asks too, but of the system, not of the event loop.

        Under gevent a look at a socket, even without waiting, costs more than the request that follows it. Data on an
        idle connection can only be the end of it.
        """
        sock = self.sock  # type: ignore[attr-defined]
        if sock is None or time.monotonic() - self.idle_since > LONGEST_IDLE:
            return False
        poll = _poll()
        poll.register(sock, select.POLLIN)
        return not poll.poll(0)

    def connect(self) -> None:
        self._has_answered = False
        with unsent(reused=False):
            super().connect()  # type: ignore[misc]

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._handed_over = False
        with unsent(reused=self._has_answered):
            super().request(*args, **kwargs)  # type: ignore[misc]
        self._handed_over = True

    def getresponse(self) -> Any:
        if self._handed_over:
            response = super().getresponse()  # type: ignore[misc]
        else:  # the library reads what a server may have said before it had read all
            with unsent(reused=self._has_answered):
                response = super().getresponse()  # type: ignore[misc]
        self._has_answered = True
        return response


class _PlainConnection(_KnowsItsUse, HTTPConnection):  # type: ignore[misc]
    pass


class _SecureConnection(_KnowsItsUse, HTTPSConnection):  # type: ignore[misc]
    pass


class _NotesIdling:
    """A pool whose connections know since when they idle."""

    def _put_conn(self, connection: Any) -> None:
        if connection is not None:
            connection.idle_since = time.monotonic()
        super()._put_conn(connection)  # type: ignore[misc]


class _PlainPool(_NotesIdling, HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(_NotesIdling, HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


#: The environment variables that may name a CA bundle; the first one counts.
CA_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def tls_context(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """The process's TLS context.

    It trusts the bundle that REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE names, else certifi's. Raises OSError
    if a named bundle cannot be read.
    """
    bundle = next(
        (environ[name] for name in CA_BUNDLES if environ.get(name)),
        certifi.where(),
    )
    if os.path.isdir(bundle):
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


def proxies_for(url: str) -> dict[str, str]:
    """The environment's proxy for `url`, in the form that `HTTPAdapter.send` takes; {} for none."""
    if should_bypass_proxies(url, no_proxy=None):
        return {}
    proxies = getproxies()
    return proxies if select_proxy(url, proxies) else {}


class Transport(requests.adapters.HTTPAdapter):
    """The adapter. `pool_size` connections are kept; more are made when needed and closed after use."""

    def __init__(self, *, pool_size: int) -> None:
        self._tls = tls_context()
        super().__init__(pool_connections=4, pool_maxsize=pool_size)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._tls} if host["scheme"] == "https" else tls

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the context made at start verifies. The library would load the CA bundle anew per connection."""

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return manager


class NotHttp(OSError):
    """What came back is not HTTP/1 at all: something else listens at that address."""


def is_not_http(error: BaseException) -> bool:
    """Whether `error` says that what came back is no HTTP answer, not even the beginning of one."""
    return any(
        isinstance(cause, NotHttp) or (type(cause) is http.client.BadStatusLine and not str(cause).startswith("HTTP/"))
        for cause in _chain(error)
    )


#: What the system says when it is this machine that cannot go on.
_EXHAUSTED = {
    errno.EMFILE: "this server is out of file descriptors: raise its limit (ulimit -n)",
    errno.ENFILE: "this server's system is out of file descriptors",
    errno.ENOMEM: "this server is out of memory",
    errno.ENOBUFS: "this server is out of memory for connections",
    errno.EADDRNOTAVAIL: "this server is out of local ports",
}


def exhausted(error: BaseException) -> str:
    """What this machine has run out of, if that is why there was no connection; else ""."""
    numbers = (cause.errno for cause in _chain(error) if isinstance(cause, OSError))
    return next((_EXHAUSTED[number] for number in numbers if number in _EXHAUSTED), "")


def describe(error: BaseException) -> str:
    """What went wrong, in a few words without addresses or keys."""
    names = " ".join(type(cause).__name__ for cause in _chain(error))
    for mark, words in (
        ("NameResolution", "its name could not be resolved"),
        ("gaierror", "its name could not be resolved"),
        ("SSL", "no TLS connection could be made"),
        ("ProxyError", "the proxy could not be used"),
        ("Refused", "the connection was refused"),
        ("ConnectTimeout", "no connection in time"),
        ("ReadTimeout", "no answer in time"),
        ("RemoteDisconnected", "the connection was closed without an answer"),
        ("Reset", "the connection was reset"),
        ("Timeout", "the request could not be sent in time"),
    ):
        if mark in names:
            return words
    return "the connection failed"


def _chain(error: BaseException | None) -> list[BaseException]:
    """`error` and what it was made of, as the libraries wrap it."""
    found: list[BaseException] = []
    while error is not None and len(found) < 8:
        found.append(error)
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        error = inner or error.__cause__ or error.__context__
    return found
