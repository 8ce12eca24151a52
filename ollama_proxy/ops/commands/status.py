"""`ollama-proxy status`: the running server at a glance: quota, account, database, requests, what cools down."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection
from typing import Any

import click

from ollama_proxy.ops.commands.asking import Asker, server_options
from ollama_proxy.ops.commands.output import examples, json_option, print_json
from ollama_proxy.ops.commands.screen import status_lines
from ollama_proxy.ops.commands.watching import watch, watch_option
from ollama_proxy.ops.status.report import PARTS, report
from ollama_proxy.ops.terminal import Palette, has_colour

#: What the screen shows: everything but the list of models.
_SHOWN = tuple(name for name in PARTS if name != "models")


@click.command(
    "status",
    epilog=examples(
        "ollama-proxy status",
        "ollama-proxy status --watch",
        "ollama-proxy status --url http://192.168.1.20:11434 --key KEY",
        "ollama-proxy status --json | jq .quota.free_left",
    ),
)
@server_options
@watch_option
@json_option
def command(url: str | None, key: str | None, watch_it: bool, as_json: bool) -> None:
    """Print how the running server is: quota, account, database, models, requests, what cools down."""
    asker = Asker(url, key)
    if watch_it:
        watch(lambda: _looked(asker, as_json=as_json), redraw=not as_json)
    elif as_json:
        print_json(_report(asker, None))
    else:
        click.echo("\n".join(_looked(asker, as_json=False)), color=has_colour(sys.stdout))


def _looked(asker: Asker, *, as_json: bool) -> list[str]:
    if as_json:
        return [json.dumps(_report(asker, None))]
    return status_lines(_report(asker, _SHOWN), time.time(), Palette(colour=has_colour(sys.stdout)))


def _report(asker: Asker, parts: Collection[str] | None) -> dict[str, Any]:
    joined = None if parts is None else ",".join(parts)
    return asker.get("/status", lambda view: report(view, parts), member="server", parts=joined)
