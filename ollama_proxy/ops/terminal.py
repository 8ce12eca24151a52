"""Whether somebody sits in front of a stream, and whether colour is wanted there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO

import click


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether `stream` is a terminal; False for a closed one, and for none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def has_colour(stream: IO[str] | None, variables: Mapping[str, str] = os.environ) -> bool:
    """Whether to write colours: to a terminal that knows them, unless NO_COLOR is set (https://no-color.org)."""
    return is_terminal(stream) and not variables.get("NO_COLOR") and variables.get("TERM", "dumb") != "dumb"


class Palette:
    """Words in colour, or as they are where no colour is wanted."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
        """`text` in `colour` (a name that click knows)."""
        if not self._colour or not text:
            return text
        return click.style(text, fg=colour, bold=bold or None, dim=dim or None)
