"""`ollama-proxy models`: the free models in the order in which they are tried, with what is remembered of each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import click
from flask.cli import with_appcontext

from ollama_proxy.catalog.records import Model
from ollama_proxy.fallback.cooldown import all_believed
from ollama_proxy.fallback.memory import is_outdated
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


@click.command("models", epilog=examples("ollama-proxy models", "ollama-proxy models --json | jq -r '.models[].name'"))
@json_option
@with_appcontext
def command(as_json: bool) -> None:
    """Print the free models in the order in which they are tried, with what is remembered of each."""
    runtime = current_runtime()
    free = catalog_of(runtime).free
    now = time.time()
    failures, limits = _remembered(runtime, now)
    if as_json:
        models = [model_as_json(model, failures.get(model.id), now) for model in free]
        print_json({"models": models, "limits": limits_as_json(limits, now)})
        return
    lines = [(model.name, str(model.context_length), *_state(model, failures.get(model.id), now)) for model in free]
    print_table(("MODEL", "CONTEXT", "STATE", "REASON", "TIME LEFT"), lines)
    print_limits(limits, now)


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


def _remembered(runtime: Runtime, now: float) -> tuple[Mapping[str, FailureRow], Sequence[LimitRow]]:
    """Failures by model id, and limits. Without the database the list itself is still worth printing."""
    try:
        rows = all_believed(runtime.failures.load(), now)
        return {row.model: row for row in rows}, all_believed(runtime.failures.limits(), now)
    except StorageUnavailable as error:
        click.echo(f"warning: {error}", err=True)
        return {}, ()
