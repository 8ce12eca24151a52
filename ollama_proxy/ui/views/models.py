"""Models: each order with its reasons, what is remembered of models, and a way to forget it."""

from __future__ import annotations

from flask import Response, request

from ollama_proxy.errors import BadRequest
from ollama_proxy.ops.status.failure_states import clear_failures
from ollama_proxy.ops.status.report import report
from ollama_proxy.ui.page import Page, Route, form, look, shown, went_to
from ollama_proxy.web.context import runtime
from ollama_proxy.web.query import text_of

_PARTS = ("models", "orders", "limits", "failures", "catalog")
#: The order of a server with FREE_MODE=false that holds all models, with their prices.
_ALL = "all"


def models() -> Response:
    """GET /ui/models: the models in `order`, by default in FREE_ORDER."""
    view = look()
    found = report(view, _PARTS)
    places, priced = found["orders"]["places"], not runtime().settings.free_mode
    order = request.args.get("order", found["orders"]["default"])
    if order not in places and not (priced and order == _ALL):
        raise BadRequest(f"there is no order {order[:20]!r}: {', '.join(places)}")
    known = {model["id"]: model for model in found["models"]}
    listed = found["models"] if order == _ALL else [place for place in places[order] if place["id"] in known]
    forgotten = request.args.get("forgotten", "")
    return shown(
        "models.html",
        order=order,
        orders=list(places),
        default=found["orders"]["default"],
        priced=priced,
        places=listed,
        models=known,
        best=max((place["score"] for place in listed), default=0) if order != _ALL else 0,
        failures=sorted(found["failures"], key=lambda one: one["state"] != "cooling"),
        limits=found["limits"],
        catalog=found["catalog"],
        forgotten=int(forgotten) if forgotten.isascii() and forgotten.isdigit() and len(forgotten) < 7 else None,
        now=view.now,
    )


def forget() -> Response:
    """POST /ui/models/forget: forget the failures of `model`, or all failures, limits and scores with `all=1`."""
    fields = form()
    name = text_of("model", fields.get("model", ""))
    if not name and fields.get("all") != "1":
        raise BadRequest("name a model, or say that all are to be forgotten")
    forgotten = clear_failures(look(), name or None)
    return went_to(f"/models?forgotten={forgotten.failures}")


page = Page("Models", (Route("/models", models), Route("/models/forget", forget, "POST")))
