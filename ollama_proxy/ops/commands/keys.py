"""`ollama-proxy keys`: clients' keys: made, changed, listed, removed.

It works on the database itself, so that the first key can be made where nobody has one yet. Running servers follow
within a second. A new key is written to the standard output, alone on its line, and everything else beside it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

import click
from flask.cli import AppGroup

from ollama_proxy.errors import ProxyError
from ollama_proxy.ops.commands.asking import runtime_of_command
from ollama_proxy.ops.commands.output import examples, json_option, print_json, print_table, storage_errors_in_one_line
from ollama_proxy.ops.keys.management import COMMAND_LINE, Actor, KeyManagement, unmatched_lines
from ollama_proxy.ops.keys.use import used_by
from ollama_proxy.storage import migrate

F = TypeVar("F", bound=Callable[..., Any])

_FOLLOW = "running servers follow within a second"

command = AppGroup(
    "keys",
    help="Clients' keys: who may call, for which models, how much. Works on the database; running servers follow.",
    epilog=examples(
        "ollama-proxy keys add anna --free-only --free-day 100",
        "ollama-proxy keys add phone --models '*coder*' --expires 2027-01-31",
        "ollama-proxy keys list",
    ),
)


def _management() -> KeyManagement:
    """The operations, on a database that has this version's tables."""
    runtime = runtime_of_command()
    migrate_quietly(runtime.database.url)
    return KeyManagement(runtime.key_table, runtime.ledger, taken=runtime.access.key_names)


def migrate_quietly(url: str) -> None:
    """Make or migrate the tables. A database that a newer version has migrated is used as it is."""
    with suppress(migrate.NewerDatabase):
        migrate.upgrade(url)


def _in_words(function: F) -> F:
    """Around a command: what is refused, and a database that is away, end it with one line and exit code 1."""

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        with storage_errors_in_one_line():
            try:
                return function(*args, **options)
            except ProxyError as error:
                raise click.ClickException(error.message) from None

    return run  # type: ignore[return-value]


def _actor() -> Actor:
    return Actor(COMMAND_LINE, socket.gethostname())


def _none_or(kind: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """The callback of an option for a limit: "none" takes the limit away; not given is not changed."""

    def read(_: click.Context, parameter: click.Parameter, text: str | None) -> Any:
        if text is None:
            return _UNCHANGED
        if text.lower() == "none":
            return None
        try:
            return kind(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is no number; `none` for no limit", param=parameter) from None

    return read


_UNCHANGED = object()

_FIELD_OPTIONS = (
    click.option("--models", metavar="PATTERNS", help="Only these models: names, * and ?, !name; commas between."),
    click.option("--free-only/--all-models", default=None, help="Free models only, on a server that pays, too."),
    click.option("--rpm", metavar="N", callback=_none_or(int), help="Requests a minute."),
    click.option("--parallel", metavar="N", callback=_none_or(int), help="Requests at the same time."),
    click.option("--free-day", "free_per_day", metavar="N", callback=_none_or(int), help="Free requests a day (UTC)."),
    click.option("--usd-day", "usd_per_day", metavar="X", callback=_none_or(str), help="Dollars a day (UTC)."),
    click.option("--usd-month", "usd_per_month", metavar="X", callback=_none_or(str), help="Dollars a month (UTC)."),
    click.option("--expires", metavar="DATE", callback=_none_or(str), help="The last day, such as 2027-01-31 (UTC)."),
    click.option("--admin/--no-admin", default=None, help="May do everything, and make keys."),
    click.option("--metrics/--no-metrics", default=None, help="May read /metrics."),
    click.option("--note", metavar="TEXT", help="A line for yourself."),
)


def _field_options(function: F) -> F:
    for option in reversed(_FIELD_OPTIONS):
        function = option(function)
    return function


def _wishes(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the given options ask for, by the names of the fields."""
    found = {name: value for name, value in options.items() if value is not _UNCHANGED}
    for name in ("models", "free_only", "admin", "metrics", "note"):
        if found.get(name) is None:
            found.pop(name, None)
    if "models" in found:
        text = "" if found["models"].lower() == "none" else found["models"]
        found["models"] = [line.strip() for line in text.replace(",", "\n").splitlines() if line.strip()]
    return found


@command.command(
    "add",
    with_appcontext=False,
    epilog=examples(
        "ollama-proxy keys add anna",
        "ollama-proxy keys add claude-code --models '*sonnet*,!*3.5*' --usd-day 2 --usd-month 20",
        "KEY=$(ollama-proxy keys add backup --free-only)",
    ),
)
@click.argument("name")
@_field_options
@json_option
@_in_words
def add(name: str, as_json: bool, **options: Any) -> None:
    """Make a key called NAME and print it, once: it is not kept. From now on keys are required."""
    wishes = _wishes(options)
    made = _management().add(name, wishes, _actor())
    if as_json:
        print_json(made)
    else:
        click.echo(f"the key of {made['name']}; it is shown this once only:", err=True)
        click.echo(made["key"])
        click.echo(f"every request needs a key from now on; {_FOLLOW}", err=True)
    _warn_of_unmatched(made)


def _warn_of_unmatched(key: Mapping[str, Any]) -> None:
    """Say which lines of a key match no model of the stored list: most likely typing errors."""
    keeper = runtime_of_command().backend.keeper
    if not key["models"] or not (keeper.load_stored() and (catalog := keeper.current()) is not None):
        return
    for line in unmatched_lines(key["models"], catalog, free_only=key["free_only"]):
        click.echo(f"warning: {line!r} matches no model of the present list", err=True)


@command.command(
    "list", with_appcontext=False, epilog=examples("ollama-proxy keys list", "ollama-proxy keys list --json")
)
@json_option
@_in_words
def list_keys(as_json: bool) -> None:
    """Print all keys: their names, what they may do, their limits."""
    found = _management().all()
    if as_json:
        print_json(found)
        return
    if found["keys"]:
        print_table(
            ("NAME", "STATE", "KEY", "MAY", "MODELS", "LIMITS", "EXPIRES"), [_line(key) for key in found["keys"]]
        )
    else:
        click.echo("there are no keys in the database")
    if not found["required"]:
        click.echo("keys are not required" + (": `ollama-proxy keys on`" if found["keys"] else ""))


def _line(key: Mapping[str, Any]) -> tuple[str, ...]:
    rights = [word for word in ("admin", "metrics") if key[word]]
    models = " ".join(key["models"][:3]) + (f" +{len(key['models']) - 3}" if len(key["models"]) > 3 else "")
    scope = [part for part in ("free only" if key["free_only"] else "", models) if part]
    return (
        key["name"],
        key["state"],
        f"{key['prefix']}…",
        ", ".join(rights) or "use",
        ", ".join(scope) or "all",
        ", ".join(_limits(key)) or "none",
        key["expires"] or "never",
    )


def _limits(key: Mapping[str, Any]) -> list[str]:
    units = {"rpm": "{}/min", "parallel": "{} at once", "free_per_day": "{} free/day"}
    dollars = {"usd_per_day": "${:.2f}/day", "usd_per_month": "${:.2f}/month"}
    return [words.format(key[name]) for name, words in (units | dollars).items() if key[name] is not None]


@command.command("show", with_appcontext=False, epilog=examples("ollama-proxy keys show anna"))
@click.argument("name")
@json_option
@_in_words
def show(name: str, as_json: bool) -> None:
    """Print all that is known of the key NAME. The key itself is not."""
    _print_key(_management().one(name), as_json=as_json)


@command.command(
    "change",
    with_appcontext=False,
    epilog=examples("ollama-proxy keys change anna --usd-day 3", "ollama-proxy keys change anna --usd-day none"),
)
@click.argument("name")
@_field_options
@json_option
@_in_words
def change(name: str, as_json: bool, **options: Any) -> None:
    """Change what the options name; the rest stays, and what was used counts on. `none` takes a limit away."""
    changed = _management().change(name, _wishes(options), _actor())
    _print_key(changed, as_json=as_json)
    _warn_of_unmatched(changed)


def _print_key(key: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    for name, value in key.items():
        text = (
            " ".join(value)
            if isinstance(value, list)
            else "yes"
            if value is True
            else "no"
            if value is False
            else value
        )
        click.echo(f"{name:14}{'none' if text in (None, '') else text}")


def _switching(word: str, *, disabled: bool, help: str) -> None:
    @command.command(word, with_appcontext=False, help=help, epilog=examples(f"ollama-proxy keys {word} anna"))
    @click.argument("name")
    @_in_words
    def switch(name: str) -> None:
        key = _management().change(name, {"disabled": disabled}, _actor())
        click.echo(f"{key['name']} is {word}d; {_FOLLOW}", err=True)


_switching("disable", disabled=True, help="Refuse the key NAME until it is enabled again.")
_switching("enable", disabled=False, help="Let the key NAME count again.")


@command.command("remove", with_appcontext=False, epilog=examples("ollama-proxy keys remove anna"))
@click.argument("name")
@_in_words
def remove(name: str) -> None:
    """Remove the key NAME, its requests in the log and what was counted of it. Keys stay required."""
    done = _management().remove(name, _actor())
    click.echo(f"{done['removed']} is removed, with {done['requests']} requests of the log; {_FOLLOW}", err=True)


@command.command(
    "usage", with_appcontext=False, epilog=examples("ollama-proxy keys usage", "ollama-proxy keys usage anna")
)
@click.argument("name", required=False)
@json_option
@_in_words
def usage(name: str | None, as_json: bool) -> None:
    """Print what the key NAME, or each key, has used today and this month (UTC)."""
    management, runtime = _management(), runtime_of_command()
    wanted = management.one(name)["name"] if name is not None else None
    now, rows_of_keys = time.time(), runtime.key_table.load().rows
    used = {key.name: used_by(runtime, key.id, now) for key in rows_of_keys if wanted in (None, key.name)}
    if as_json:
        print_json({"keys": used})
        return
    rows = [_used(key, window, sums) for key, windows in used.items() for window, sums in windows.items()]
    if rows:
        print_table(("NAME", "IN THIS", "REQUESTS", "FREE", "TOKENS", "COST"), rows)
    else:
        click.echo("there are no keys in the database")


def _used(key: str, window: str, sums: Mapping[str, Any]) -> tuple[str, ...]:
    tokens = sums["tokens_in"] + sums["tokens_out"]
    return (key, window, str(sums["requests"]), str(sums["free_attempts"]), str(tokens), f"${sums['usd']:.4f}")


@command.command(
    "events", with_appcontext=False, epilog=examples("ollama-proxy keys events", "ollama-proxy keys events --json")
)
@click.option("-n", "limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many.")
@json_option
@_in_words
def events(limit: int, as_json: bool) -> None:
    """Print who did what to which key, the newest first."""
    found = _management().events(limit)
    if as_json:
        print_json(found)
        return
    names = ("at", "by", "from", "action", "key", "detail")
    rows: list[tuple[str, ...]] = [tuple(event[name] for name in names) for event in found["events"]]
    if rows:
        print_table(tuple(name.upper() for name in names), rows)
    else:
        click.echo("nothing has been done to keys")


def _requiring(word: str, *, required: bool, help: str, said: str) -> None:
    @command.command(word, with_appcontext=False, help=help, epilog=examples(f"ollama-proxy keys {word}"))
    @_in_words
    def require() -> None:
        _management().require(_actor(), required=required)
        click.echo(f"{said}; {_FOLLOW}", err=True)
        if not required and runtime_of_command().settings.proxy_api_keys:
            click.echo("warning: PROXY_API_KEYS is set here: with it keys are required all the same", err=True)


_requiring(
    "off",
    required=False,
    help="Serve without keys again, whoever ALLOW_NETWORKS lets in. The keys stay, and count for nothing.",
    said="no keys are required, but those of PROXY_API_KEYS",
)
_requiring("on", required=True, help="Require keys again, after `off`.", said="every request needs a key")
