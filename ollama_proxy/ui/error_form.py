"""Writes an error as a small page of HTML, without scripts: it can be read where nothing else may be loaded."""

from __future__ import annotations

from ollama_proxy.errors import ProxyError
from ollama_proxy.ui.rendering import render

CONTENT_TYPE = "text/html; charset=utf-8"
STREAM_CONTENT_TYPE = CONTENT_TYPE
LONG_RETRY_AFTER = True

_TITLES = {
    400: "That cannot be read",
    401: "A key is needed",
    403: "Not allowed",
    404: "Not found",
    503: "Not now",
}


def error_body(error: ProxyError) -> bytes:
    """Return the page that tells `error`."""
    title = _TITLES.get(error.status, "Something went wrong")
    return render("error.html", title=title, message=error.message, status=error.status).encode()
