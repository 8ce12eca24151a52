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


def with_persona(asked: Mapping[str, Any], persona: Persona, *, own_model: bool = False) -> dict[str, Any]:
    """Return the request with what the persona says. Raises BadRequest for a parameter of a wrong type.

    `own_model`: a model of Anthropic's answers, which takes less: a temperature of 1 at most, and none of the sampling
    fields while it thinks (https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking). What the client
    sends itself goes to it as it is.
    """
    defaults, messages = defaults_of(persona), asked["messages"]
    body: dict[str, Any] = {name: defaults.fields[name] for name in _FIELDS if name in defaults.fields}
    if own_model:
        body = {} if _thinks(asked) else body
        if body.get("temperature", 0) > 1:
            body["temperature"] = 1
    if defaults.stops:
        body["stop_sequences"] = list(defaults.stops)
    body |= asked
    own = [{"role": role, "content": text} for role, text in said_by(persona)]
    body["messages"] = led(own, messages, is_system=_is_system)
    if persona.system and not asked.get("system") and not _is_system(messages[0]):
        body["system"] = persona.system
    return body


def _thinks(asked: Mapping[str, Any]) -> bool:
    thinking = asked.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") != "disabled"


def _is_system(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "system"
