"""Answers for Messages requests that need a tool which a server runs, where none may be run: no model is asked.

A model that is asked to search without a search makes results up, and Claude Code shows them as results. It gets the
error that Anthropic's own server gives when a search fails, and the reason in words
(https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool#errors). Pure.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ollama_proxy.bodies.server_tools import query_of, refusal

Json = dict[str, Any]

#: How the type of a tool begins: the name under which it is called.
_CALLED = {
    "web_search": "web_search",
    "openrouter:web_search": "web_search",
    "web_fetch": "web_fetch",
    "openrouter:web_fetch": "web_fetch",
    "code_execution": "code_execution",
}


def message(asked: Mapping[str, Any], kind: str) -> Json:
    """Return the whole message for a request that needs a tool of the type `kind`."""
    name = next((called for start, called in _CALLED.items() if kind.strip().lower().startswith(start)), None)
    used = [] if name is None else _failed_use(name, asked)
    return {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": [*used, {"type": "text", "text": refusal(kind)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _failed_use(name: str, asked: Mapping[str, Any]) -> list[Json]:
    use_id = f"srvtoolu_{secrets.token_hex(12)}"
    query = query_of(_last_text(asked["messages"]))
    given = {"query": query} if name == "web_search" else {}
    error = {"type": f"{name}_tool_result_error", "error_code": "unavailable"}
    return [
        {"type": "server_tool_use", "id": use_id, "name": name, "input": given},
        {"type": f"{name}_tool_result", "tool_use_id": use_id, "content": error},
    ]


def _last_text(messages: list[Any]) -> str:
    """Return the text of the user's last message."""
    content = next((one.get("content") for one in reversed(messages) if one.get("role") == "user"), "")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (block.get("text") for block in content if isinstance(block, dict) and block.get("type") == "text")
    return "\n".join(text for text in texts if isinstance(text, str))
