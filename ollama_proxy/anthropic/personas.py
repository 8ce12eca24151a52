"""Puts what a persona says into a Messages request: into `system`, `messages` and the sampling fields.

Pure: a checked request and a persona in, a new request out. The request's own fields go first (docs/contract.md,
"Personas in use"; https://docs.anthropic.com/en/api/messages).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ollama_proxy.bodies.personas import defaults_of, led, said_by
from ollama_proxy.catalog.persona import Persona

#: Parameters that a Messages request has. `max_tokens` is not among them: each request has its own.
_FIELDS = ("temperature", "top_p", "top_k")


def with_persona(asked: Mapping[str, Any], persona: Persona) -> dict[str, Any]:
    """Return the request with what the persona says. Raises BadRequest for a parameter of a wrong type."""
    defaults, messages = defaults_of(persona), asked["messages"]
    body: dict[str, Any] = {name: defaults.fields[name] for name in _FIELDS if name in defaults.fields}
    if defaults.stops:
        body["stop_sequences"] = list(defaults.stops)
    body |= asked
    own = [{"role": role, "content": text} for role, text in said_by(persona)]
    body["messages"] = led(own, messages, is_system=_is_system)
    if persona.system and not asked.get("system") and not _is_system(messages[0]):
        body["system"] = persona.system
    return body


def _is_system(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "system"
