"""Looks at one payload of OpenRouter's `POST /messages`: an event of a stream, or a whole message.

Pure: takes what is there, with a default for everything that may be missing or null. Knows nothing of how a payload
arrived, nor of what a client is told about it. The format is Anthropic's: https://docs.anthropic.com/en/api/messages
and https://docs.anthropic.com/en/docs/build-with-claude/streaming; whole errors may have OpenRouter's own shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ollama_proxy.openrouter.answers.chunks import MalformedChunk, parse_payload
from ollama_proxy.openrouter.answers.dialect import Dialect

_KIND = re.compile(r"[A-Za-z0-9_.-]+")
_KIND_FIRST = re.compile(rb'\s*\{\s*"type"\s*:\s*"([A-Za-z0-9_.-]+)"')

#: What a delta brings, whatever its type; a signature or a citation alone is nothing to show.
_TEXT_KEYS = ("text", "thinking", "partial_json")

#: Blocks that may begin empty, or hold what nobody can read; any other block is useful by being there.
_SILENT_BLOCKS = frozenset({"text", "thinking", "redacted_thinking"})


def kind_of(payload: bytes) -> str:
    """The `type` of a payload, "" if it has none that can name an event. Raises MalformedChunk for what is no object.

    Nearly all payloads begin with it, and are then not parsed.
    """
    if found := _KIND_FIRST.match(payload):
        return found[1].decode()
    kind = parse_payload(payload).get("type")
    return kind if isinstance(kind, str) and _KIND.fullmatch(kind) else ""


def error_of(payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The error that an event or a body carries, as an object with at least a `message`, or None."""
    error = payload.get("error")
    if isinstance(error, Mapping):
        return error if error.get("message") else {**error, "message": "error without a message"}
    if error or payload.get("type") == "error":
        return {"message": error if isinstance(error, str) and error else "error without a message"}
    return None


def is_useful(payload: Mapping[str, Any]) -> bool:
    """Tells whether a payload brings anything for the client: text, thinking, a refusal, a tool call.

    White space is text; an empty string, a ping, a signature or redacted thinking is nothing.
    """
    match payload.get("type"):
        case "content_block_delta":
            return _has_text(_object(payload.get("delta")))
        case "content_block_start":
            return _is_useful_block(_object(payload.get("content_block")))
        case "message":
            blocks = payload.get("content")
            found = isinstance(blocks, list) and any(_is_useful_block(_object(block)) for block in blocks)
            return found or stop_reason_of(payload) == "refusal"
        case "message_delta":
            return stop_reason_of(payload) == "refusal"
        case _:
            return False


def stop_reason_of(payload: Mapping[str, Any]) -> str | None:
    """Why the message ended, as a `message_delta` or a whole message says it, or None."""
    holder = _object(payload.get("delta")) if payload.get("type") == "message_delta" else payload
    reason = holder.get("stop_reason")
    return reason if isinstance(reason, str) and reason else None


def usage_of(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The usage object in a payload, `{}` without one; that of `message_start` lies in its message."""
    return _object(payload.get("usage")) or _object(_object(payload.get("message")).get("usage"))


def is_last(payload: bytes) -> bool:
    """Tells whether the stream is over with this payload. Never raises: what cannot be read is no end."""
    if b'"message_stop"' not in payload:
        return False
    try:
        return kind_of(payload) == "message_stop"
    except MalformedChunk:
        return False


def _is_useful_block(block: Mapping[str, Any]) -> bool:
    kind = block.get("type")
    return isinstance(kind, str) and (kind not in _SILENT_BLOCKS or _has_text(block))


def _has_text(holder: Mapping[str, Any]) -> bool:
    return any(isinstance(holder.get(key), str) and holder[key] for key in _TEXT_KEYS)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _output_tokens(payload: Mapping[str, Any]) -> int:
    # The count in `message_start` is a placeholder: an empty answer would have one token.
    tokens = _object(payload.get("usage")).get("output_tokens")
    return int(tokens) if isinstance(tokens, int | float) else 0


def _itself(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    return payload


#: `POST /messages`, https://openrouter.ai/docs/api-reference/anthropic-messages. A whole message stays one payload:
#: the stream's writer tells it as events.
MESSAGES = Dialect(
    error=error_of,
    useful=is_useful,
    ending=stop_reason_of,
    tokens=_output_tokens,
    from_whole=_itself,
    last=is_last,
)
