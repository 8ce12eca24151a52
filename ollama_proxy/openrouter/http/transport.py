"""The pooled connections to OpenRouter: one `requests` adapter, tuned for a gateway.

What it changes in the library's defaults, and why: one TLS context for the process (making one costs 24 ms of a blocked
worker), proxies and CA bundle read once from the environment (`trust_env` would read them per request, and `.netrc`
would replace the key), a pool as large as the number of clients, and connections that can tell a reset of a kept-alive
connection from a refusal.
"""

from __future__ import annotations

import http.client
import os
import select
import ssl
from collections.abc import Mapping
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


class StaleConnection(http.client.RemoteDisconnected):
    """A pooled connection that the server had closed. No byte of an answer came, so the call may be sent again."""


#: `select.poll` itself, whatever gevent has put in its place. It is only asked, never waited on.
_poll = get_original("select", "poll")

#: How a connection that the peer has closed shows itself.
CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class _KnowsItsUse:
    """Turns a reset of a reused connection into StaleConnection; a fresh one's stays what it is."""

    _has_answered = False

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used: what the library asks too, but of the system, not of the event loop.

        Under gevent a look at a socket, even without waiting, costs more than the request that follows it.
        """
        sock = self.sock  # type: ignore[attr-defined]
        if sock is None:
            return False
        poll = _poll()
        poll.register(sock, select.POLLIN)
        return not poll.poll(0)

    def connect(self) -> None:
        self._has_answered = False
        super().connect()  # type: ignore[misc]

    def request(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
        except CLOSED as error:
            raise self._stale(error) from error

    def getresponse(self) -> Any:
        try:
            response = super().getresponse()  # type: ignore[misc]
        except CLOSED as error:
            raise self._stale(error) from error
        self._has_answered = True
        return response

    def _stale(self, error: OSError) -> OSError:
        return StaleConnection("the kept-alive connection was closed") if self._has_answered else error


class _PlainConnection(_KnowsItsUse, HTTPConnection):
    pass


class _SecureConnection(_KnowsItsUse, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def tls_context(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """The process's TLS context.

    It trusts the bundle that REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE names, else certifi's. Raises OSError
    if a named bundle cannot be read.
    """
    bundle = next(
        (environ[name] for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE") if environ.get(name)),
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


def stale(error: BaseException) -> bool:
    """Is `error` (from `HTTPAdapter.send`) the reset of a kept-alive connection?"""
    cause: Any = error
    while isinstance(cause, BaseException):
        if isinstance(cause, StaleConnection):
            return True
        cause = next((arg for arg in cause.args if isinstance(arg, BaseException)), None)
    return False


def describe(error: BaseException) -> str:
    """What went wrong, in a few words without addresses or keys."""
    names = " ".join(_chain(error))
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
    ):
        if mark in names:
            return words
    return "the connection failed"


def _chain(error: Any) -> list[str]:
    names: list[str] = []
    while isinstance(error, BaseException) and len(names) < 8:
        names.append(type(error).__name__)
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        error = inner or error.__cause__ or error.__context__
    return names
