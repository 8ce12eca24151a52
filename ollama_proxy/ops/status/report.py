"""The report: one function that joins all parts, or those that are asked for (docs/contract.md, "Report").

Each part is a value for JSON, made from a View. A part costs something only if it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from ollama_proxy.access.policy import describe_access
from ollama_proxy.errors import BadRequest, Forbidden
from ollama_proxy.ops.moments import moment_or_none
from ollama_proxy.ops.status.account_states import key_part, quota_part
from ollama_proxy.ops.status.failure_states import failure_states, limit_states
from ollama_proxy.ops.status.model_states import model_states, order_places
from ollama_proxy.ops.status.name_states import alias_states, persona_states
from ollama_proxy.ops.status.request_states import in_flight, newest_requests, usage_of_day
from ollama_proxy.ops.status.views import View
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.version import __version__

Part = Callable[[View], Any]


def report(view: View, parts: Collection[str] | None = None) -> dict[str, Any]:
    """The report, by the names of PARTS; with `parts` only those. Raises BadRequest for a part that there is not.

    A key that is no admin's gets OWN_PARTS; Forbidden is raised if it asks for another. A part that needs a database
    that is away is None in a server's report; a StoredView raises StorageUnavailable.
    """
    allowed: Collection[str] = PARTS if view.only is None else OWN_PARTS
    wanted = allowed if parts is None else parts
    if unknown := [name for name in wanted if name not in PARTS]:
        raise BadRequest(f"there is no part {unknown[0]!r}: {', '.join(PARTS)}")
    if any(name not in allowed for name in wanted):
        raise Forbidden(f"forbidden: without an admin key there are the parts {', '.join(allowed)}")
    return {name: _made(PARTS[name], view) for name in wanted}


def _made(part: Part, view: View) -> Any:
    try:
        return part(view)
    except StorageUnavailable:
        if not view.is_live:
            raise
        return None


def server(view: View) -> dict[str, Any] | None:
    """Who serves, since when, and whom; None if nobody does."""
    if not view.is_live:
        return None
    settings = view.runtime.settings
    return {
        "name": "ollama-proxy",
        "version": __version__,
        "since": moment_or_none(view.runtime.serving_since),
        "workers": settings.web_concurrency,
        "mode": "free" if settings.free_mode else "paid",
        "access": describe_access(settings, view.runtime.register.known)[0],
    }


def database(view: View) -> dict[str, Any]:
    """Which database, without its password; whether it answered last; how many writes this process lost, by queue."""
    runtime = view.runtime
    state = "degraded" if runtime.database.degraded else "ok"
    return {
        "label": runtime.database.label,
        "state": state,
        "dropped": {**runtime.writes.dropped(), "records": runtime.ledger.dropped},
    }


def catalog(view: View) -> dict[str, Any]:
    """How many models are listed, how old the list is (whole seconds), whence it came, why there is no newer one."""
    keeper, found = view.runtime.backend.keeper, view.catalog
    return {
        "models": 0 if found is None else len(found.models),
        "free": 0 if found is None else len(found.free),
        "embeddings": 0 if found is None else len(found.embeddings),
        "fetched_at": None if found is None else moment_or_none(found.fetched_at),
        "age_seconds": None if found is None else max(int(view.now - found.fetched_at), 0),
        "source": keeper.source or None,
        "error": keeper.last_error,
    }


#: All parts, in the order of the report.
PARTS: Final[Mapping[str, Part]] = {
    "server": server,
    "key": key_part,
    "quota": quota_part,
    "limits": limit_states,
    "database": database,
    "catalog": catalog,
    "models": model_states,
    "orders": order_places,
    "personas": persona_states,
    "aliases": alias_states,
    "failures": failure_states,
    "in_flight": in_flight,
    "requests": newest_requests,
    "usage": usage_of_day,
}

#: What a key that is no admin's may see: its models, its requests, and what holds for all of them. Not the account, its
#: key and its money, the database, or what other callers met.
OWN_PARTS: Final = (
    *("server", "limits", "catalog", "models", "orders", "personas", "aliases", "in_flight", "requests", "usage"),
)
