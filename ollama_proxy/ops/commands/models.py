"""`ollama-proxy models`: the models in the order in which they are tried, with what is remembered and measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ollama_proxy.fallback.order import ORDERS
from ollama_proxy.ops.checks import find_catalog
from ollama_proxy.ops.commands.asking import Asker, server_options
from ollama_proxy.ops.commands.output import examples, json_option, print_json, print_limits, print_table
from ollama_proxy.ops.moments import left
from ollama_proxy.ops.status.report import report
from ollama_proxy.ops.status.views import Remembered, StoredView
from ollama_proxy.storage.database import StorageUnavailable

Json = Mapping[str, Any]

#: The parts of the report that this command prints.
_PARTS = ("models", "limits", "orders", "aliases")

_SCORE_HEADS = ("SCORE", "Q", "R", "S", "SAMPLES", "FIRST", "TOK/S")


@click.command(
    "models",
    epilog=examples(
        "ollama-proxy models",
        "ollama-proxy models --order balanced",
        "ollama-proxy models --json | jq -r '.models[].name'",
    ),
)
@click.option("--order", type=click.Choice(list(ORDERS)), help="The order (default: FREE_ORDER; free means balanced).")
@server_options
@json_option
def command(url: str | None, key: str | None, order: str | None, as_json: bool) -> None:
    """Print the models in the order in which they are tried, with what is remembered and measured of each.

    These are the free models, with their scores: quality (Q), success (R) and speed (S) together, see docs/contract.md,
    "Scores". Of a server with FREE_MODE=false these are all models, with dollars per million tokens; --order shows the
    free ones there too. The aliases of MODEL_ALIASES follow, and what they mean.
    """
    found = Asker(url, key).get("/models", _stored, member="models")
    if as_json:
        print_json(found)
        return
    now = time.time()
    priced = any("price" in model for model in found["models"])
    orders = found.get("orders")  # a server of an earlier version has none
    if orders is None or (priced and order is None):
        heads = ("MODEL", "CONTEXT", *(("IN $/M", "OUT $/M") if priced else ()), "STATE", "REASON", "TIME LEFT")
        print_table(heads, [_line(model, _prices(model) if priced else (), now) for model in found["models"]])
    else:
        _print_order(found, orders, order or orders["default"], now)
    _print_aliases(found.get("aliases", []))
    print_limits(found["limits"], now)


def _print_order(found: Json, orders: Json, order: str, now: float) -> None:
    models = {model["id"]: model for model in found["models"]}
    places = [place for place in orders["places"][order] if place["id"] in models]
    lines = [_line(models[place["id"]], _score(place), now, why=place["why"]) for place in places]
    print_table(("MODEL", "CONTEXT", *_SCORE_HEADS, "STATE", "REASON", "TIME LEFT"), lines)
    click.echo(f"order: {order}" + ("" if order == "balanced" else "; for `free`: --order balanced"))


def _print_aliases(aliases: Sequence[Json]) -> None:
    if aliases:
        lines = [(one["pattern"], one["target"], one["means"] or f"nothing: {one['why']}") for one in aliases]
        click.echo()
        print_table(("ALIAS", "NAME", "MEANS"), lines)


def _stored(view: StoredView) -> dict[str, Any]:
    """The list where no server answers; it is fetched if none is stored. Without the database it is worth printing."""
    catalog = find_catalog(view.runtime)
    if isinstance(catalog, str):
        raise click.ClickException(f"there is no model list: {catalog}")
    try:
        return report(view, _PARTS)
    except StorageUnavailable as error:
        click.echo(f"warning: {error}", err=True)
        view.remembered, view.measured = Remembered({}, []), {}
        return report(view, _PARTS)


def _line(model: Json, columns: tuple[str, ...], now: float, *, why: str = "") -> tuple[str, ...]:
    reason, remaining = model["reason"], left(model["until"], now)
    if model["state"] == "ready":
        reason = why or (f"failed before: {reason}" if reason is not None else "")
    return (model["name"], str(model["context_length"]), *columns, model["state"], reason or "", remaining)


def _score(place: Json) -> tuple[str, ...]:
    """The columns of the score; a time or speed that was not measured is a dash."""
    first = "-" if place["first_token"] is None else f"{place['first_token']:.1f}s"
    speed = "-" if place["tokens_per_second"] is None else f"{place['tokens_per_second']:.0f}"
    parts = (f"{place[part]:.2f}" for part in ("score", "quality", "success", "speed"))
    return (*parts, f"{place['samples']:.1f}", first, speed)


def _prices(model: Json) -> tuple[str, ...]:
    return tuple(_dollars(model["price"][part]) for part in ("prompt", "completion"))


def _dollars(price: float | None) -> str:
    """A price as people compare them: "0.15", "3", "" for an unknown one."""
    return "" if price is None else f"{price:.4f}".rstrip("0").rstrip(".")
