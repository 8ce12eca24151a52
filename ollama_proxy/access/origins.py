"""Decides which web pages may call: Origin, preflights and the CORS headers, with Ollama's rules.

Reads a WSGI environment and changes nothing; it knows nothing of keys and networks. Source of the protocol:
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HeaderPairs = tuple[tuple[str, str], ...]

_LOCAL = ("localhost", "127.0.0.1", "0.0.0.0")
#: Ollama's default list. It is loose: `http://localhost:3000.evil.example` matches `http://localhost:*`.
DEFAULT_ORIGINS = (
    *(f"{scheme}://{host}{port}" for host in _LOCAL for scheme in ("http", "https") for port in ("", ":*")),
    *("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"),
)
ALLOW_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
_STAINLESS = "Arch,Async,Custom-Poll-Interval,Helper-Method,Lang,Os,Package-Version,Poll-Helper,Retry-Count,Runtime"
ALLOW_HEADERS = (
    *("Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "Openai-Beta"),
    *(f"X-Stainless-{name}" for name in f"{_STAINLESS},Runtime-Version,Timeout".split(",")),
)
MAX_AGE_SECONDS = 43200

_KNOWN_HEADERS = frozenset(name.lower() for name in ALLOW_HEADERS)
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_MOST_ASKED_HEADERS = 64


@dataclass(frozen=True, slots=True)
class OriginAnswer:
    """What follows from an Origin: `refused` is a 403, `preflight` a 204 without a body; `headers` go on any answer."""

    headers: HeaderPairs = ()
    refused: bool = False
    preflight: bool = False


_NOT_A_PAGE = OriginAnswer()
_REFUSED = OriginAnswer(refused=True)


class OriginRules:
    """The allowed origins: those of `extra` (OLLAMA_ORIGINS) and those of Ollama's own list.

    An entry may hold one `*`; the entry `*` allows every page.
    """

    def __init__(self, extra: Sequence[str] = ()) -> None:
        named = [entry.strip().lower() for entry in extra]
        entries = [*named, *DEFAULT_ORIGINS]
        self._named = frozenset(entry for entry in named if "*" not in entry)
        self.everything = "*" in entries
        self._exact = frozenset(entry for entry in entries if "*" not in entry)
        self._globs = tuple(entry.split("*", 1) for entry in entries if "*" in entry)

    def allows(self, origin: str) -> bool:
        """Return True if a page of this origin may call."""
        origin = origin.lower()
        return (
            self.everything
            or origin in self._exact
            or any(
                len(origin) >= len(head) + len(tail) and origin.startswith(head) and origin.endswith(tail)
                for head, tail in self._globs
            )
        )

    def is_own(self, environ: Mapping[str, Any], is_local_host: Callable[[str], bool]) -> bool:
        """Return True if no web page asks, or a page that this very server delivered.

        For what no other page may do, not even one that may call otherwise. A Host that is not a local one must be
        listed itself: under DNS rebinding, a foreign page has an Origin that matches its Host, too.
        """
        origin = environ.get("HTTP_ORIGIN")
        if not origin:
            return True
        host = environ.get("HTTP_HOST", "")
        same = origin in (f"http://{host}", f"https://{host}")
        return same and (is_local_host(host) or origin.lower() in self._exact)

    def is_trusted(self, environ: Mapping[str, Any], is_local_host: Callable[[str], bool]) -> bool:
        """Return True if no web page asks, one of this server, or one that OLLAMA_ORIGINS names without a `*`.

        For what changes things for everybody. Ollama's own list, which allows every page of this machine, and patterns,
        which allow pages that nobody thought of, are not enough for that.
        """
        return environ.get("HTTP_ORIGIN", "").lower() in self._named or self.is_own(environ, is_local_host)

    def names_host(self, environ: Mapping[str, Any], is_local_host: Callable[[str], bool]) -> bool:
        """Return True if the Host is a local one, or the list names it as an origin, whole: `http://HOST`."""
        host = environ.get("HTTP_HOST", "").lower()
        return is_local_host(host) or not self._exact.isdisjoint((f"http://{host}", f"https://{host}"))

    def judge(self, environ: Mapping[str, Any], is_local_host: Callable[[str], bool]) -> OriginAnswer:
        """Decide about one request (docs/contract.md, "Access").

        A page that this server itself delivered needs no CORS, but only under a Host that `is_local_host` accepts: a
        page that uses DNS rebinding has an Origin that matches its Host, too.
        """
        origin = environ.get("HTTP_ORIGIN")
        if not origin:
            return _NOT_A_PAGE
        host = environ.get("HTTP_HOST", "")
        if origin in (f"http://{host}", f"https://{host}") and is_local_host(host):
            return _NOT_A_PAGE
        if not self.allows(origin):
            return _REFUSED
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return OriginAnswer(self._preflight_headers(environ, origin), preflight=True)
        return OriginAnswer(self._origin_headers(origin))

    def _origin_headers(self, origin: str) -> HeaderPairs:
        if self.everything:
            return (("Access-Control-Allow-Origin", "*"),)
        return (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))

    def _preflight_headers(self, environ: Mapping[str, Any], origin: str) -> HeaderPairs:
        headers = [
            *self._origin_headers(origin),
            ("Access-Control-Allow-Methods", ALLOW_METHODS),
            ("Access-Control-Allow-Headers", ",".join((*ALLOW_HEADERS, *_more_headers(environ)))),
            ("Access-Control-Max-Age", str(MAX_AGE_SECONDS)),
        ]
        if not self.everything:
            asked = ("Access-Control-Request-Method", "Access-Control-Request-Headers")
            headers += [("Vary", name) for name in asked]
        if environ.get("HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK") == "true":
            headers.append(("Access-Control-Allow-Private-Network", "true"))
        return tuple(headers)


def _more_headers(environ: Mapping[str, Any]) -> list[str]:
    """Return the headers that the page asks for beyond Ollama's list: SDKs often add new ones (x-api-key,
    x-stainless-…).
    """
    asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").split(",")[:_MOST_ASKED_HEADERS]
    names = (name.strip() for name in asked)
    return [name for name in names if name.lower() not in _KNOWN_HEADERS and _HEADER_NAME.fullmatch(name)]
