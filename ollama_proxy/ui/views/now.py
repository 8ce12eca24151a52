"""Now: how the server is at this moment, and what is under way."""

from __future__ import annotations

from typing import Any

from flask import Response

from ollama_proxy.ops.checks import findings_that_matter
from ollama_proxy.ops.status.report import report
from ollama_proxy.ui.page import Page, Route, fragment, look, shown

#: What asks the database comes first, so that the state of the database is that of this moment.
_PARTS = ("in_flight", "server", "key", "quota", "limits", "database", "catalog", "failures")


def now() -> Response:
    """GET /ui."""
    return shown("now.html", **_state())


def now_live() -> Response:
    """GET /ui/now: what changes of it, for a poll."""
    return fragment("now_live.html", **_state())


def _state() -> dict[str, Any]:
    view = look()
    # What cools down has a table of its own.
    findings = [one for one in findings_that_matter(view) if one.subject != "failures"]
    return {**report(view, _PARTS), "findings": findings, "now": view.now}


page = Page("Now", (Route("", now), Route("/now", now_live)))
