"""The help text: every variable on one line."""

from __future__ import annotations

from itertools import groupby

from ollama_proxy.config.settings import VARIABLES


def help_text() -> str:
    """All variables, one on a line: name, default, what it is. In groups, each under a line with its name."""
    names = max(len(variable.name) for variable in VARIABLES.values())
    defaults = max(len(variable.default) for variable in VARIABLES.values())
    blocks = []
    for group, variables in groupby(VARIABLES.values(), key=lambda variable: variable.group):
        lines = [f"  {one.name:{names}}  {one.default:{defaults}}  {one.help}" for one in variables]
        blocks.append("\n".join([f"{group}:", *lines]))
    return "\n\n".join(blocks)
