"""Which tools of a request the client runs itself, and how the others are taken out of it.

Pure, and the same for every endpoint whose bodies OpenRouter understands as they are (docs/contract.md, "Requests").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, TypeGuard

#: The tools that the client runs itself. All others (`openrouter:*`, `web_search*`, `mcp`, ...) are run by a server.
_CLIENT_TOOLS = frozenset({"function", "custom"})
_CLIENT_TOOL_FAMILIES = ("bash_", "text_editor_", "computer_", "memory_")

#: Types of a tool choice that are not types of a tool: the Messages API writes its choices like this.
_PLAIN_CHOICES = frozenset({"auto", "any", "none", "required", "tool"})


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


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
