"""The parts `models` and `orders` of a report.

The models in their order, with what is remembered of each and what they cost; and each order with the parts of the
scores.
"""

from __future__ import annotations

import math
from typing import Any

from ollama_proxy.catalog.records import Model
from ollama_proxy.fallback.explained import Explained, explain
from ollama_proxy.fallback.order import ORDERS
from ollama_proxy.ops.moments import moment
from ollama_proxy.ops.status.views import View, is_cooling
from ollama_proxy.storage.failure_table import FailureRow

_MILLION = 1e6


def model_states(view: View) -> list[dict[str, Any]]:
    """The free models in the order in which they are tried; in paid mode all models, newest first, with prices."""
    catalog = view.catalog
    if catalog is None:
        return []
    settings, failures = view.runtime.settings, view.remembered.failures
    if not settings.free_mode:
        return [model_state(model, failures.get(model.id), view.now, priced=True) for model in catalog.models]
    models = {model.id: model for model in catalog.free}
    ordered = [models[place.id] for place in _explained(view, settings.free_order)]
    return [model_state(model, failures.get(model.id), view.now, priced=False) for model in ordered]


def order_places(view: View) -> dict[str, Any]:
    """The free models in each order: `default`, its name behind a named model; `places`, by order, the best first."""
    places = {name: [place.as_json() for place in _explained(view, name)] for name in ORDERS}
    return {"default": view.runtime.settings.free_order, "places": places}


def _explained(view: View, order: str) -> list[Explained]:
    catalog, failures = view.catalog, view.remembered.failures

    def left_out(model: Model) -> str:
        row = failures.get(model.id)
        return f"cooling: {row.reason}" if row is not None and is_cooling(row, model, view.now) else ""

    free = () if catalog is None else catalog.free
    slow = view.runtime.settings.slow_first_token_seconds
    return explain(order, free, view.measured, view.now, slow=slow, left_out=left_out)


def model_state(model: Model, row: FailureRow | None, now: float, *, priced: bool) -> dict[str, Any]:
    """What is told of `model`; `row` is what is remembered of its failures, `priced` adds its prices."""
    cooling = row is not None and is_cooling(row, model, now)
    state = {
        "name": model.name,
        "id": model.id,
        "context_length": model.context_length,
        "capabilities": model.capabilities,
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
