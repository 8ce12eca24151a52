"""Removes from a passed-through body what chooses another model, and in free mode what costs money.

Pure, and the same for every endpoint whose bodies OpenRouter understands as they are. Where a field can hold many kinds
of values, it allows what is known to be free instead of forbidding what is known to cost. The client's headers never
come here: none of them goes upstream (docs/contract.md, "Requests";
https://openrouter.ai/docs/api-reference/parameters, https://openrouter.ai/docs/features/model-routing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, TypeGuard

from ollama_proxy.catalog.records import Model

#: Fields that name models, or a stored setting that names them.
_CHOOSE_A_MODEL = frozenset({"model", "models", "route", "preset", "fallbacks"})

#: Fields that buy more than the model's own tokens: plugins, searches, images and speech, a faster service.
_COST_MONEY = frozenset(
    {
        "plugins",
        "web_search_options",
        "stop_server_tools_when",
        "service_tier",
        "modalities",
        "image_config",
        "audio",
    }
)

#: The tools that the client runs itself. All others (`openrouter:*`, `web_search*`, `mcp`, ...) are run by a server.
_CLIENT_TOOLS = frozenset({"function", "custom"})
_CLIENT_TOOL_FAMILIES = ("bash_", "text_editor_", "computer_", "memory_")

#: Types of a tool choice that are not types of a tool: the Messages API writes its choices like this.
_PLAIN_CHOICES = frozenset({"auto", "any", "none", "required", "tool"})

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
    tools that a server runs, searches, outputs other than text and service tiers are removed, files are read by the
    free parser, and `provider.max_price` is zero; other provider preferences stay. Field names match without case and
    without white space around them. `body` itself is not changed.
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
    keep_tools(safe, is_client_tool)
    provider = safe.get("provider")
    kept = {key: value for key, value in provider.items() if not _is(key, "max_price")} if _is_object(provider) else {}
    safe["provider"] = {**kept, "max_price": dict(_NOTHING)}
    if _has_file(safe.get("messages")) or _has_file(safe.get("input")):
        safe["plugins"] = [_FREE_PARSER]
    return safe


def is_client_tool(tool: Any) -> bool:
    """Return True for a tool that the client runs: a function, or a form that only describes one."""
    if not _is_object(tool):
        return False
    kind = tool.get("type", "function")
    return isinstance(kind, str) and (kind in _CLIENT_TOOLS or kind.startswith(_CLIENT_TOOL_FAMILIES))


def keep_tools(body: dict[str, Any], keeps: Callable[[Any], bool]) -> None:
    """Remove the tools of `body` that `keeps` refuses, and a `tool_choice` that names a removed tool or no tool."""
    given = body.get("tools") or []
    kept = [tool for tool in given if keeps(tool)]
    if given and not kept:
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(name, None)
        return
    names = None
    if len(kept) < len(given):
        body["tools"] = kept
        names = {_name_of(tool) for tool in kept}
    choice = body.get("tool_choice")
    if _is_object(choice) and not _may_choose(choice, keeps, names):
        del body["tool_choice"]


def _may_choose(choice: Mapping[str, Any], keeps: Callable[[Any], bool], names: Set[str] | None) -> bool:
    """Return True if `keeps` accepts the type of the choice and, where tools were removed, it names one that stayed."""
    if choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools")
        tools = inner.get("tools") if _is_object(inner) else choice.get("tools")
        return isinstance(tools, list) and all(
            _is_object(tool) and _may_be_chosen(tool, keeps, names) for tool in tools
        )
    return _may_be_chosen(choice, keeps, names)


def _may_be_chosen(choice: Mapping[str, Any], keeps: Callable[[Any], bool], names: Set[str] | None) -> bool:
    name, kind = _name_of(choice), choice.get("type")
    if name and names is not None and name not in names:
        return False
    return (isinstance(kind, str) and kind in _PLAIN_CHOICES) or keeps(choice)


def _name_of(tool: Mapping[str, Any]) -> str:
    """Return the name of a tool or of a choice: its own, or that of the function in it."""
    kind = tool.get("type", "function")
    inner = tool.get(kind) if isinstance(kind, str) else None
    name = (inner if _is_object(inner) else tool).get("name")
    return name if isinstance(name, str) else ""


def _has_file(value: Any) -> bool:
    """Return True if there is a file anywhere in messages, input items, their contents or tool results."""
    left = [value]  # no recursion: the client decides how deep a body is nested
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif _is_object(one):
            kind = one.get("type")
            if isinstance(kind, str) and kind in _FILE_PARTS:
                return True
            left += (one.get("content"), one.get("output"))
    return False


def _is(key: str, name: str) -> bool:
    return key.strip().lower() == name


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
