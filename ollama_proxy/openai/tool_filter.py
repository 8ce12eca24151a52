"""Removes tools from a request that OpenRouter would refuse, or that would cost money.

Agents send tools of every kind to every server, and accept that some are missing. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ollama_proxy.bodies.client_tools import keep_tools

Known = Callable[[str], bool]


def only_functions(kind: str) -> bool:
    """Return True for the tools of free mode: functions, which the client runs itself."""
    return kind == "function"


def chat_tools(kind: str) -> bool:
    """Return True for the tools of /chat/completions: functions and the tools that OpenRouter runs."""
    return kind == "function" or kind.startswith("openrouter:")


def response_tools(kind: str) -> bool:
    """Return True for the tools of /responses: those of /chat/completions, and OpenAI's web search."""
    return chat_tools(kind) or kind.startswith("web_search")


def keep_known_tools(body: dict[str, Any], known: Known) -> None:
    """Remove the tools of unknown types, and everything about tools if none is left."""

    def is_known(tool: Any) -> bool:
        kind = tool.get("type", "function") if isinstance(tool, Mapping) else None
        return isinstance(kind, str) and known(kind)

    if not all(map(is_known, body.get("tools") or [])):
        keep_tools(body, is_known)
