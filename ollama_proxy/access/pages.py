"""The rules of the pages under /ui, stricter than those of the APIs: no other web page may use, read or frame them.

Reads a WSGI environment and changes nothing (docs/contract.md, "Page"). Sources: https://www.w3.org/TR/fetch-metadata/
and https://www.w3.org/TR/CSP3/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ollama_proxy.access.origins import HeaderPairs

#: Where the pages are.
PAGES: Final = "/ui"

#: On every answer under /ui, also on a refusal. No `upgrade-insecure-requests`: pages are served over plain HTTP, too.
#: The Referrer-Policy is not `no-referrer`: with that one browsers send a form with `Origin: null`.
PAGE_HEADERS: Final[HeaderPairs] = (
    (
        "Content-Security-Policy",
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

#: A browser asks for name and password, in a window of its own; the password is the key (RFC 7617).
CHALLENGE: Final = ("WWW-Authenticate", 'Basic realm="ollama-proxy", charset="UTF-8"')

_READS = ("GET", "HEAD")
#: What a browser says of a request that no other page has caused; nothing is said over plain HTTP to another machine.
_OWN_SITES = (None, "same-origin", "none")


def is_page(path: str) -> bool:
    """Return True if `path` is under /ui."""
    return path.startswith(PAGES) and (len(path) == len(PAGES) or path[len(PAGES)] == "/")


def is_poll(environ: Mapping[str, Any]) -> bool:
    """Return True if a script of a page asks, not the browser's user."""
    return "HTTP_HX_REQUEST" in environ


def refusal_of_page(environ: Mapping[str, Any], *, is_own: Callable[[Mapping[str, Any]], bool], trusts: bool) -> str:
    """Return why a request for a page is refused, "" if it is not.

    `is_own` says whether no Origin, or this server's own, is in the request. `trusts`: the Host can be believed, as it
    is a local one, is named in OLLAMA_ORIGINS, or the caller must show a key anyway, which a page that uses DNS
    rebinding has not.

    A request that changes something needs the exact same origin: its Origin, or, where there is none, a browser that
    says `Sec-Fetch-Site: same-origin`. Of other pages only a link is followed.
    """
    if not trusts:
        host = environ.get("HTTP_HOST", "")[:100]
        return (
            f"forbidden: without keys the pages answer only under this machine's own names and addresses, not as "
            f"{host!r}. Name that address in OLLAMA_ORIGINS (such as http://{host}), or set PROXY_API_KEYS"
        )
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if not is_own(environ):
        return "forbidden: only a page of this server may do that"
    if environ["REQUEST_METHOD"] in _READS:
        is_link = environ.get("HTTP_SEC_FETCH_MODE") == "navigate" and environ.get("HTTP_SEC_FETCH_DEST") == "document"
        return "" if site in _OWN_SITES or is_link else "forbidden: another page may only link to this one"
    if site == "same-origin" or (site is None and environ.get("HTTP_ORIGIN")):
        return ""
    return "forbidden: only a page of this server may do that; a browser says so in Origin or Sec-Fetch-Site"
