"""Removes from a passed-through body what chooses another model, and in free mode what costs money.

Pure, and the same for every endpoint whose bodies OpenRouter understands as they are. Where a field can hold many kinds
of values, it allows what is known to be free instead of forbidding what is known to cost. The client's headers never
come here: none of them goes upstream (docs/contract.md, "Requests";
https://openrouter.ai/docs/api-reference/parameters, https://openrouter.ai/docs/features/model-routing).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from ollama_proxy.bodies.client_tools import is_client_tool, keep_tools, kept_tools, with_brought
from ollama_proxy.catalog.records import Model

#: Fields that name models, or a stored setting that names them.
_CHOOSE_A_MODEL = frozenset({"model", "models", "route", "preset", "fallbacks"})

#: Fields that buy more than the model's own tokens: plugins, searches, images and speech, a faster service, guessed
#: tokens (those that are wrong are paid for), answers that go on being written when nobody waits.
_COST_MONEY = frozenset(
    {
        "plugins",
        "web_search_options",
        "stop_server_tools_when",
        "service_tier",
        "modalities",
        "image_config",
        "audio",
        "speed",
        "prediction",
        "background",
    }
)

#: Fields whose values are checked in free mode.
_LOOKED_AT = frozenset({"tools", "tool_choice", "provider", "messages", "input"})

#: Parts of a message that OpenRouter sends to a parser. For most models the default parser bills by the page.
_FILE_PARTS = frozenset({"file", "input_file", "document"})
_FREE_PARSER = {"id": "file-parser", "pdf": {"engine": "cloudflare-ai"}}

#: Prices are strings in OpenRouter's published types (https://openrouter.ai/openapi.json).
_NOTHING = {"prompt": "0", "completion": "0"}


def guarded(body: Mapping[str, Any], model: Model, *, free_mode: bool) -> dict[str, Any]:
    """Return `body` for `model` and no other; in free mode nothing in it can make the request cost money.

    Always: `model` is set, and `models`, `route`, `preset` and `fallbacks` are removed. In free mode also: plugins,
    tools that a server runs, searches, outputs other than text, a faster service, predictions and background answers
    are removed, files are read by the free parser, and `provider.max_price` is zero; other provider preferences stay.
    Field names match without case and without white space around them. `body` itself is not changed.
    """
    refused = _CHOOSE_A_MODEL | _COST_MONEY if free_mode else _CHOOSE_A_MODEL
    safe: dict[str, Any] = {"model": model.id}
    safe |= {key: value for key, value in body.items() if key.strip().lower() not in refused}
    if not free_mode:
        return safe
    for key in [key for key in safe if key not in _LOOKED_AT and key.strip().lower() in _LOOKED_AT]:
        del safe[key]  # the checks below read the exact name only, but upstream may accept this spelling
    if not isinstance(safe.get("tools") or [], list):
        del safe["tools"]
    if isinstance(safe.get("input"), list):
        safe["input"] = with_brought(safe["input"], _client_tools, _has_tools)
    if "tools" in safe or "tool_choice" in safe:
        keep_tools(safe, is_client_tool)
    provider = safe.get("provider")
    kept = {key: value for key, value in provider.items() if not _is(key, "max_price")} if _is_object(provider) else {}
    safe["provider"] = {**kept, "max_price": dict(_NOTHING)}
    if _holds_a_file(safe.get("messages")) or _holds_a_file(safe.get("input")):
        safe["plugins"] = [_FREE_PARSER]
    return safe


def _has_tools(item: Any) -> bool:
    """Return True for an input item with tools, whatever its type: what upstream makes of it is not known here."""
    return type(item) is dict and "tools" in item


def _client_tools(tools: list[Any]) -> list[Any]:
    return kept_tools(tools, is_client_tool)


def _holds_a_file(value: Any) -> bool:
    """Return True if a file is anywhere in messages, input items, their contents or tool results."""
    left = [value]  # no recursion: the client decides how deep a body is nested
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif _is_object(one):
            kind = one.get("type")
            if isinstance(kind, str) and kind in _FILE_PARTS:
                return True
            left += [inner for inner in (one.get("content"), one.get("output")) if isinstance(inner, list | Mapping)]
    return False


def _is(key: str, name: str) -> bool:
    return key.strip().lower() == name


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
