"""Puts what a persona says into a request of the OpenAI API: into messages, instructions or input, and into fields.

Pure: a request and a persona in, a new request out. The request's own fields go first (docs/contract.md, "Personas in
use").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ollama_proxy.bodies.personas import Defaults, defaults_of, led, said_by
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.openai import needs
from ollama_proxy.openai.request import PassedRequest

Json = dict[str, Any]

_SYSTEM = ("system", "developer")
_LIMITS = ("max_tokens", "max_completion_tokens")

#: Parameters that /responses has, and their names there.
_OF_RESPONSES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_tokens": "max_output_tokens",
}


def chat_with(asked: PassedRequest, persona: Persona) -> PassedRequest:
    """Return a request of /chat/completions with what the persona says. Raises BadRequest for its parameters."""
    messages = asked.body["messages"]
    found: list[Any] = led([_message(*said) for said in said_by(persona)], messages, is_system=_is_system)
    if persona.system and not (messages and _is_system(messages[0])):
        found.insert(0, _message("system", persona.system))
    return _sampled(replace(asked, body={**asked.body, "messages": found}), defaults_of(persona), needs.chat_needs)


def completion_with(asked: PassedRequest, persona: Persona) -> PassedRequest:
    """Return a request of /completions with the persona's parameters: a bare prompt has no system and no messages."""
    return _sampled(asked, defaults_of(persona), needs.completion_needs)


def response_with(asked: PassedRequest, persona: Persona) -> PassedRequest:
    """Return a request of /responses with what the persona says, its stop strings left out: there are none there."""
    fields = defaults_of(persona).fields
    body = {_OF_RESPONSES[name]: value for name, value in fields.items() if name in _OF_RESPONSES} | asked.body
    given = body.get("input")
    # With a stored `prompt` there need be no input.
    items = given if isinstance(given, list) else [] if given is None else [_message("user", given)]
    if persona.system and not body.get("instructions") and not (items and _is_system(items[0])):
        body["instructions"] = persona.system
    if own := [_item(place, *said) for place, said in enumerate(said_by(persona))]:
        body["input"] = led(own, items, is_system=_is_system)
    return replace(asked, body=body, needs=needs.responses_needs(body))


def _sampled(asked: PassedRequest, defaults: Defaults, needs_of: Callable[[Json], Any]) -> PassedRequest:
    """Return the request with the fields that it does not have itself, and with its needs found anew."""
    fields = defaults.fields
    if any(name in asked.body for name in _LIMITS):
        fields = {name: value for name, value in fields.items() if name not in _LIMITS}
    body = fields | asked.body
    return replace(asked, body=body, needs=needs_of(body), stops=asked.stops or defaults.stops)


def _message(role: str, text: Any) -> Json:
    return {"role": role, "content": text}


def _item(place: int, role: str, text: str) -> Json:
    """Return an input item; the assistant's need an id (https://openrouter.ai/openapi.json, OutputMessage)."""
    item = {"type": "message", **_message(role, text)}
    return item | {"id": f"msg_persona_{place}", "status": "completed"} if role == "assistant" else item


def _is_system(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") in _SYSTEM
