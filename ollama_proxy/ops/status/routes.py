"""/api/proxy/*: the report and its parts over HTTP, for the command line and whoever else looks after the server.

The rules of access are those of every route; what changes something is refused to foreign web pages besides
(docs/contract.md, "Report").
"""

from __future__ import annotations

import time
from typing import Any

import orjson
from flask import Blueprint, Response, request

from ollama_proxy.errors import BadRequest, DatabaseAway, Forbidden, NeedsAdmin
from ollama_proxy.ops.checks import findings_of_server
from ollama_proxy.ops.findings import findings_as_json
from ollama_proxy.ops.keys.routes import ROUTES as KEY_ROUTES
from ollama_proxy.ops.status.failure_states import clear_failures
from ollama_proxy.ops.status.name_states import one_persona
from ollama_proxy.ops.status.report import report
from ollama_proxy.ops.status.request_states import MOST_OF_LOG, PAGE, log_page, one_request
from ollama_proxy.ops.status.usage_states import DEFAULT_SPAN, usage_over
from ollama_proxy.ops.status.views import LiveView
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.web.context import caller, runtime
from ollama_proxy.web.error_rendering import ErrorForm, ErrorForms, error_response, render_errors
from ollama_proxy.web.query import is_set, number_of, text_of

_LOOKING = ("GET",)

#: What a key that is no admin's may look at: each shows it only what is its own.
_OWN = frozenset(f"/api/proxy/{rule}" for rule in ("me", "status", "models", "personas", "log", "log/<request_id>"))


def proxy_blueprint(error_form: ErrorForm) -> Blueprint:
    """The routes. Errors are answered in `error_form`: one object with a string `error`."""
    blueprint = Blueprint("proxy", __name__, url_prefix="/api/proxy")
    render_errors(blueprint, ErrorForms(("", error_form)))
    blueprint.before_request(_may_operate)

    @blueprint.errorhandler(StorageUnavailable)
    def away(_: StorageUnavailable) -> Response:
        return error_response(DatabaseAway(), error_form)

    for methods, path, view in (
        ("GET", "/status", status),
        ("GET", "/models", models),
        ("GET", "/personas", personas),
        ("GET", "/personas/<path:name>", persona),
        ("GET", "/failures", failures),
        ("DELETE", "/failures", forget_failures),
        ("DELETE", "/failures/<path:model>", forget_failures),
        ("GET", "/log", log),
        ("GET", "/log/<request_id>", logged),
        ("DELETE", "/log", clear_log),
        ("GET", "/usage", usage),
        ("GET", "/doctor", doctor),
        *KEY_ROUTES,
    ):
        endpoint = f"{view.__name__}{path.count('<') or ''}"
        # DELETE /failures/ is the address of a model whose name is empty, and must not mean all of them.
        strict = True if methods == "DELETE" else None
        blueprint.add_url_rule(path, endpoint, view, methods=[methods], strict_slashes=strict)
    return blueprint


def _may_operate() -> None:
    """The one place that says who may call /api/proxy/*, beside the rules of every route.

    Where keys are required an admin's may do everything, another one may look at what is its own. Raises Forbidden; for
    a foreign page that would change something too.
    """
    if request.method not in _LOOKING and not runtime().access.is_own_page(request.environ):
        raise Forbidden("forbidden: only a page of this server may do that")
    key = caller().holds
    is_own = request.method in _LOOKING and request.url_rule is not None and request.url_rule.rule in _OWN
    if key is not None and not key.admin and not is_own:
        raise NeedsAdmin


def status() -> Response:
    """GET /api/proxy/status: the whole report, or the parts that `parts` names, with commas between them."""
    parts = request.args.get("parts")
    return _json(report(_view(), None if parts is None else [part.strip() for part in parts.split(",")]))


def models() -> Response:
    """GET /api/proxy/models: the models in their order, the limits that hold, and the aliases."""
    return _json(report(_view(), ("models", "limits", "orders", "aliases")))


def personas() -> Response:
    """GET /api/proxy/personas: all personas, and what they mean now."""
    return _json(report(_view(), ("personas",)))


def persona(name: str) -> Response:
    """GET /api/proxy/personas/NAME: one persona, with all that it says."""
    return _json({"persona": one_persona(_view(), text_of("name", name))})


def failures() -> Response:
    """GET /api/proxy/failures: what is remembered of models, and the limits that hold."""
    return _json(report(_view(), ("failures", "limits")))


def forget_failures(model: str | None = None) -> Response:
    """DELETE /api/proxy/failures[/MODEL]: forget the failures of one model, or all failures and limits."""
    name = None if model is None else text_of("model", model)
    return _json(clear_failures(_view(), name).as_json())


def log() -> Response:
    """GET /api/proxy/log: requests that have ended, the newest first: `limit` of them, those that are asked for."""
    limit = int(number_of("limit", MOST_OF_LOG) or PAGE)
    which = {name: _name(name) for name in ("caller", "model")}
    page = log_page(_view(), max(limit, 1), before=number_of("before"), failed_only=is_set("failed"), **which)
    return _json(page)


def logged(request_id: str) -> Response:
    """GET /api/proxy/log/ID: one request; the beginning of its id is enough."""
    return _json(one_request(_view(), text_of("id", request_id)))


def usage() -> Response:
    """GET /api/proxy/usage: what was used in `span` (24h, 7d, 30d), over time, by model and by caller."""
    return _json(usage_over(_view(), request.args.get("span", DEFAULT_SPAN)))


def clear_log() -> Response:
    """DELETE /api/proxy/log: remove the log of `caller`, or all of it; with `usage=1` the sums of hours too."""
    # A misspelt one would be left out, and what is left out means all.
    if unknown := request.args.keys() - {"caller", "usage"}:
        raise BadRequest(f"there is no parameter {min(unknown)[:20]!r} here: caller, usage")
    return _json({"removed": runtime().ledger.clear(_name("caller"), usage=is_set("usage"))})


def _name(parameter: str) -> str | None:
    """A name of the query, None if it is not given. Raises BadRequest for an empty one, which would mean all of them.

    It is what a script sends whose variable is empty.
    """
    name = request.args.get(parameter)
    if name == "":
        raise BadRequest(f"{parameter} is empty: leave it out to mean all")
    return None if name is None else text_of(parameter, name)


def doctor() -> Response:
    """GET /api/proxy/doctor: what only the server itself can find."""
    return _json(findings_as_json(findings_of_server(_view())))


def _view() -> LiveView:
    return LiveView(runtime(), time.time(), caller().holds)


def _json(value: dict[str, Any]) -> Response:
    response = Response(orjson.dumps(value), content_type="application/json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response
