"""`ollama-proxy failures`: what is remembered of failed models and of the account's limits, and how to forget it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click
from flask.cli import AppGroup

from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.commands.asking import Asker, no_empty_name, server_options
from ollama_proxy.ops.commands.output import examples, json_option, print_json, print_limits, print_table
from ollama_proxy.ops.moments import epoch, left
from ollama_proxy.ops.status.failure_states import clear_failures
from ollama_proxy.ops.status.report import report

command = AppGroup(
    "failures",
    help="What is remembered of failed models and of the account's limits.",
    epilog=examples("ollama-proxy failures list", "ollama-proxy failures clear"),
)


@command.command(
    "list", with_appcontext=False, epilog=examples("ollama-proxy failures list", "ollama-proxy failures list --json")
)
@server_options
@json_option
def list_failures(url: str | None, key: str | None, as_json: bool) -> None:
    """Print the failures and the account limits that are remembered.

    A model that is "over" has cooled down; its next failure counts on from here.
    """
    found = Asker(url, key).get("/failures", lambda view: report(view, ("failures", "limits")), member="failures")
    if as_json:
        print_json(found)
        return
    now = time.time()
    if lines := [_line(row, now) for row in found["failures"]]:
        print_table(("MODEL", "STATE", "FAILURES", "LAST", "BLAME", "REASON", "TIME LEFT"), lines)
    print_limits(found["limits"], now)
    if not lines and not found["limits"]:
        click.echo("nothing is remembered")


def _line(row: Mapping[str, Any], now: float) -> tuple[str, ...]:
    return (
        row["name"] or row["id"],
        row["state"],
        str(row["failures"]),
        f"{in_words(now - (epoch(row['failed_at']) or now))} ago",
        row["blame"],
        row["reason"],
        left(row["until"], now) if row["state"] == "cooling" else "",
    )


@command.command(
    "clear",
    with_appcontext=False,
    short_help="Forget the failures of MODEL, or all failures and limits.",
    epilog=examples(
        "ollama-proxy failures clear",
        "ollama-proxy failures clear glm-5.2:free",
        "ollama-proxy failures clear z-ai/glm-5.2:free",
    ),
)
@server_options
@click.argument("model", required=False, callback=no_empty_name)
def clear(url: str | None, key: str | None, model: str | None) -> None:
    """Forget the failures of MODEL (its OpenRouter id or its listed name), or all failures and account limits.

    What was measured of it, and with it its score, is forgotten too.
    """
    path = "/failures" if model is None else f"/failures/{quote(model)}"
    done = Asker(url, key).delete(path, lambda view: clear_failures(view, model).as_json(), member="forgotten")
    scores = done.get("scores")
    click.echo(f"forgotten: {done['forgotten']}" + (f"; the scores of {scores}" if scores else ""))
