"""What a body that is passed through may not bring along: another model, and in free mode anything that costs money.

Pure. It is the same for every endpoint whose bodies OpenRouter understands as they are, and works by allowing what is
known to be free, not by naming all that is not, wherever a field has values of many kinds. The client's headers never
come here: none of them goes upstream (docs/contract.md, "Requests"; https://openrouter.ai/docs/api-reference/parameters,
https://openrouter.ai/docs/features/model-routing).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from ollama_proxy.catalog.records import Model

#: Fields that name models, or a stored setting that does.
_CHOOSE_A_MODEL = frozenset({"model", "models", "route", "preset", "fallbacks"})

#: Fields that buy something beside the model's own tokens: plugins, searches, images and speech, a faster service.
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

#: The tools that the client itself runs. All others (`openrouter:*`, `web_search*`, `mcp`, ...) are run by a server.
_CLIENT_TOOLS = frozenset({"function", "custom"})
_CLIENT_TOOL_FAMILIES = ("bash_", "text_editor_", "computer_", "memory_")

#: A tool choice that is an object and no function's name: Messages spells the plain ones like that.
_PLAIN_CHOICES = frozenset({"auto", "any", "none", "required", "tool"})

#: Fields whose values are looked at in free mode.
_LOOKED_AT = frozenset({"tools", "tool_choice", "provider", "messages", "input"})

#: Parts of a message that OpenRouter has parsed: by default, for most models, by a service that bills by the page.
_FILE_PARTS = frozenset({"file", "input_file", "document"})
_FREE_PARSER = {"id": "file-parser", "pdf": {"engine": "cloudflare-ai"}}

_NOTHING = {"prompt": 0, "completion": 0}


def guarded(body: Mapping[str, Any], model: Model, *, free_mode: bool) -> dict[str, Any]:
    """`body` for `model` and no other; in free mode such that nothing in it can make the request cost money.

    Always: `model` is set, and `models`, `route`, `preset` and `fallbacks` are gone. In free mode also: plugins, tools
    that a server runs, searches, outputs other than text and service tiers are gone, files are read by the parser that
    is free, and `provider.max_price` is zero, other provider preferences staying as they are. Case and white space
    around a field's name do not save it. `body` itself is left alone.
    """
    refused = _CHOOSE_A_MODEL | _COST_MONEY if free_mode else _CHOOSE_A_MODEL
    safe: dict[str, Any] = {"model": model.id}
    safe |= {key: value for key, value in body.items() if key.strip().lower() not in refused}
    if not free_mode:
        return safe
    for key in [key for key in safe if key not in _LOOKED_AT and key.strip().lower() in _LOOKED_AT]:
        del safe[key]  # whoever reads it upstream may be less exact than the checks below
    _keep_client_tools(safe)
    provider = safe.get("provider")
    kept = {key: value for key, value in provider.items() if not _is(key, "max_price")} if _is_object(provider) else {}
    safe["provider"] = {**kept, "max_price": dict(_NOTHING)}
    if _has_file(safe.get("messages")) or _has_file(safe.get("input")):
        safe["plugins"] = [_FREE_PARSER]
    return safe


def is_client_tool(tool: Any) -> bool:
    """True for a tool that the client runs: a function, or one of the forms that only describe one."""
    if not _is_object(tool):
        return False
    kind = tool.get("type", "function")
    return isinstance(kind, str) and (kind in _CLIENT_TOOLS or kind.startswith(_CLIENT_TOOL_FAMILIES))


def _keep_client_tools(safe: dict[str, Any]) -> None:
    """Drop the tools that a server runs, and a choice of one of them."""
    if isinstance(tools := safe.get("tools"), list):
        kept = [tool for tool in tools if is_client_tool(tool)]
        if not kept and tools:
            for name in ("tools", "tool_choice", "parallel_tool_calls"):
                safe.pop(name, None)
            return
        safe["tools"] = kept
    elif "tools" in safe and tools is not None:
        del safe["tools"]
    choice = safe.get("tool_choice")
    if _is_object(choice) and not _chooses_client_tools(choice):
        del safe["tool_choice"]


def _chooses_client_tools(choice: Mapping[str, Any]) -> bool:
    if choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools")
        tools = inner.get("tools") if _is_object(inner) else choice.get("tools")
        return isinstance(tools, list) and all(is_client_tool(tool) for tool in tools)
    return choice.get("type") in _PLAIN_CHOICES or is_client_tool(choice)


def _has_file(value: Any) -> bool:
    """True if a file lies anywhere in messages, input items, their contents or tool results."""
    left = [value]  # no recursion: how deep a body is nested is the client's choice
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
