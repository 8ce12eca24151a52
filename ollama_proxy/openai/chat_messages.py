"""Repairs the messages and tools of /chat/completions: what Ollama takes there and OpenRouter refuses.

JSON in, JSON out; what needs no repair comes out as the same object. Every agent's turn brings hundreds of messages, so
the common ones are passed over at once (docs/contract.md, "Bodies that are passed through").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ollama_proxy.bodies.image_types import with_true_type
from ollama_proxy.bodies.nulls import without_nulls
from ollama_proxy.bodies.tool_history import Named, ToolHistory
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.gojson.text import kind, wrong_type

Json = dict[str, Any]

#: Roles as OpenRouter names them; all others are the user's, as in Ollama's own API.
_ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_PLAIN_ROLES = ("user", "assistant", "system", "developer")

#: An assistant's message without content must have one of these instead.
_INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "reasoning", "reasoning_details", "refusal", "audio", "images")
#: The fields of an assistant's message that are put together where several messages become one.
_JOINED = ("content", "tool_calls", "reasoning", "reasoning_content", "reasoning_details", "refusal", "images")
_GO_KINDS = {"number": "float64", "bool": "bool", "object": "map[string]interface {}"}


def repaired_messages(messages: list[Any]) -> list[Any]:
    """Return the messages as OpenRouter accepts them. Raises BadRequest for a `content` of a wrong type.

    Roles are in small letters, images are objects with the type of their bytes, nulls are gone, and each call is
    followed by its result, with one id.
    """
    repaired = [message if _fits(message) else _message(message) for message in messages]
    return repaired if _is_sound(repaired) else _HISTORY.repair(repaired)


def _fits(message: Any) -> bool:
    """Tell whether a message needs no repair but perhaps of its ids, as nearly all do not."""
    if type(message) is not dict:
        return False
    content, role = message.get("content"), message.get("role")
    if type(content) is str:
        if len(message) == 2:
            return role in _PLAIN_ROLES
    elif type(content) is list:
        if not all(map(_is_text, content)):
            return False
    elif content is not None or role != "assistant" or not message.get("tool_calls"):
        return False
    if list(message.values()).count(None) > (content is None):
        return False
    calls = message.get("tool_calls")
    if calls is None:
        return role == "tool" or role in _PLAIN_ROLES
    return role == "assistant" and type(calls) is list and bool(calls) and all(map(_is_call, calls))


def _is_text(part: Any) -> bool:
    return (
        type(part) is dict
        and part.get("type") == "text"
        and type(part.get("text")) is str
        and None not in part.values()
    )


def _is_call(call: Any) -> bool:
    if type(call) is not dict or call.get("type") != "function" or None in call.values():
        return False
    function = call.get("function")
    return type(function) is dict and type(function.get("arguments")) is str and bool(function["arguments"])


def _message(message: Any) -> Json:
    if message is None:
        return {"role": "user", "content": ""}
    if not isinstance(message, dict):
        raise wrong_type(message, "ChatCompletionRequest.messages", "openai.Message")
    content = message.get("content")
    if content is not None and not isinstance(content, str | list):
        raise BadRequest(f"invalid message content type: {_GO_KINDS[kind(content)]}")
    fixed = {name: value for name, value in message.items() if value is not None}
    calls = fixed.get("tool_calls")
    if calls is not None:
        listed = calls if isinstance(calls, list) else []
        fixed["tool_calls"] = calls = [_call(call) for call in listed if isinstance(call, dict)]
        if not calls:
            del fixed["tool_calls"]
    if content is None:
        if not any(fixed.get(name) for name in _INSTEAD_OF_CONTENT):
            raise BadRequest("invalid message content type: <nil>")
        fixed["content"] = None if calls else ""
    elif type(content) is list:
        fixed["content"] = [_part(part) for part in content if part is not None]
    role = fixed.get("role")
    fixed["role"] = "assistant" if calls else _ROLES.get(role.lower(), "user") if isinstance(role, str) else "user"
    return fixed


def _part(part: Any) -> Any:
    """Return a part of a content: texts and images get a type, images are objects with the type of their bytes."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise BadRequest("invalid message format")
    part = without_nulls(part)
    image = part.get("image_url")
    if image is not None and part.get("type", "image_url") == "image_url":
        given = {"url": image} if isinstance(image, str) else image
        url = given.get("url") if isinstance(given, dict) else None
        if isinstance(url, str):
            return {**part, "type": "image_url", "image_url": {**given, "url": with_true_type(url)}}
    if "type" not in part and "text" in part:
        return {**part, "type": "text"}
    return part


def _call(call: Json) -> Json:
    """Return a call with a type and with arguments that are text."""
    function = call.get("function")
    if not isinstance(function, dict):
        return {name: value for name, value in call.items() if value is not None}
    arguments = function.get("arguments")
    if isinstance(arguments, str) and arguments and call.get("type") == "function" and None not in call.values():
        return call
    text = arguments if isinstance(arguments, str) else encode_body(arguments or {}).decode()
    kept = {name: value for name, value in call.items() if value is not None}
    return {**kept, "type": "function", "function": {**function, "arguments": text or "{}"}}


# The history


class _ChatTurns:
    """How these messages hold calls and results: see `bodies.tool_history.Form`."""

    def calls(self, message: Any) -> Sequence[Named]:
        return [_named(call) for call in message.get("tool_calls") or ()]

    def result(self, message: Any) -> Named | None:
        if message["role"] != "tool":
            return None
        return Named(_text(message.get("tool_call_id")), _text(message.get("name") or message.get("tool_name")))

    def is_assistant(self, message: Any) -> bool:
        return bool(message["role"] == "assistant")

    def is_user(self, message: Any) -> bool:
        return bool(message["role"] == "user")

    def joined(self, callers: Sequence[Any]) -> Any:
        whole: Json = {}
        for caller in callers:
            whole = {**caller, **whole}  # of a field that cannot be joined the first counts
        for name in _JOINED:
            if given := [value for caller in callers if (value := caller.get(name))]:
                whole[name] = _joined(given)
        whole["content"] = whole.get("content")
        return whole

    def with_ids(self, caller: Any, ids: Sequence[str]) -> Any:
        calls = [{**call, "id": call_id} for call, call_id in zip(caller["tool_calls"], ids, strict=True)]
        return {**caller, "tool_calls": calls}

    def answering(self, result: Any, call: Named) -> Any:
        return {**result, "role": "tool", "tool_call_id": call.id}

    def placeholder(self, text: str) -> Any:
        return {"role": "tool", "content": text}

    def as_user(self, result: Any) -> Any:
        said = self.result(result)
        name = f" of {said.name}" if said is not None and said.name else ""
        content = result.get("content")
        if isinstance(content, list):
            return {"role": "user", "content": [{"type": "text", "text": f"Tool result{name}:"}, *content]}
        return {"role": "user", "content": f"Tool result{name}:\n{content or ''}"}


_HISTORY = ToolHistory(_ChatTurns())


def _joined(values: Sequence[Any]) -> Any:
    """Return texts as one text, lists as one list; where there are both, a text is a part of the list."""
    if all(isinstance(value, str) for value in values):
        return "\n".join(values)
    if not any(isinstance(value, list) for value in values):
        return values[0]
    parts: list[Any] = []
    for value in values:
        parts += value if isinstance(value, list) else [{"type": "text", "text": value}] if _text(value) else ()
    return parts


def _named(call: Json) -> Named:
    function = call.get("function")
    return Named(_text(call.get("id")), _text(function.get("name")) if isinstance(function, dict) else "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_sound(messages: list[Any]) -> bool:
    """Tell whether each call has an id and exactly one result, right behind the message that makes it."""
    open_ids: set[str] = set()
    for message in messages:
        role = message["role"]
        if role == "tool":
            given = message.get("tool_call_id")
            if type(given) is not str or given not in open_ids:
                return False
            open_ids.remove(given)
        elif open_ids:
            return False
        elif role == "assistant" and (calls := message.get("tool_calls")):
            open_ids = {_text(call.get("id")) for call in calls}
            if len(open_ids) < len(calls) or "" in open_ids:
                return False
    return not open_ids


# Tools


def repaired_tools(body: Json) -> None:
    """Give each tool of the body that describes a function its type, and remove nulls and what describes nothing."""
    tools = body.get("tools")
    if tools is None or all(map(_is_whole, tools)):
        return
    kept = [_tool(tool) for tool in tools if isinstance(tool, dict)]
    body["tools"] = [tool for tool in kept if tool.get("type", "function") != "function" or _has_name(tool)]
    if not body["tools"]:
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(name, None)


def _is_whole(tool: Any) -> bool:
    if not isinstance(tool, dict) or tool.get("type") is None or None in tool.values():
        return False
    function = tool.get("function")
    if tool["type"] != "function":
        return True
    return isinstance(function, dict) and None not in function.values() and bool(function.get("name"))


def _tool(tool: Json) -> Json:
    tool = without_nulls(tool)
    return {**tool, "type": "function"} if "type" not in tool and "function" in tool else tool


def _has_name(tool: Mapping[str, Any]) -> bool:
    function = tool.get("function")
    return isinstance(function, dict) and bool(function.get("name"))
