"""The part `models` of a report: the models in their order, with what is remembered of each and what they cost."""

from __future__ import annotations

import math
from typing import Any

from ollama_proxy.catalog.records import Model
from ollama_proxy.ops.moments import moment
from ollama_proxy.ops.status.views import View, is_cooling
from ollama_proxy.storage.failure_table import FailureRow

_MILLION = 1e6


def model_states(view: View) -> list[dict[str, Any]]:
    """The free models in the order in which they are tried; in paid mode all models, newest first, with prices."""
    catalog = view.catalog
    if catalog is None:
        return []
    failures, priced = view.remembered.failures, not view.runtime.settings.free_mode
    return [model_state(model, failures.get(model.id), view.now, priced=priced) for model in catalog.models]


def model_state(model: Model, row: FailureRow | None, now: float, *, priced: bool) -> dict[str, Any]:
    """What is told of `model`; `row` is what is remembered of its failures, `priced` adds its prices."""
    cooling = row is not None and is_cooling(row, model, now)
    state = {
        "name": model.name,
        "id": model.id,
        "context_length": model.context_length,
        "state": "cooling" if cooling else "ready",
        "reason": row.reason if row is not None else None,
        "until": moment(row.until) if row is not None and cooling else None,
    }
    return state | {"price": price(model)} if priced else state


def price(model: Model) -> dict[str, float | None]:
    """Dollars for a million tokens of prompt and of answer; None for what the list does not say, or says varies."""
    pricing = model.record.get("pricing")
    found = pricing if isinstance(pricing, dict) else {}
    return {name: _per_million(found.get(name)) for name in ("prompt", "completion")}


def _per_million(dollars: object) -> float | None:
    """OpenRouter writes dollars a token, as text; a router that chooses among models has -1."""
    try:
        value = float(dollars) if isinstance(dollars, str | int | float) else math.nan
    except ValueError:
        return None
    return round(value * _MILLION, 6) if math.isfinite(value) and value >= 0 else None
