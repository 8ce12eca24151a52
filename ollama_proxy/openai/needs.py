"""Finds out what a request of the OpenAI API needs of a model. Pure: bodies in, Needs out.

Bodies are passed through, so nothing is checked here: a value of an unexpected shape needs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ollama_proxy.bodies.client_tools import tools_of
from ollama_proxy.fallback.needs import Needs, preferences
from ollama_proxy.gojson.codec import encode_body

_BYTES_A_TOKEN = 4
_SCHEMA_FORMATS = frozenset({"json_schema", "json_object"})
_IMAGE_PARTS = frozenset({"image_url", "input_image"})


def chat_needs(body: Mapping[str, Any]) -> Needs:
    """Return the needs of a body of /chat/completions."""
    messages = _objects(body.get("messages"))
    size = sum(_text_size(message.get("content")) + _calls_size(message.get("tool_calls")) for message in messages)
    return _needs(
        body,
        parts=(part for message in messages for part in _objects(message.get("content"))),
        text_size=size,
        format_type=_type(body.get("response_format")),
        limits=("max_tokens", "max_completion_tokens"),
    )


def completion_needs(body: Mapping[str, Any]) -> Needs:
    """Return the needs of a body of /completions."""
    size = _text_size(body.get("prompt")) + _text_size(body.get("suffix"))
    return _needs(body, parts=(), text_size=size, format_type="", limits=("max_tokens",))


def responses_needs(body: Mapping[str, Any]) -> Needs:
    """Return the needs of a body of /responses."""
    items = _objects(body.get("input"))
    size = _text_size(body.get("instructions")) + (0 if items else _text_size(body.get("input")))
    size += sum(_text_size(item.get(name)) for item in items for name in ("content", "output", "arguments"))
    text = body.get("text")
    return _needs(
        body,
        parts=(part for item in items for name in ("content", "output") for part in _objects(item.get(name))),
        text_size=size,
        format_type=_type(text.get("format")) if isinstance(text, Mapping) else "",
        limits=("max_output_tokens",),
    )


def _needs(
    body: Mapping[str, Any],
    *,
    parts: Iterable[Mapping[str, Any]],
    text_size: int,
    format_type: str,
    limits: tuple[str, ...],
) -> Needs:
    tools = tools_of(body)
    tools_size = len(encode_body(tools)) if tools else 0
    asked = [body[name] for name in limits if isinstance(body.get(name), int)]
    return Needs(
        tools=bool(tools),
        images=any(_type(part) in _IMAGE_PARTS for part in parts),
        schema=format_type in _SCHEMA_FORMATS,
        thinking=_wants_thinking(body),
        prompt_tokens=(text_size + tools_size) // _BYTES_A_TOKEN,
        output_tokens=max(asked, default=0),
        preferred=preferences(
            schema=format_type == "json_schema", logprobs=body.get("logprobs") is True, stop="stop" in body
        ),
    )


def _wants_thinking(body: Mapping[str, Any]) -> bool:
    """Return True if the client asks for thinking. To ask only how it is shown (`summary`) does not count."""
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping):
        effort = reasoning.get("effort") or body.get("reasoning_effort")
        if reasoning.get("enabled") is False or effort == "none":
            return False
        return bool(effort or reasoning.get("enabled") or reasoning.get("max_tokens"))
    return body.get("reasoning_effort") not in (None, "", "none") or body.get("include_reasoning") is True


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if type(item) is dict] if type(value) is list else []


def _type(value: Any) -> str:
    kind = value.get("type") if isinstance(value, Mapping) else None
    return kind if isinstance(kind, str) else ""


def _text_size(content: Any) -> int:
    """Return the UTF-8 bytes of the texts in a content. Images, files and sound do not count."""
    if type(content) is str:
        return _bytes(content)
    if type(content) is not list:
        return 0
    size = 0
    for part in content:
        if type(part) is dict and type(text := part.get("text")) is str:
            size += _bytes(text)
    return size


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _calls_size(calls: Any) -> int:
    functions = (call.get("function") for call in _objects(calls))
    return sum(_text_size(one.get("arguments")) for one in functions if isinstance(one, Mapping))
