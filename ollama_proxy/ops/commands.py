"""The command line, `flask --app wsgi ...`: the database, the models and what is remembered of their failures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext

from ollama_proxy.catalog.fetch import FetchFailed
from ollama_proxy.catalog.filters import FilterError
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.config import SettingsError
from ollama_proxy.fallback.cooldown import believed
from ollama_proxy.fallback.durations import duration_words
from ollama_proxy.fallback.memory import is_outdated
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage import migrate
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.failure_table import FailureRow, LimitRow


def register(app: Flask) -> None:
    """Add the commands to `app`."""
    app.cli.add_command(db)
    app.cli.add_command(models)
    app.cli.add_command(failures)


@contextmanager
def settings_errors_in_one_line() -> Iterator[None]:
    """Around `create_app`: settings that cannot be used end a `flask` command with one line, without a traceback.

    Only on the command line. SystemExit in a gunicorn worker is an endless respawn; there gunicorn.conf.py has looked
    at the settings first, and a worker that still meets one of these errors stops the server by raising it.
    """
    try:
        yield
    except (SettingsError, FilterError) as error:
        if click.get_current_context(silent=True) is None:
            raise
        raise SystemExit(f"Error: {error}") from None


def _runtime() -> Runtime:
    runtime: Runtime = current_app.extensions["ollama_proxy"]
    return runtime


db = AppGroup("db", help="The database's migrations.")


@db.command("upgrade")
def db_upgrade() -> None:
    """Migrate the database to the newest version. Safe to run from several machines at once."""
    database = _runtime().database
    try:
        changed = migrate.upgrade(database.url)
    except StorageUnavailable as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{database.label}: {'migrated to' if changed else 'already at'} {migrate.head()}")


@db.command("current")
def db_current() -> None:
    """Print the database's version, and the newest one."""
    try:
        click.echo(f"at {migrate.current(_runtime().database) or 'nothing yet'}, newest {migrate.head()}")
    except StorageUnavailable as error:
        raise click.ClickException(str(error)) from error


@db.command("history")
def db_history() -> None:
    """Print all versions, newest first."""
    for revision in migrate.history():
        click.echo(f"{revision.id}  {revision.summary}")


@click.command("models")
@with_appcontext
def models() -> None:
    """Print the free models in the order in which they are tried, with what is remembered of each."""
    runtime = _runtime()
    catalog = _catalog(runtime)
    now = time.time()
    rows = _failure_rows(runtime, now)
    lines = [(model.name, str(model.context_length), *_state(rows.get(model.id), model, now)) for model in catalog.free]
    _print_table(("MODEL", "CONTEXT", "STATE", "REASON", "TIME LEFT"), lines)
    for limit in _limits(runtime, now):
        if limit.until > now:
            click.echo(f"limit ({limit.scope}): {limit.reason}, lifts in {duration_words(limit.until - now)}")


def _state(row: FailureRow | None, model: Model, now: float) -> tuple[str, str, str]:
    if row is None or row.until <= now or is_outdated(row, model):
        return ("ready", f"failed before: {row.reason}" if row is not None else "", "")
    return ("cooling", row.reason, duration_words(row.until - now))


def _catalog(runtime: Runtime) -> Catalog:
    """The stored catalogue, else a fetched one: the command works beside a server and without one."""
    keeper = runtime.backend.keeper
    if not keeper.load_stored():
        try:
            keeper.refresh_if_due()
        except FetchFailed as error:
            raise click.ClickException(str(error)) from error
    catalog = keeper.current()
    if catalog is None:
        raise click.ClickException(f"there is no model list: {keeper.last_error}")
    return catalog


def _failure_rows(runtime: Runtime, now: float) -> dict[str, FailureRow]:
    try:
        return {row.model: row for found in runtime.failures.load() if (row := believed(found, now)) is not None}
    except StorageUnavailable as error:
        click.echo(f"warning: {error}", err=True)
        return {}


def _limits(runtime: Runtime, now: float) -> Sequence[LimitRow]:
    try:
        return [row for found in runtime.failures.limits() if (row := believed(found, now)) is not None]
    except StorageUnavailable:
        return []


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


failures = AppGroup("failures", help="What is remembered of failed models.")


@failures.command("clear")
@click.argument("model", required=False)
def failures_clear(model: str | None) -> None:
    """Forget the failures of MODEL (its OpenRouter id or its listed name), or all failures and account limits."""
    runtime = _runtime()
    try:
        if model is None:
            count = runtime.failures.clear() + runtime.failures.clear_limit()
        else:
            count = runtime.failures.clear(_model_id(runtime, model))
    except StorageUnavailable as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"forgotten: {count}")


def _model_id(runtime: Runtime, name: str) -> str:
    runtime.backend.keeper.load_stored()
    catalog = runtime.backend.keeper.current()
    found = catalog.resolve(name).model if catalog is not None else None
    return found.id if found is not None else name
