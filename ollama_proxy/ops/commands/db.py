"""`ollama-proxy db`: the database's migrations."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from ollama_proxy.ops.commands.output import (
    current_runtime,
    examples,
    json_option,
    print_json,
    storage_errors_in_one_line,
)
from ollama_proxy.storage import migrate

command = AppGroup(
    "db",
    help="The database's migrations. The server migrates at its start; this does it apart from one.",
    epilog=examples("ollama-proxy db current", "ollama-proxy db upgrade"),
)


@command.command("upgrade", epilog=examples("DATABASE_URL=postgresql://user@host/name ollama-proxy db upgrade"))
def upgrade() -> None:
    """Migrate the database to the newest version. Safe to run from several machines at once."""
    database = current_runtime().database
    with storage_errors_in_one_line():
        changed = migrate.upgrade(database.url)
    click.echo(f"{database.label}: {'migrated to' if changed else 'already at'} {migrate.head()}")


@command.command("current", epilog=examples("ollama-proxy db current", "ollama-proxy db current --json"))
@json_option
def current(as_json: bool) -> None:
    """Print the database's version, and the newest one."""
    database = current_runtime().database
    with storage_errors_in_one_line():
        at = migrate.current(database)
    if as_json:
        print_json({"database": database.label, "current": at, "newest": migrate.head()})
    else:
        click.echo(f"at {at or 'nothing yet'}, newest {migrate.head()}")


@command.command("history", with_appcontext=False, epilog=examples("ollama-proxy db history"))
def history() -> None:
    """Print all versions, newest first."""
    for revision in reversed(migrate.history()):
        click.echo(f"{revision.id}  {revision.summary}")
