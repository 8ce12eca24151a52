"""What a Modelfile says. Source: https://docs.ollama.com/modelfile (docs/contract.md, "Personas")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROLES = ("system", "user", "assistant")
"""The roles that a message may have."""


class ModelfileError(ValueError):
    """A text that is no Modelfile; its own text says what is wrong, in the words of Ollama's command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modelfile:
    """The commands of a Modelfile. Texts are "" where there is no such command; of those that may stand only once the
    last one counts.

    `parameters` are options by name, with numbers as numbers; `messages` pairs of role and text; `files` the commands
    that name files (`ADAPTER`, `DRAFT`); `warnings` what the command line prints besides.
    """

    base: str
    system: str = ""
    template: str = ""
    licenses: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    files: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    def as_request(self, model: str) -> dict[str, Any]:
        """Return the body of POST /api/create that makes `model` of it, as the command line sends it."""
        messages = [{"role": role, "content": text} for role, text in self.messages]
        given = {
            "from": self.base,
            "system": self.system,
            "template": self.template,
            "license": list(self.licenses),
            "parameters": dict(self.parameters),
            "messages": messages,
            "renderer": self.renderer,
            "parser": self.parser,
            "requires": self.requires,
        }
        return {"model": model, **{name: value for name, value in given.items() if value}}
