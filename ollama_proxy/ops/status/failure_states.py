"""The parts `failures` and `limits` of a report, and how one forgets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ollama_proxy.catalog.names import name_key
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.errors import ModelNotFound
from ollama_proxy.fallback.measurements import forget
from ollama_proxy.ops.moments import moment
from ollama_proxy.ops.status.views import View, is_cooling
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.failure_table import FailureRow, LimitRow


def failure_states(view: View) -> list[dict[str, Any]]:
    """What is remembered of models, by id. "over": it has cooled down; its next failure counts on."""
    known = _known(view.catalog)
    return [failure_state(row, known.get(row.model), view.now) for row in view.remembered.failures.values()]


def failure_state(row: FailureRow, model: Model | None, now: float) -> dict[str, Any]:
    """What is told of one failure; `model` is the model's record, if the list has it."""
    return {
        "id": row.model,
        "name": model.name if model is not None else None,
        "state": "cooling" if is_cooling(row, model, now) else "over",
        "failures": row.count,
        "failed_at": moment(row.failed_at),
        "blame": row.blame,
        "reason": row.reason,
        "until": moment(row.until),
    }


def limit_states(view: View) -> list[dict[str, Any]]:
    """The account's limits that hold now. Without OpenRouter's own words, which are for the client that met them."""
    return [limit_state(row) for row in view.remembered.holding(view.now)]


def limit_state(row: LimitRow) -> dict[str, Any]:
    """What is told of one limit: `scope` is "free", "stealth" or "account"; `status` is what clients are answered."""
    return {"scope": row.scope, "reason": row.reason, "until": moment(row.until), "status": row.status}


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many failures and limits were forgotten, and of how many models what was measured."""

    failures: int
    scores: int

    def as_json(self) -> dict[str, int]:
        """The same for JSON."""
        return {"forgotten": self.failures, "scores": self.scores}


def clear_failures(view: View, name: str | None) -> Forgotten:
    """Forget failures and score of the model that `name` means, or all failures, limits and scores.

    `name` is an id or a listed name. Raises ModelNotFound for a name that means no model and of which nothing is
    remembered, StorageUnavailable from a StoredView.
    """
    if name is None:
        return Forgotten(_forget(view, None), _forget_measured(view, None))
    catalog = view.catalog
    model = model_named(catalog, name) if catalog is not None else None
    count = _forget(view, model.id if model is not None else name)
    if model is None and not count:
        if catalog is not None and (ids := catalog.resolve(name).candidates_text):
            raise ModelNotFound(f"{name!r} is the short name of several models: {', '.join(ids)}")
        raise ModelNotFound(f"no model is called {name!r}, and nothing is remembered of one")
    return Forgotten(count, _forget_measured(view, model.id) if model is not None else 0)


def _forget_measured(view: View, model_id: str | None) -> int:
    if not view.has_tables:
        return 0
    try:
        return forget(view.runtime.scores, view.now, model_id)
    except StorageUnavailable:
        if not view.is_live:
            raise
        return 0  # as with failures, the rest is forgotten


def _forget(view: View, model_id: str | None) -> int:
    if view.is_live:
        memory = view.runtime.backend.memory
        memory.freshen()
        return memory.clear(model_id)
    if not view.remembered.failures and not view.remembered.limits:
        return 0
    table = view.runtime.failures
    return table.clear(model_id) + (table.clear_limit() if model_id is None else 0)


def model_named(catalog: Catalog, name: str) -> Model | None:
    """The model that `name` means; in free mode also one that is not free, because another server may serve it."""
    found = catalog.resolve(name).model
    if found is None:
        key = name_key(name)
        found = next((model for model in catalog.known() if key in (name_key(model.name), name_key(model.id))), None)
    return found


def _known(catalog: Catalog | None) -> Mapping[str, Model]:
    return {model.id: model for model in catalog.known()} if catalog is not None else {}
