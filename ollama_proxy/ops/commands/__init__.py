"""The commands of `ollama-proxy NAME` and `flask --app wsgi NAME`: one implementation, registered here for both.

Imports click and nothing else: `ollama-proxy serve` must start quickly, and `--help` too. What a command needs is
imported when it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from flask import Flask

#: The one place to register a command: its name, and its line in the list of commands. Command NAME is the attribute
#: `command` of the module NAME in this package.
COMMANDS: Final[Mapping[str, str]] = {
    "status": "How the running server is: quota, requests, what cools down.",
    "models": "The free models in the order in which they are tried.",
    "personas": "Models with a name and a system prompt of your own.",
    "log": "The requests of the last days: who asked, who answered, what failed.",
    "doctor": "What is wrong with key, quota, database, filters, port?",
    "failures": "What is remembered of failed models.",
    "keys": "Clients' keys: who may call, for which models, how much.",
    "db": "The database's migrations.",
}


class LazyCommand(click.Command):
    """Stands for a command in a group's list; its module is imported when the command is called."""

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, short_help=summary)

    def load(self) -> click.Command:
        """The command itself."""
        command: click.Command = import_module(f"{__name__}.{self.name}").command
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the command itself: click goes on with the command that it finds there."""
        return self.load().make_context(info_name, args, parent, **extra)


def lazy_commands() -> list[LazyCommand]:
    """All commands, in the order of COMMANDS."""
    return [LazyCommand(name, summary) for name, summary in COMMANDS.items()]


def register(app: Flask) -> None:
    """Add the commands to `flask --app wsgi`."""
    for command in lazy_commands():
        app.cli.add_command(command)


@contextmanager
def settings_errors_in_one_line() -> Iterator[None]:
    """Around `create_app`: settings that cannot be used end a command with one line, without a traceback.

    Only on the command line. SystemExit in a gunicorn worker is an endless respawn; there gunicorn.conf.py has looked
    at the settings first, and a worker that still meets one of these errors stops the server by raising it.
    """
    from ollama_proxy.catalog.filters import FilterError
    from ollama_proxy.config import SettingsError

    try:
        yield
    except (SettingsError, FilterError) as error:
        if click.get_current_context(silent=True) is None:
            raise
        raise SystemExit(f"Error: {error}") from None
