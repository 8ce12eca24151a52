"""Which tools of a request the client runs itself, and how the others are taken out of it.

Pure, and the same for every endpoint whose bodies OpenRouter understands as they are (docs/contract.md, "Requests").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from operator import is_
from typing import Any, TypeGuard

#: The type of a tool that groups others (Codex sends one for each MCP server).
NAMESPACE = "namespace"

#: The tools that the client runs itself. All others (`openrouter:*`, `web_search*`, `mcp`, ...) are run by a server.
_CLIENT_TOOLS = frozenset({"function", "custom", "namespace", "local_shell", "tool_search"})
_CLIENT_TOOL_FAMILIES = ("bash_", "text_editor_", "computer_", "memory_")

#: Input items of /responses that bring tools of their own (https://openrouter.ai/openapi.json; the second is OpenAI's).
_BRING_TOOLS = frozenset({"additional_tools", "tool_search_output"})

#: The types of tools that a server runs, by how they begin: OpenRouter's, OpenAI's and Anthropic's.
_SERVER_TOOLS = (
    "openrouter:",
    "web_search",
    "web_fetch",
    "code_execution",
    "code_interpreter",
    "file_search",
    "image_generation",
    "mcp",
    "advisor_",
)

#: Types of a tool choice that are not types of a tool: the Messages API writes its choices like this.
_PLAIN_CHOICES = frozenset({"auto", "any", "none", "required", "tool"})


def is_client_tool(tool: Any) -> bool:
    """Return True for a tool that the client runs: a function, or a form that only describes one."""
    if not _is_object(tool):
        return False
    kind = tool.get("type", "function")
    return isinstance(kind, str) and (kind in _CLIENT_TOOLS or kind.startswith(_CLIENT_TOOL_FAMILIES))


def tools_of(body: Mapping[str, Any]) -> list[Any]:
    """Return all tools of a request: those of its `tools`, and of /responses those that its input items bring."""
    own = body.get("tools")
    tools = own if isinstance(own, list) else []
    brought = [tool for item in _listed(body.get("input")) if brings_tools(item) for tool in _listed(item.get("tools"))]
    return [*tools, *brought] if brought else tools


def brings_tools(item: Any) -> bool:
    """Return True for an input item of /responses that brings tools."""
    if type(item) is not dict:
        return False
    kind = item.get("type")
    return type(kind) is str and kind in _BRING_TOOLS


def with_brought(
    items: list[Any], change: Callable[[list[Any]], list[Any]], brings: Callable[[Any], bool] = brings_tools
) -> list[Any]:
    """Return input items with `change` made to the tools of those that bring any; `items` itself if none does."""
    if not any(map(brings, items)):
        return items
    return [{**item, "tools": change(_listed(item.get("tools")))} if brings(item) else item for item in items]


def keep_tools(body: dict[str, Any], keeps: Callable[[Any], bool]) -> None:
    """Remove the tools of `body` that `keeps` refuses, and a `tool_choice` that names a removed tool or no tool.

    The tools in a namespace are judged one by one, as those outside; a namespace without any is removed. Tools that
    input items bring may be chosen too, and are left as they are.
    """
    given = body.get("tools") or []
    kept = kept_tools(given, keeps)
    brought = tools_of({"input": body.get("input")}) if kept is not given else []
    if given and not kept and brought:
        del body["tools"]
    elif given and not kept:
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(name, None)
        return
    names = None
    if kept is not given:
        if kept:
            body["tools"] = kept
        names = {_name_of(tool) for tool in flat([*kept, *brought]) if _is_object(tool)}
    choice = body.get("tool_choice")
    if _is_object(choice) and not _may_choose(choice, keeps, names):
        del body["tool_choice"]


def kept_tools(given: list[Any], keeps: Callable[[Any], bool]) -> list[Any]:
    """Return the tools that `keeps` accepts, of a namespace those of its tools; `given` itself if that is all."""
    kept = [part for tool in given if (part := _kept(tool, keeps)) is not None]
    return given if len(kept) == len(given) and all(map(is_, kept, given)) else kept


def _kept(tool: Any, keeps: Callable[[Any], bool]) -> Any:
    if not keeps(tool):
        return None
    if tool.get("type") != NAMESPACE:
        return tool
    members = tool.get("tools")
    listed = members if isinstance(members, list) else []
    kept = [member for member in listed if keeps(member) and member.get("type") != NAMESPACE]
    if not kept:
        return None
    return tool if len(kept) == len(listed) else {**tool, "tools": kept}


def flat(tools: list[Any]) -> Iterator[Any]:
    """Yield the tools, and in the place of a namespace the tools in it."""
    for tool in tools:
        members = tool.get("tools") if _is_object(tool) and tool.get("type") == NAMESPACE else None
        if isinstance(members, list):
            yield from members
        else:
            yield tool


def needed_server_tool(body: Mapping[str, Any]) -> str | None:
    """Return the type of the tool that a server must run to answer `body`: the only one there is, or the chosen one.

    None if a model can do something else: it has tools that the client runs, or may not call any.
    """
    listed = [tool for tool in tools_of(body) if _is_object(tool)]
    served = [tool for tool in listed if _is_server_tool(tool)]
    choice = body.get("tool_choice")
    if not served or choice == "none" or (_is_object(choice) and choice.get("type") == "none"):
        return None
    if _is_object(choice):
        for tool in served:
            if _is_chosen(choice, tool):
                return str(tool["type"])
    return None if any(map(is_client_tool, listed)) else str(served[0]["type"])


def _is_server_tool(tool: Mapping[str, Any]) -> bool:
    kind = tool.get("type")
    return isinstance(kind, str) and kind.strip().lower().startswith(_SERVER_TOOLS)


def _is_chosen(choice: Mapping[str, Any], tool: Mapping[str, Any]) -> bool:
    name = _name_of(choice)
    return choice.get("type") == tool["type"] or bool(name and name == _name_of(tool))


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


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
