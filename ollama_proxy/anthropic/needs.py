"""Finds out what a Messages request needs of a model. Pure: the request's JSON in, Needs out.

It accepts any JSON: OpenRouter itself refuses wrong requests (docs/contract.md, "Requests").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ollama_proxy.fallback.needs import Needs, preferences
from ollama_proxy.gojson.codec import encode_body

_BYTES_PER_TOKEN = 4

_THINKS = ("enabled", "adaptive")


def needs_of(body: Mapping[str, Any]) -> Needs:
    """Return the needs of `body`, a checked Messages request. Raises BadRequest for tools nested too deep to be sent
    on.
    """
    text_bytes, images = _measured([body.get("system"), body.get("messages")])
    tools = body.get("tools")
    if tools:
        text_bytes += len(encode_body(tools))
    schema = _wants_schema(body)
    return Needs(
        tools=bool(tools),
        images=images,
        schema=schema,
        thinking=_object(body.get("thinking")).get("type") in _THINKS,
        prompt_tokens=text_bytes // _BYTES_PER_TOKEN,
        output_tokens=body["max_tokens"],
        preferred=preferences(schema=schema, logprobs=False, stop="stop_sequences" in body),
    )


def _measured(roots: list[Any]) -> tuple[int, bool]:
    """Return the UTF-8 bytes of all texts below `roots` (strings, blocks, messages), and whether there are images.

    It is a loop and not a recursion, because the client decides how deep a request is nested.
    """
    size, images = 0, False
    pending = roots
    while pending:
        content = pending.pop()
        if type(content) is str:
            size += len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
        elif type(content) is list:
            pending += content
        elif type(content) is dict:
            images = images or content.get("type") == "image"
            pending += _parts(content)
            if "input" in content:
                size += len(encode_body(content["input"]))
    return size, images


def _parts(block: Mapping[str, Any]) -> list[Any]:
    """Return the texts of a message or block: text, thinking, a tool's result, a document's text, but no base64."""
    parts = [block.get("text"), block.get("thinking"), block.get("content")]
    source = _object(block.get("source"))
    if source.get("type") in ("text", "content"):
        parts += [source.get("data"), source.get("content")]
    return parts


def _wants_schema(body: Mapping[str, Any]) -> bool:
    wished = _object(body.get("output_config")).get("format") or body.get("output_format")
    return _object(wished).get("type") == "json_schema"


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
