"""`ollama-proxy models`: the free models in the order in which they are tried, with what is remembered of each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import click
from flask.cli import with_appcontext

from ollama_proxy.catalog.records import Model
from ollama_proxy.fallback.cooldown import all_believed
from ollama_proxy.fallback.explained import Explained, explain
from ollama_proxy.fallback.measurements import stored
from ollama_proxy.fallback.memory import is_outdated
from ollama_proxy.fallback.order import ORDERS
from ollama_proxy.fallback.samples import Measured
from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.commands.output import (
    catalog_of,
    current_runtime,
    examples,
    json_option,
    limits_as_json,
    moment,
    print_json,
    print_limits,
    print_table,
)
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.failure_table import FailureRow, LimitRow


@click.command(
    "models",
    epilog=examples(
        "ollama-proxy models",
        "ollama-proxy models --order balanced",
        "ollama-proxy models --json | jq -r '.models[].name'",
    ),
)
@click.option("--order", type=click.Choice(list(ORDERS)), help="The order (default: FREE_ORDER; free means balanced).")
@json_option
@with_appcontext
def command(order: str | None, as_json: bool) -> None:
    """Print the free models in the order in which they are tried, with what is remembered and measured of each.

    The score is quality (Q), success (R) and speed (S) together: see docs/contract.md, "Scores".
    """
    runtime = current_runtime()
    free = catalog_of(runtime).free
    now = time.time()
    failures, limits = _remembered(runtime, now)
    measured = _measured(runtime, now)
    models = {model.id: model for model in free}

    def left_out(model: Model) -> str:
        row = failures.get(model.id)
        return row.reason if row is not None and is_cooling(row, model, now) else ""

    def explained(name: str) -> list[Explained]:
        slow = runtime.settings.slow_first_token_seconds
        return explain(name, free, measured, now, slow=slow, left_out=left_out)

    order = order or runtime.settings.free_order
    places = explained(order)
    if as_json:
        listed = [
            {**model_as_json(models[place.id], failures.get(place.id), now), **place.as_json()} for place in places
        ]
        orders = {name: [place.as_json() for place in explained(name)] for name in ORDERS}
        print_json({"order": order, "models": listed, "limits": limits_as_json(limits, now), "orders": orders})
        return
    lines = []
    for place in places:
        state, reason, left = _state(models[place.id], failures.get(place.id), now)
        context = str(models[place.id].context_length)
        lines.append((place.name, context, *_score(place), state, place.why or reason, left))
    print_table(_HEAD, lines)
    click.echo(f"order: {order}" + ("" if order == "balanced" else "; for `free`: --order balanced"))
    print_limits(limits, now)


_HEAD = ("MODEL", "CONTEXT", "SCORE", "Q", "R", "S", "SAMPLES", "FIRST", "TOK/S", "STATE", "REASON", "TIME LEFT")


def _score(place: Explained) -> tuple[str, ...]:
    """The columns of the score; a time or speed that was not measured is a dash."""
    first = "-" if place.first_token is None else f"{place.first_token:.1f}s"
    speed = "-" if place.tokens_per_second is None else f"{place.tokens_per_second:.0f}"
    parts = (place.score, place.quality, place.success, place.speed)
    return (*(f"{part:.2f}" for part in parts), f"{place.samples:.1f}", first, speed)


def is_cooling(row: FailureRow, model: Model | None, now: float) -> bool:
    """Whether a model is left out at `now` for what is remembered of it; `model` is None if it is not in the list."""
    return row.until > now and (model is None or not is_outdated(row, model))


def model_as_json(model: Model, row: FailureRow | None, now: float) -> dict[str, object]:
    """What the command prints of `model`; `row` is what is remembered of its failures."""
    cooling = row is not None and is_cooling(row, model, now)
    return {
        "name": model.name,
        "id": model.id,
        "context_length": model.context_length,
        "state": "cooling" if cooling else "ready",
        "reason": row.reason if row is not None else None,
        "until": moment(row.until) if row is not None and cooling else None,
    }


def _state(model: Model, row: FailureRow | None, now: float) -> tuple[str, str, str]:
    if row is None:
        return ("ready", "", "")
    if not is_cooling(row, model, now):
        return ("ready", f"failed before: {row.reason}", "")
    return ("cooling", row.reason, in_words(row.until - now))


def _measured(runtime: Runtime, now: float) -> Mapping[str, Measured]:
    try:
        return stored(runtime.scores, now)
    except StorageUnavailable:
        return {}  # `_remembered` has said so


def _remembered(runtime: Runtime, now: float) -> tuple[Mapping[str, FailureRow], Sequence[LimitRow]]:
    """Failures by model id, and limits. Without the database the list itself is still worth printing."""
    try:
        rows = all_believed(runtime.failures.load(), now)
        return {row.model: row for row in rows}, all_believed(runtime.failures.limits(), now)
    except StorageUnavailable as error:
        click.echo(f"warning: {error}", err=True)
        return {}, ()
