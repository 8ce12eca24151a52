"""Tools that OpenRouter would refuse, or that would cost money, are left out of a request.

Agents send tools of every kind to every server and live with what the model is given. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Known = Callable[[str], bool]


def only_functions(kind: str) -> bool:
    """Free mode: functions, which the client runs itself."""
    return kind == "function"


def chat_tools(kind: str) -> bool:
    """/chat/completions: functions and the tools that OpenRouter runs."""
    return kind == "function" or kind.startswith("openrouter:")


def response_tools(kind: str) -> bool:
    """/responses: these, and OpenAI's web search."""
    return chat_tools(kind) or kind.startswith("web_search")


def keep_known_tools(body: dict[str, Any], known: Known) -> None:
    """Leave out the tools of unknown types, and all that is about tools where none is left."""
    tools = body.get("tools")
    if not isinstance(tools, list):
        return
    kept = [tool for tool in tools if isinstance(tool, Mapping) and known(_kind(tool))]
    if len(kept) == len(tools):
        return
    body["tools"] = kept
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping) and not known(_kind(choice)):
        del body["tool_choice"]
    if not kept:
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(name, None)


def _kind(tool: Mapping[str, Any]) -> str:
    kind = tool.get("type", "function")
    return kind if isinstance(kind, str) else ""
