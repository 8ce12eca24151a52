"""Translates Ollama's `think` to OpenRouter's `reasoning`.

Whether a model can think is checked later, when the model is known (docs/contract.md, "Requests").
"""

from __future__ import annotations

from typing import Any

from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.text import quote

_LEVELS = frozenset({"low", "medium", "high", "max"})
_SPELLED = {"true": True, "false": False}


def read_think(value: Any) -> bool | str:
    """Return a boolean or one of the four levels; the strings `true` and `false`, which some clients send, are
    booleans.

    Raises BadRequest with Ollama's text for anything else.
    """
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise BadRequest('think must be a boolean or string ("high", "medium", "low", "max", true, or false)')
    if value in _LEVELS:
        return value
    if value in _SPELLED:
        return _SPELLED[value]
    raise BadRequest(
        f'invalid think value: {quote(value)} (must be "high", "medium", "low", "max", true, or false)',
    )


def reasoning(think: bool | str | None) -> dict[str, Any] | None:
    """Return OpenRouter's `reasoning` for a `think` value.

    None if the client said nothing: the model then does what it does by default.
    """
    if think is None:
        return None
    if think is True:
        return {"enabled": True}
    return {"effort": think or "none"}
