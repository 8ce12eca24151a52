"""Now: how the server is at this moment."""

from __future__ import annotations

from flask import Response

from ollama_proxy.ui.page import Page, Route, shown


def now() -> Response:
    """GET /ui."""
    return shown("now.html")


page = Page("Now", (Route("", now),))
