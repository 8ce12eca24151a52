"""Requests: those under way, those that ended, and one in full."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from ollama_proxy.ops.status.report import report
from ollama_proxy.ops.status.request_states import log_page, one_request
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.ui.page import Page, Route, fragment, look, shown
from ollama_proxy.web.query import number_of, text_of

#: How many requests a page shows.
_ROWS = 40

_MEANINGS = {
    "whole": "The whole answer went out.",
    "failed": "The client got an error in the place of an answer.",
    "broken": "The client got a part of an answer, then an error.",
    "left": "The client left before the end.",
    "refused": "It was refused before a model was asked.",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which requests are asked for; None, False: all."""

    caller: str | None = None
    model: str | None = None
    failed: bool = False

    @classmethod
    def asked(cls) -> Filters:
        """Those of the query; an empty field of the form means all. Raises BadRequest for a NUL."""
        caller, model = (text_of(name, request.args.get(name, "").strip()) or None for name in ("caller", "model"))
        return cls(caller, model, request.args.get("failed") == "1")

    def query(self, **more: object) -> str:
        """The same as a query, "" or beginning with "?"."""
        given = {name: value for name, value in asdict(self).items() if value} | more
        if self.failed:
            given["failed"] = 1
        return f"?{urlencode(given)}" if given else ""


def requests() -> Response:
    """GET /ui/requests: those that ended before `before`, else those under way and the newest."""
    filters, before = Filters.asked(), number_of("before")
    state = _state(filters, before)
    return shown("requests.html", **state, filters=filters, polled=before is None, query=filters.query())


def requests_live() -> Response:
    """GET /ui/requests/live: what changes of it, for a poll."""
    return fragment("requests_live.html", **_state(Filters.asked(), None))


def _state(filters: Filters, before: float | None) -> dict[str, Any]:
    view = look()
    filtered = filters != Filters()
    flying = report(view, ("in_flight",))["in_flight"] if before is None and not filtered else []
    which = {"caller": filters.caller, "failed_only": filters.failed, "before": before}
    try:
        page = log_page(view, _ROWS, model=filters.model, **which)
    except StorageUnavailable:
        page = {"requests": None, "next": None, "keeps_log": True}
    older = filters.query(before=page["next"]) if page["next"] is not None else ""
    return {
        **page,
        "in_flight": flying,
        "filtered": filtered,
        "before": before,
        "older": older,
        "address": request.host_url.rstrip("/"),
        "now": view.now,
    }


def one(request_id: str) -> Response:
    """GET /ui/requests/ID: one request, with everybody who was tried. The beginning of the id is enough."""
    view = look()
    found = one_request(view, text_of("id", request_id))["request"]
    caller = Filters(caller=found["caller"]).query()
    return shown("request.html", one=found, meaning=_MEANINGS[found["outcome"]], of_caller=caller, now=view.now)


page = Page(
    "Requests",
    (Route("/requests", requests), Route("/requests/live", requests_live), Route("/requests/<request_id>", one)),
)
