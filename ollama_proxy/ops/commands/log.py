"""`ollama-proxy log`: the requests that the ledger has recorded, and how one removes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from ollama_proxy.ops.commands.asking import Asker, no_empty_name, server_options
from ollama_proxy.ops.commands.output import examples, json_option, print_json, table_lines
from ollama_proxy.ops.commands.request_lines import HEADS, request_lines, request_rows
from ollama_proxy.ops.commands.watching import is_redrawn, watch, watch_option
from ollama_proxy.ops.status.request_states import MOST_OF_LOG, log_page, one_request

F = TypeVar("F", bound=Callable[..., Any])

_EXAMPLES = (
    "ollama-proxy log",
    "ollama-proxy log --failed -n 50",
    "ollama-proxy log --model glm-5.2:free --caller 192.168.1.20",
    "ollama-proxy log --watch",
    "ollama-proxy log show 5f2a91c0",
)


def which_options(command: F) -> F:
    """The options that say which requests are meant."""
    for option in (
        click.option("-n", "limit", type=click.IntRange(1, MOST_OF_LOG), default=20, help="How many (default: 20)."),
        click.option(
            "--model", metavar="NAME", callback=no_empty_name, help="Only those that it answered, or that asked for it."
        ),
        click.option(
            "--caller",
            metavar="NAME",
            callback=no_empty_name,
            help="Only those of one caller: a key's name, or an address.",
        ),
        click.option("--failed", "failed_only", is_flag=True, help="Only those that failed."),
    ):
        command = option(command)
    return command


@click.group("log", invoke_without_command=True, epilog=examples(*_EXAMPLES))
@server_options
@which_options
@watch_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, url: str | None, key: str | None, watch_it: bool, as_json: bool, limit: int, **which: Any
) -> None:
    """Print the newest requests: when, who asked for what, who answered, how long it took, how it ended.

    TRIED names the models that were tried, with the reason of each failure. Prompts and answers are never recorded.
    """
    if ctx.invoked_subcommand is not None:
        return
    asker = Asker(url, key)
    if watch_it:
        _watch(asker, limit, which, as_json=as_json)
        return
    found = _page(asker, limit, which)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(_table(found)))


def _page(asker: Asker, limit: int, which: dict[str, Any], before: float | None = None) -> dict[str, Any]:
    failed_only, caller, model = which["failed_only"], which["caller"], which["model"]
    return asker.get(
        "/log",
        lambda view: log_page(view, limit, before=before, failed_only=failed_only, caller=caller, model=model),
        member="requests",
        limit=limit,
        before=before,
        failed=failed_only,
        caller=caller,
        model=model,
    )


def _table(found: dict[str, Any]) -> list[str]:
    if not found["keeps_log"]:
        return ["the server keeps no log: REQUEST_LOG_DAYS is 0"]
    if not found["requests"]:
        return ["no requests"]
    return table_lines([HEADS, *request_rows(found["requests"], time.time())])


def _watch(asker: Asker, limit: int, which: dict[str, Any], *, as_json: bool) -> None:
    """A terminal shows the newest ones; elsewhere each request is written once, the newest last."""
    if not as_json and is_redrawn():
        watch(lambda: _table(_page(asker, limit, which)))
        return
    log = News(lambda count, before: _page(asker, count, which, before), limit)

    def news() -> list[str]:
        found = log.look()
        if as_json:
            return [json.dumps(one) for one in found]
        return table_lines(request_rows(found, time.time())) if found else []

    watch(news, redraw=False)


class News:
    """The requests that have come into the log since the last look, each told once, the oldest first.

    A request may be written some seconds after it ended, behind younger ones that are told already: so each look goes
    through `AT_LEAST` requests, and further back until it meets one of the last look, through at most `MOST_PAGES`
    pages.
    """

    AT_LEAST = 100
    MOST_PAGES = 10

    def __init__(self, page: Callable[[int, float | None], dict[str, Any]], first: int) -> None:
        """`page` gets how many and `before`, and returns a page of the log; the first look tells `first` requests."""
        self._page = page
        self._first: int | None = first
        self._known: frozenset[str] = frozenset()
        #: When the oldest request of the last look ended: where some are removed from the log, older ones move up.
        self._oldest = ""

    def look(self) -> list[dict[str, Any]]:
        """Raises what `page` raises; the next look then tells what this one would have told."""
        seen = self._seen()
        found = [one for one in seen if one["id"] not in self._known and one["ended_at"] >= self._oldest]
        if self._first is not None:
            found, self._first = found[: self._first], None
        self._known = frozenset(one["id"] for one in seen)
        self._oldest = min((one["ended_at"] for one in seen), default=self._oldest)
        return found[::-1]

    def _seen(self) -> list[dict[str, Any]]:
        page = self._page(max(self._first or 0, self.AT_LEAST), None)
        seen: list[dict[str, Any]] = page["requests"]
        if self._first is not None:
            return seen
        for _ in range(self.MOST_PAGES):
            if page["next"] is None or any(
                one["id"] in self._known or one["ended_at"] < self._oldest for one in page["requests"]
            ):
                break
            page = self._page(MOST_OF_LOG, page["next"])
            seen = seen + page["requests"]
        return seen


@command.command("show", epilog=examples("ollama-proxy log show 5f2a91c0", "ollama-proxy log show 5f2a91c0 --json"))
@server_options
@json_option
@click.argument("id")
def show(url: str | None, key: str | None, as_json: bool, id: str) -> None:
    """Print all that is recorded of one request: its id is in the log's first column, and in X-Request-Id.

    The beginning of the id is enough.
    """
    found = Asker(url, key).get(f"/log/{quote(id, safe='')}", lambda view: one_request(view, id), member="request")
    if as_json:
        print_json(found["request"])
    else:
        click.echo("\n".join(request_lines(found["request"], time.time())))


@command.command("clear", epilog=examples("ollama-proxy log clear", "ollama-proxy log clear --caller 192.168.1.20"))
@server_options
@click.option("--caller", metavar="NAME", callback=no_empty_name, help="Only the requests of one caller.")
@click.option("--usage", is_flag=True, help="The sums of each hour, too.")
def clear(url: str | None, key: str | None, caller: str | None, usage: bool) -> None:
    """Remove the recorded requests, or those of one caller.

    The sums that are kept of each hour stay, unless --usage says otherwise.
    """
    done = Asker(url, key).delete(
        "/log",
        lambda view: {"removed": view.runtime.ledger.clear(caller, usage=usage) if view.has_tables else 0},
        member="removed",
        caller=caller,
        usage=usage,
    )
    click.echo(f"removed: {done['removed']}")
