"""Repairs a Messages request: what Ollama takes there and OpenRouter refuses.

JSON in, JSON out; messages that need no repair come out as the same objects (docs/contract.md, "Bodies that are passed
through"; https://docs.anthropic.com/en/api/messages).
"""

from __future__ import annotations

from operator import is_not
from typing import Any

from ollama_proxy.bodies.image_types import image_type
from ollama_proxy.bodies.nulls import without_nulls
from ollama_proxy.bodies.sampling import put_in_range, stops_of
from ollama_proxy.bodies.tool_history import Named, pair

Json = dict[str, Any]

_ROLES = ("user", "assistant", "system")


def repaired(asked: Json, *, has_nulls: bool) -> Json:
    """Return the request as OpenRouter accepts it. `asked` is checked; `has_nulls` says that there may be nulls in it.

    Raises BadRequest for more stop strings than any request has.
    """
    body = asked
    if has_nulls:
        # Messages are looked at one by one below.
        body = {
            name: value if name == "messages" else without_nulls(value)
            for name, value in asked.items()
            if value is not None
        }
    put_in_range(body)
    if "stop_sequences" in body:
        body["stop_sequences"] = stops_of(body["stop_sequences"])
        if not body["stop_sequences"]:
            del body["stop_sequences"]
    if isinstance(body.get("tools"), list):
        body["tools"] = [_tool(tool) for tool in body["tools"] if tool is not None]
    messages = body["messages"]
    if has_nulls or not all(map(_fits, messages)):
        body["messages"] = _with_result_ids([_message(message) for message in messages if message is not None])
    return body


def _fits(message: Json) -> bool:
    """Tell whether a message without nulls needs no repair, as most do not."""
    content = message.get("content")
    if message.get("role") not in _ROLES:
        return False
    return type(content) is str or (type(content) is list and all(map(_block_fits, content)))


def _block_fits(block: Any) -> bool:
    if type(block) is not dict:
        return False
    if block.get("type") == "tool_result":
        content = block.get("content", "")
        fits = type(content) is str or (type(content) is list and all(map(_inner_fits, content)))
        return fits and type(block.get("tool_use_id")) is str
    return block.get("type") != "image"


def _inner_fits(part: Any) -> bool:
    return type(part) is dict and part.get("type") != "image"


def _tool(tool: Any) -> Any:
    """Return a tool with a schema of its input, if it is one that the client runs."""
    if not isinstance(tool, dict) or "input_schema" in tool or tool.get("type", "custom") != "custom":
        return tool
    return {**tool, "input_schema": {"type": "object", "properties": {}}}


def _message(message: Json) -> Json:
    role, content = message.get("role"), message.get("content")
    if None in message.values():
        message = {name: value for name, value in message.items() if value is not None}
    if role not in _ROLES:
        lower = role.lower() if isinstance(role, str) else ""
        message = {**message, "role": lower if lower in _ROLES else "user"}
    if content is None:
        return {**message, "content": ""}
    return _with_blocks(message, content) if isinstance(content, list) else message


def _with_blocks(holder: Json, blocks: list[Any]) -> Json:
    fixed = [_block(block) for block in blocks if block is not None]
    changed = len(fixed) != len(blocks) or any(map(is_not, fixed, blocks))
    return {**holder, "content": fixed} if changed else holder


def _block(block: Any) -> Any:
    if not isinstance(block, dict):
        return block
    if None in block.values() and block.get("type") != "compaction":  # there null is a value
        block = {name: value for name, value in block.items() if value is not None}
    match block.get("type"):
        case "image":
            return _image(block)
        case "tool_result" if isinstance(block.get("content"), list):
            fixed = [_inner(part) for part in block["content"] if part is not None]
            changed = len(fixed) != len(block["content"]) or any(map(is_not, fixed, block["content"]))
            return {**block, "content": fixed} if changed else block
    return block


def _inner(part: Any) -> Any:
    """Return a part of a tool's result; it holds no further parts."""
    if isinstance(part, dict) and None in part.values():
        part = {name: value for name, value in part.items() if value is not None}
    return _image(part) if isinstance(part, dict) and part.get("type") == "image" else part


def _image(block: Json) -> Json:
    """Return an image with the type of its bytes, since a provider refuses another one."""
    source = block.get("source")
    if not isinstance(source, dict) or source.get("type") != "base64" or not isinstance(source.get("data"), str):
        return block
    true = image_type(source["data"])
    return (
        block
        if true is None or source.get("media_type") == true
        else {**block, "source": {**source, "media_type": true}}
    )


def _with_result_ids(messages: list[Json]) -> list[Json]:
    """Give each tool result without an id that of the call before it: by order among those that are left."""
    fixed = list(messages)
    for place, message in enumerate(messages):
        blocks = message.get("content")
        if not place or not isinstance(blocks, list) or not any(map(_lacks_id, blocks)):
            continue
        before = messages[place - 1].get("content")
        made = before if isinstance(before, list) else []
        calls = [Named(_text(block, "id"), "") for block in made if _is(block, "tool_use")]
        results = [number for number, block in enumerate(blocks) if _is(block, "tool_result")]
        paired, _ = pair(calls, [Named(_text(blocks[number], "tool_use_id"), "") for number in results])
        changed = list(blocks)
        for call, result in paired.items():
            changed[results[result]] = {**blocks[results[result]], "tool_use_id": calls[call].id}
        fixed[place] = {**message, "content": changed}
    return fixed


def _lacks_id(block: Any) -> bool:
    return _is(block, "tool_result") and not _text(block, "tool_use_id")


def _is(block: Any, kind: str) -> bool:
    return isinstance(block, dict) and block.get("type") == kind


def _text(block: Json, name: str) -> str:
    value = block.get(name)
    return value if isinstance(value, str) else ""
