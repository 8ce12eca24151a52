"""Puts what a persona says into a request of the Ollama API. Pure (docs/contract.md, "Personas in use")."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from ollama_proxy.bodies.personas import led, said_by
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.ollama.request.chat_bodies import ChatRequest, GenerateRequest
from ollama_proxy.ollama.request.messages import Message

Request = TypeVar("Request", ChatRequest, GenerateRequest)


def with_persona(request: Request, persona: Persona) -> Request:
    """Return the request with the persona's parameters under its own, and with the persona's messages and system.

    A request that says nothing goes on saying nothing: it loads a model. A raw prompt stays alone.
    """
    given = {name: value for name, value in request.options.items() if value is not None}
    changes: dict[str, Any] = {"options": {**persona.parameters, **given}}
    own = [Message(said.role, said.text) for said in said_by(persona)]
    if request.is_load:
        pass
    elif isinstance(request, ChatRequest):
        messages = led(own, request.messages, is_system=_is_system)
        if persona.system and not _is_system(request.messages[0]):
            messages.insert(0, Message("system", persona.system))
        changes |= {"messages": messages, "client_messages": request.messages}
    elif not request.raw:
        changes |= {"system": request.system or persona.system, "lead": () if request.context else tuple(own)}
    return replace(request, **changes)


def _is_system(message: Message) -> bool:
    return message.role == "system"
