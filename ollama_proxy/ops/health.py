"""`/health` and `/health/ready`, for load balancers and container engines.

Anybody may call both, so they tell states and no reasons; the reasons are in the log and in `ollama-proxy doctor`.
"""

from __future__ import annotations

import time
from typing import Any

import orjson
from flask import Blueprint, Response, current_app

from ollama_proxy.ledger.key_check import BAD_STATES
from ollama_proxy.ops.metrics import is_degraded
from ollama_proxy.runtime import Runtime
from ollama_proxy.version import __version__

blueprint = Blueprint("health", __name__)


@blueprint.route("/health", methods=["GET", "HEAD"])
def health() -> Response:
    """Answer that the process is running."""
    return _json({"status": "ok", "name": "ollama-proxy", "version": __version__})


@blueprint.route("/health/ready", methods=["GET", "HEAD"])
def ready() -> Response:
    """Answer 200 if requests can be served, 503 before there is a model list (docs/contract.md, "Endpoints")."""
    report = readiness(current_app.extensions["ollama_proxy"], time.time())
    return _json(report, status=503 if report["status"] == "unready" else 200)


def readiness(runtime: Runtime, now: float) -> dict[str, Any]:
    """Return the state of this process; `now` is epoch seconds.

    `status` is `ready`, `degraded` (it serves, but something is wrong) or `unready`; the other fields say which part.
    `catalog` has its age in whole seconds. `key` is what is known of the key: what OpenRouter said of it, or what the
    last requests met.
    """
    catalog = runtime.backend.keeper.current()
    runtime.backend.memory.freshen()
    database = "degraded" if is_degraded(runtime) else "ok"
    if catalog is None:
        status = "unready"
    elif database == "degraded" or runtime.key_state in BAD_STATES:
        status = "degraded"
    else:
        status = "ready"
    return {
        "status": status,
        "catalog": {"present": catalog is not None}
        | ({} if catalog is None else {"models": len(catalog.models), "age_seconds": int(now - catalog.fetched_at)}),
        "database": database,
        "key": runtime.key_state,
    }


def _json(content: dict[str, Any], status: int = 200) -> Response:
    response = Response(orjson.dumps(content), status=status, content_type="application/json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response
