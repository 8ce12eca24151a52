"""What a persona adds to a request, by the same rules in all APIs: its messages, its parameters, its system prompt.

Pure. How an API writes messages and parameters is its own business (docs/contract.md, "Personas in use").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ollama_proxy.bodies.options import check_options, sampling
from ollama_proxy.bodies.sampling import stops_of
from ollama_proxy.catalog.persona import Persona

M = TypeVar("M")

_ROLES = ("system", "user", "assistant")


class Said(NamedTuple):
    """One message of a persona; `role` is system, user or assistant."""

    role: str
    text: str


class Defaults(NamedTuple):
    """A persona's parameters under OpenRouter's names, as chat completions have them, and all its stop strings.

    `fields` holds the first of the stop strings, as many as OpenRouter takes.
    """

    fields: dict[str, Any]
    stops: tuple[str, ...]


def said_by(persona: Persona) -> list[Said]:
    """Return the messages of a persona. Those of blanks only are left out, because providers refuse them."""
    given = ((message.get("role"), message.get("content")) for message in persona.messages)
    return [
        Said(role if isinstance(role, str) and role in _ROLES else "user", text)
        for role, text in given
        if isinstance(text, str) and text.strip()
    ]


def led(own: Sequence[M], messages: Sequence[M], *, is_system: Callable[[M], bool]) -> list[M]:
    """Return `messages` with a persona's `own` in front of them.

    System messages with which the request begins stay in front of all: models refuse them elsewhere. If the request has
    no others, they stay behind.
    """
    first = next((place for place, message in enumerate(messages) if not is_system(message)), 0) if own else 0
    return [*messages[:first], *own, *messages[first:]]


def defaults_of(persona: Persona) -> Defaults:
    """Return what a request of another API than Ollama's takes from a persona where it says nothing itself.

    Raises BadRequest with Ollama's text for a parameter of a wrong type, which Ollama notices here too.
    """
    options: Mapping[str, Any] = persona.parameters
    check_options(dict(options))
    return Defaults(sampling(dict(options)), tuple(stops_of(options.get("stop"))))
