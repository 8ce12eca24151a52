"""Shows something again every two seconds, until Ctrl-C: a terminal is drawn anew, anything else is written on."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence

import click

from ollama_proxy.ops.terminal import is_terminal

#: Seconds between two looks.
EVERY = 2.0

# Of ECMA-48: no cursor, no wrapping, and back; to the top; the rest of a line; the rest of the screen.
_BEGIN, _END = "\x1b[?25l\x1b[?7l\x1b[2J", "\x1b[?7h\x1b[?25h\n"
_TOP, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"

#: The option of every command that can do so.
watch_option = click.option("--watch", "watch_it", is_flag=True, help="Look again every 2 s, until Ctrl-C.")


def watch(look: Callable[[], Sequence[str]], *, redraw: bool = True) -> None:
    """Show the lines that `look` returns, again and again. Returns at Ctrl-C.

    `redraw`: `look` returns all lines each time, and a terminal shows the newest only. A ClickException of the first
    look is raised; later ones are shown, as what is watched may come back.
    """
    drawn = redraw and is_redrawn()
    lines = look()
    try:
        if drawn:
            _write(_BEGIN)
        while True:
            if drawn:
                height = shutil.get_terminal_size().lines - 1
                _write(_TOP + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines[:height]) + _REST)
            else:
                _write("".join(f"{line}\n" for line in lines))
            time.sleep(EVERY)
            try:
                lines = look()
            except click.ClickException as error:
                lines = [error.message]
    except KeyboardInterrupt:
        pass
    finally:
        if drawn:
            _write(_END)


def is_redrawn() -> bool:
    """Whether what is printed goes to a terminal that can be drawn anew."""
    return is_terminal(sys.stdout) and os.environ.get("TERM", "dumb") != "dumb"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
