"""What the commands share: the parts of the program they look at, and how they print them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from flask import current_app

from ollama_proxy.ops.moments import left
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage.database import StorageUnavailable

#: The option of every command that prints data.
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def examples(*lines: str) -> str:
    """The epilog of a command's help: example lines, which are not wrapped."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def current_runtime() -> Runtime:
    """The parts of the application that the command works on. Needs Flask's application context."""
    runtime: Runtime = current_app.extensions["ollama_proxy"]
    return runtime


@contextmanager
def storage_errors_in_one_line() -> Iterator[None]:
    """A database that is away ends the command with one line and exit code 1."""
    try:
        yield
    except StorageUnavailable as error:
        raise click.ClickException(str(error)) from error


def print_json(value: Any) -> None:
    """Print `value` as indented JSON in ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under their heads, in columns that are as wide as they need to be."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_limits(limits: Sequence[Mapping[str, Any]], now: float) -> None:
    """A line for each account limit that holds at `now`."""
    for limit in limits:
        if remaining := left(limit["until"], now):
            click.echo(f"limit ({limit['scope']}): {limit['reason']}, lifts in {remaining}")
