"""Checks and reads the message list of a chat request in one hand-written pass.

An agent sends hundreds of messages with every turn, so nothing here is generic: nested schemas would cost more than the
rest of the request. Values in, `Message` tuples out; knows nothing of OpenRouter (docs/contract.md, "Requests").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from ollama_proxy import limits
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.gojson.text import wrong_type
from ollama_proxy.ollama.request.images import check_image

_FIELDS = frozenset({"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"})
_IGNORED = frozenset({"type", "index", "id", "refusal", "reasoning", "reasoning_content", "created_at"})
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_PATH = "ChatRequest.messages"
_BAD_ARGUMENTS = "Value looks like object, but can't find closing '}' symbol"


class ToolCall(NamedTuple):
    """A tool call of an earlier turn; `id` is "" if the client kept none, `arguments` the text of a JSON object."""

    id: str
    name: str
    arguments: str


class Message(NamedTuple):
    """One message; `role` is system, user, assistant or tool; `images` are base64 or URLs."""

    role: str
    text: str = ""
    images: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    tool_name: str = ""
    tool_call_id: str = ""


def read_messages(value: Any) -> list[Message]:
    """Check a `messages` value and return its messages.

    It accepts more than Ollama does: `content` may be a list of text and image parts, call arguments a string. An
    unknown role counts as the user's. Raises BadRequest with Go's text for a wrong type.
    """
    if type(value) is not list:
        raise wrong_type(value, _PATH, "[]api.Message")
    limits.check_count(len(value), limits.MESSAGES, "messages")
    messages = [_read(item) for item in value]
    limits.check_count(sum([len(message.calls) for message in messages]), limits.TOOL_CALLS, "tool calls")
    limits.check_count(sum([len(message.images) for message in messages]), limits.IMAGES, "images")
    return messages


def _read(item: Any) -> Message:
    if type(item) is not dict:
        if item is None:
            return Message("user")
        raise wrong_type(item, _PATH, "api.Alias")
    for key in item:
        if key not in _FIELDS and key not in _IGNORED:
            item = _folded(item)
            break
    role, content = item.get("role"), item.get("content")
    if role is None:
        role = ""
    elif type(role) is not str:
        raise wrong_type(role, f"{_PATH}.role", "string")
    role = _ROLES.get(role) or _ROLES.get(role.lower(), "user")
    text, images = (content, ()) if type(content) is str else _content(content)
    if len(item) == 2 and "content" in item and "role" in item:
        return Message(role, text, images)
    calls = _calls(item.get("tool_calls"))
    return Message(
        "assistant" if calls else role,
        text,
        images + read_images(item.get("images"), f"{_PATH}.images"),
        calls,
        _string(item, "thinking"),
        _string(item, "tool_name"),
        _string(item, "tool_call_id"),
    )


def _folded(item: dict[str, Any]) -> dict[str, Any]:
    """Return the known fields under their own names; a tool's `name` (as in OpenAI's API) is used for `tool_name`."""
    folded = {key.lower(): field for key, field in item.items() if field is not None}
    if isinstance(folded.get("name"), str):
        folded.setdefault("tool_name", folded["name"])
    return {key: field for key, field in folded.items() if key in _FIELDS}


def _string(item: dict[str, Any], field: str) -> str:
    value = item.get(field)
    if value is None:
        return ""
    if type(value) is not str:
        raise wrong_type(value, f"{_PATH}.{field}", "string")
    return value


def _content(content: Any) -> tuple[str, tuple[str, ...]]:
    """Return text and images of a `content` that is not a string."""
    if content is None:
        return "", ()
    if type(content) is not list:
        raise wrong_type(content, f"{_PATH}.content", "string")
    texts, images = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict):
            raise wrong_type(content, f"{_PATH}.content", "string")
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(url, str):
            images.append(check_image(url))
        else:
            raise wrong_type(content, f"{_PATH}.content", "string")
    return "\n".join(texts), tuple(images)


def read_images(value: Any, path: str) -> tuple[str, ...]:
    """Return the checked images of an `images` list without null and empty ones. Raises BadRequest with Go's text."""
    if not value and (value is None or isinstance(value, list)):
        return ()
    if not isinstance(value, list):
        raise wrong_type(value, path, "[]api.ImageData")
    limits.check_count(len(value), limits.IMAGES, "images")
    for image in value:
        if image is not None and not isinstance(image, str):
            raise wrong_type(image, path, "api.ImageData")
    return tuple(check_image(image) for image in value if image)


def _calls(value: Any) -> tuple[ToolCall, ...]:
    if not value and (value is None or isinstance(value, list)):
        return ()
    if not isinstance(value, list):
        raise wrong_type(value, f"{_PATH}.tool_calls", "[]api.ToolCall")
    limits.check_count(len(value), limits.TOOL_CALLS, "tool calls")
    calls = []
    for item in value:
        if item is None:
            continue
        if not isinstance(item, dict):
            raise wrong_type(item, f"{_PATH}.tool_calls", "api.ToolCall")
        function = item.get("function") or {}
        if not isinstance(function, dict):
            raise wrong_type(function, f"{_PATH}.tool_calls.function", "api.ToolCallFunction")
        name, call_id = function.get("name") or "", item.get("id") or ""
        if not isinstance(name, str):
            raise wrong_type(name, f"{_PATH}.tool_calls.function.name", "string")
        if not isinstance(call_id, str):
            raise wrong_type(call_id, f"{_PATH}.tool_calls.id", "string")
        calls.append(ToolCall(call_id, name, _arguments(function.get("arguments"))))
    return tuple(calls)


def _arguments(value: Any) -> str:
    """Return the arguments as the text of a JSON object, because providers demand one.

    A string that holds an object is taken as it is. Any other text is kept under the name `input`, so that one bad call
    in the past does not end a conversation.
    """
    if value is None or value == "":
        return "{}"
    if isinstance(value, dict):
        return encode_body(value).decode()
    if not isinstance(value, str):
        raise BadRequest(_BAD_ARGUMENTS)
    try:
        if isinstance(orjson.loads(value), dict):
            return value
    except orjson.JSONDecodeError:
        pass
    return encode_body({"input": value}).decode()
