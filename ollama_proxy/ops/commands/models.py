"""`ollama-proxy models`: the models in the order in which they are tried, with what is remembered of each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from ollama_proxy.ops.checks import find_catalog
from ollama_proxy.ops.commands.asking import Asker, server_options
from ollama_proxy.ops.commands.output import examples, json_option, print_json, print_limits, print_table
from ollama_proxy.ops.moments import left
from ollama_proxy.ops.status.report import report
from ollama_proxy.ops.status.views import Remembered, StoredView
from ollama_proxy.storage.database import StorageUnavailable


@click.command("models", epilog=examples("ollama-proxy models", "ollama-proxy models --json | jq -r '.models[].name'"))
@server_options
@json_option
def command(url: str | None, key: str | None, as_json: bool) -> None:
    """Print the models in the order in which they are tried, with what is remembered of each.

    These are the free models; of a server with FREE_MODE=false all models, with dollars per million tokens.
    """
    found = Asker(url, key).get("/models", _stored, member="models")
    if as_json:
        print_json(found)
        return
    now = time.time()
    priced = any("price" in model for model in found["models"])
    heads = ("MODEL", "CONTEXT", *(("IN $/M", "OUT $/M") if priced else ()), "STATE", "REASON", "TIME LEFT")
    print_table(heads, [_line(model, now, priced=priced) for model in found["models"]])
    print_limits(found["limits"], now)


def _stored(view: StoredView) -> dict[str, Any]:
    """The list where no server answers; it is fetched if none is stored. Without the database it is worth printing."""
    catalog = find_catalog(view.runtime)
    if isinstance(catalog, str):
        raise click.ClickException(f"there is no model list: {catalog}")
    try:
        return report(view, ("models", "limits"))
    except StorageUnavailable as error:
        click.echo(f"warning: {error}", err=True)
        view.remembered = Remembered({}, [])
        return report(view, ("models", "limits"))


def _line(model: Mapping[str, Any], now: float, *, priced: bool) -> tuple[str, ...]:
    reason, remaining = model["reason"], left(model["until"], now)
    if model["state"] == "ready" and reason is not None:
        reason = f"failed before: {reason}"
    prices = tuple(_dollars(model["price"][part]) for part in ("prompt", "completion")) if priced else ()
    return (model["name"], str(model["context_length"]), *prices, model["state"], reason or "", remaining)


def _dollars(price: float | None) -> str:
    """A price as people compare them: "0.15", "3", "" for an unknown one."""
    return "" if price is None else f"{price:.4f}".rstrip("0").rstrip(".")
