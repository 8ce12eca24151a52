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


def table_lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows in columns that are as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under their heads."""
    for line in table_lines([head, *rows]):
        click.echo(line)


def print_limits(limits: Sequence[Mapping[str, Any]], now: float) -> None:
    """A line for each account limit that holds at `now`."""
    for limit in limits:
        if remaining := left(limit["until"], now):
            click.echo(f"limit ({limit['scope']}): {limit['reason']}, lifts in {remaining}")
