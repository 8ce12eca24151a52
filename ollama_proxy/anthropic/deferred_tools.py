"""Tools that are loaded when they are needed: only Claude knows them. For other models all are loaded at once.

Claude Code marks tools with `defer_loading` and gets `tool_reference` blocks as the result of its search for tools
(https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/tool-search-tool). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

#: The tools with which Anthropic's own server searches, and what they leave in a history.
_SEARCH = "tool_search_tool_"
_REFERENCES = frozenset({"tool_reference", "tool_addition", "tool_removal", "tool_search_tool_result"})
_WORDS = (b"defer_loading", b"tool_reference", b"tool_search_tool_", b"tool_addition", b"tool_removal")


def may_defer(data: bytes) -> bool:
    """Tell whether there may be something to do for `load_at_once` in a request, from its bytes: it is mostly not."""
    return any(word in data for word in _WORDS)


def load_at_once(body: Json) -> None:
    """Take the marks off the tools of the body, and put references to tools in its messages into words."""
    tools = body.get("tools")
    if isinstance(tools, list) and any(map(_is_deferral, tools)):
        kept = [tool for tool in tools if not _is_search(tool)]
        body["tools"] = [_without_mark(tool) for tool in kept]
        if not kept:
            for name in ("tools", "tool_choice"):
                body.pop(name, None)
    messages = body.get("messages")
    if isinstance(messages, list) and any(map(_has_references, messages)):
        body["messages"] = [_message(message) if _has_references(message) else message for message in messages]


def _is_deferral(tool: Any) -> bool:
    return isinstance(tool, dict) and ("defer_loading" in tool or _is_search(tool))


def _is_search(tool: Any) -> bool:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return isinstance(kind, str) and kind.startswith(_SEARCH)


def _without_mark(tool: Any) -> Any:
    return {name: value for name, value in tool.items() if name != "defer_loading"} if isinstance(tool, dict) else tool


def _has_references(message: Any) -> bool:
    return any(_refers(block) or any(map(_refers, _inner(block))) for block in _inner(message))


def _inner(holder: Any) -> list[Any]:
    content = holder.get("content") if isinstance(holder, dict) else None
    return content if isinstance(content, list) else []


def _refers(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    if kind == "server_tool_use":
        name = block.get("name")
        return isinstance(name, str) and name.startswith(_SEARCH)
    return isinstance(kind, str) and kind in _REFERENCES


def _message(message: Json) -> Json:
    return {**message, "content": [_block(block) for block in message["content"]]}


def _block(block: Any) -> Any:
    if _refers(block):
        return _in_words(block)
    inner = _inner(block)
    if not any(map(_refers, inner)):
        return block
    return {**block, "content": [_in_words(part) if _refers(part) else part for part in inner]}


def _in_words(block: Mapping[str, Any]) -> Json:
    names = ", ".join(_names(block)) or "unknown"
    match block["type"]:
        case "server_tool_use":
            text = "(Tools were searched for.)"
        case "tool_removal":
            text = f"The tool {names} must not be called any more."
        case _:
            text = f"Found, and can be called now: {names}"
    return {"type": "text", "text": text}


def _names(block: Mapping[str, Any]) -> list[str]:
    """Return the names of the tools that a block refers to: its own, or those of the references in it."""
    inside = [block, block.get("tool"), *_inner(block)]
    if isinstance(content := block.get("content"), dict):
        listed = content.get("tool_references")
        inside += listed if isinstance(listed, list) else []
    given = [
        one.get("tool_name") or one.get("name") or one.get("server_name") for one in inside if isinstance(one, dict)
    ]
    return [name for name in given if isinstance(name, str)]
