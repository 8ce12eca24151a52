"""`ollama-proxy failures`: what is remembered of failed models and of the account's limits, and how to forget it."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click
from flask.cli import AppGroup

from ollama_proxy.catalog.names import name_key
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.fallback.cooldown import all_believed
from ollama_proxy.fallback.measurements import forget
from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.commands.models import is_cooling
from ollama_proxy.ops.commands.output import (
    current_runtime,
    examples,
    json_option,
    limits_as_json,
    moment,
    print_json,
    print_limits,
    print_table,
    storage_errors_in_one_line,
)
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage.failure_table import FailureRow

command = AppGroup(
    "failures",
    help="What is remembered of failed models and of the account's limits.",
    epilog=examples("ollama-proxy failures list", "ollama-proxy failures clear"),
)


@command.command("list", epilog=examples("ollama-proxy failures list", "ollama-proxy failures list --json"))
@json_option
def list_failures(as_json: bool) -> None:
    """Print the failures and the account limits that are remembered.

    A model that is "over" has cooled down; its next failure counts on from here.
    """
    runtime = current_runtime()
    now = time.time()
    with storage_errors_in_one_line():
        rows, limits = all_believed(runtime.failures.load(), now), all_believed(runtime.failures.limits(), now)
    known = _known_models(runtime)
    if as_json:
        failures = [failure_as_json(row, known.get(row.model), now) for row in rows]
        print_json({"failures": failures, "limits": limits_as_json(limits, now)})
        return
    if rows:
        lines = [_line(row, known.get(row.model), now) for row in rows]
        print_table(("MODEL", "STATE", "FAILURES", "LAST", "BLAME", "REASON", "TIME LEFT"), lines)
    print_limits(limits, now)
    if not rows and not any(limit.until > now for limit in limits):
        click.echo("nothing is remembered")


def failure_as_json(row: FailureRow, model: Model | None, now: float) -> dict[str, object]:
    """What `failures list --json` prints of one model; `model` is its record, if the list has it."""
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


def _line(row: FailureRow, model: Model | None, now: float) -> tuple[str, ...]:
    cooling = is_cooling(row, model, now)
    return (
        model.name if model is not None else row.model,
        "cooling" if cooling else "over",
        str(row.count),
        f"{in_words(now - row.failed_at)} ago",
        row.blame,
        row.reason,
        in_words(row.until - now) if cooling else "",
    )


@command.command(
    "clear",
    short_help="Forget the failures of MODEL, or all failures and limits.",
    epilog=examples(
        "ollama-proxy failures clear",
        "ollama-proxy failures clear glm-5.2:free",
        "ollama-proxy failures clear z-ai/glm-5.2:free",
    ),
)
@click.argument("model", required=False)
def clear(model: str | None) -> None:
    """Forget the failures of MODEL (its OpenRouter id or its listed name), or all failures and account limits.

    What was measured of it, and with it its score, is forgotten too.
    """
    runtime = current_runtime()
    with storage_errors_in_one_line():
        if model is None:
            count = runtime.failures.clear() + runtime.failures.clear_limit()
            measured = forget(runtime.scores, time.time())
        else:
            count, measured = _clear_model(runtime, model)
    click.echo(f"forgotten: {count}" + (f"; the scores of {measured}" if measured else ""))


def _clear_model(runtime: Runtime, name: str) -> tuple[int, int]:
    """Forget the failures and the score of the model that `name` means; how many there were of each.

    ClickException for an unknown name.
    """
    catalog = _stored_catalog(runtime)
    model = model_named(catalog, name) if catalog is not None else None
    model_id = model.id if model is not None else name
    count = runtime.failures.clear(model_id)
    measured = forget(runtime.scores, time.time(), model_id) if model is not None else 0
    if model is None and not count:
        if catalog is not None and (ids := catalog.resolve(name).candidates_text):
            raise click.ClickException(f"{name!r} is the short name of several models: {', '.join(ids)}")
        raise click.ClickException(f"no model is called {name!r}, and nothing is remembered of one")
    return count, measured


def model_named(catalog: Catalog, name: str) -> Model | None:
    """The model that `name` means; in free mode also one that is not free, because another server may serve it."""
    found = catalog.resolve(name).model
    if found is None:
        key = name_key(name)
        found = next((model for model in catalog.known() if key in (name_key(model.name), name_key(model.id))), None)
    return found


def _stored_catalog(runtime: Runtime) -> Catalog | None:
    """The stored model list: nothing is fetched to say how a model is called."""
    runtime.backend.keeper.load_stored()
    return runtime.backend.keeper.current()


def _known_models(runtime: Runtime) -> Mapping[str, Model]:
    catalog = _stored_catalog(runtime)
    return {model.id: model for model in catalog.known()} if catalog is not None else {}
