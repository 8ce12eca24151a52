"""Removes tools from a request that OpenRouter would refuse, or that would cost money.

Agents send tools of every kind to every server, and accept that some are missing. Pure. The types are those of
OpenRouter's published documents (https://openrouter.ai/openapi.json).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ollama_proxy.bodies.client_tools import keep_tools, kept_tools, with_brought

Known = Callable[[str], bool]

#: Tools of /responses that the client runs itself. `tool_search` is rewritten before it goes up (`tool_forms.py`).
_CLIENT_RUN = frozenset({"function", "custom", "namespace", "local_shell", "tool_search"})

#: Tools of /responses that OpenRouter or a provider runs.
_SERVER_RUN = frozenset(
    {
        "apply_patch",
        "code_interpreter",
        "computer_use_preview",
        "file_search",
        "image_generation",
        "mcp",
        "shell",
    }
)


def only_functions(kind: str) -> bool:
    """Return True for the tools of /chat/completions in free mode: functions, which the client runs itself."""
    return kind == "function"


def chat_tools(kind: str) -> bool:
    """Return True for the tools of /chat/completions: functions and the tools that OpenRouter runs."""
    return kind == "function" or kind.startswith("openrouter:")


def client_response_tools(kind: str) -> bool:
    """Return True for the tools of /responses in free mode: those that the client runs itself."""
    return kind in _CLIENT_RUN


def response_tools(kind: str) -> bool:
    """Return True for the tools of /responses."""
    return kind in _CLIENT_RUN or kind in _SERVER_RUN or kind.startswith(("openrouter:", "web_search"))


def keep_known_tools(body: dict[str, Any], known: Known) -> None:
    """Remove the tools of unknown types, those in namespaces and input items too, and what chooses a removed one.

    If no tool is left, nothing about tools is.
    """

    def is_known(tool: Any) -> bool:
        kind = tool.get("type", "function") if isinstance(tool, Mapping) else None
        return isinstance(kind, str) and known(kind)

    items = body.get("input")
    if isinstance(items, list):
        body["input"] = with_brought(items, lambda tools: kept_tools(tools, is_known))
    if body.get("tools"):
        keep_tools(body, is_known)
