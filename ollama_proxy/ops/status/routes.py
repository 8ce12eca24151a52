"""/api/proxy/*: the report and its parts over HTTP, for the command line and whoever else looks after the server.

The rules of access are those of every route; what changes something is refused to foreign web pages besides
(docs/contract.md, "Report").
"""

from __future__ import annotations

import time
from typing import Any

import orjson
from flask import Blueprint, Response, request

from ollama_proxy.errors import Forbidden
from ollama_proxy.ops.checks import findings_of_server
from ollama_proxy.ops.findings import findings_as_json
from ollama_proxy.ops.status.failure_states import clear_failures
from ollama_proxy.ops.status.report import report
from ollama_proxy.ops.status.views import LiveView
from ollama_proxy.web.context import runtime
from ollama_proxy.web.error_rendering import ErrorForm, render_errors

_LOOKING = ("GET",)


def proxy_blueprint(error_form: ErrorForm) -> Blueprint:
    """The routes. Errors are answered in `error_form`: one object with a string `error`."""
    blueprint = Blueprint("proxy", __name__, url_prefix="/api/proxy")
    render_errors(blueprint, error_form)
    blueprint.before_request(_may_operate)
    for methods, path, view in (
        ("GET", "/status", status),
        ("GET", "/models", models),
        ("GET", "/failures", failures),
        ("DELETE", "/failures", forget_failures),
        ("DELETE", "/failures/<path:model>", forget_failures),
        ("GET", "/doctor", doctor),
    ):
        blueprint.add_url_rule(path, f"{view.__name__}{path.count('<') or ''}", view, methods=[methods])
    return blueprint


def _may_operate() -> None:
    """The one place that says who may call /api/proxy/*, beside the rules of every route.

    All keys are equal: whoever may chat may look and forget. Raises Forbidden for a foreign page that would change
    something.
    """
    if request.method not in _LOOKING and not runtime().access.is_own_page(request.environ):
        raise Forbidden("forbidden: only a page of this server may do that")


def status() -> Response:
    """GET /api/proxy/status: the whole report, or the parts that `parts` names, with commas between them."""
    parts = request.args.get("parts")
    return _json(report(_view(), None if parts is None else [part.strip() for part in parts.split(",")]))


def models() -> Response:
    """GET /api/proxy/models: the models in their order, and the limits that hold."""
    return _json(report(_view(), ("models", "limits")))


def failures() -> Response:
    """GET /api/proxy/failures: what is remembered of models, and the limits that hold."""
    return _json(report(_view(), ("failures", "limits")))


def forget_failures(model: str | None = None) -> Response:
    """DELETE /api/proxy/failures[/MODEL]: forget the failures of one model, or all failures and limits."""
    return _json({"forgotten": clear_failures(_view(), model)})


def doctor() -> Response:
    """GET /api/proxy/doctor: what only the server itself can find."""
    return _json(findings_as_json(findings_of_server(_view())))


def _view() -> LiveView:
    return LiveView(runtime(), time.time())


def _json(value: dict[str, Any]) -> Response:
    response = Response(orjson.dumps(value), content_type="application/json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response
