"""Looks at one parsed payload of OpenRouter's chat completions: a chunk of a stream, or a whole completion.

Pure: takes what is there, with a default for everything that may be missing or null. Knows nothing of how a payload
arrived, nor of what a client is told about it (docs/contract.md, "Streams").
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

_LATE_LIMIT = "token limit reached"
_LATE_LIMIT_TYPES = ("max_tokens_exceeded", "token_limit_exceeded")
_TEXT_KEYS = ("content", "reasoning", "refusal")
_PART_KEYS = ("tool_calls", "images", "audio")
_DIGITS_OF_64_BITS = 19  # the largest integer has one more, and some of that many are too large


class MalformedChunk(ValueError):
    """A payload that is not a JSON object. The message says what is wrong and holds none of the payload."""


def parse_payload(payload: bytes) -> dict[str, Any]:
    """Returns the JSON object in `payload`, or raises `MalformedChunk`.

    What a strict parser refuses is read leniently: half of a surrogate pair (`\\ud83d`, when an emoji is split over two
    deltas) stays in its string as a lone surrogate, and bytes that are not UTF-8 become U+FFFD. No number in it is more
    than JSON's readers can hold: integers beyond 64 bits are floats, NaN and infinities null.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        value = _parse_leniently(payload)
    if isinstance(value, dict):
        return value
    raise MalformedChunk("the payload is not a JSON object")


def _parse_leniently(payload: bytes) -> Any:
    try:
        text = payload.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = payload.decode("utf-8", "replace")
    try:
        return json.loads(
            text.removeprefix("\ufeff"), strict=False, parse_int=_integer, parse_float=_finite, parse_constant=_finite
        )
    except (ValueError, RecursionError) as error:
        raise MalformedChunk("the payload is not JSON") from error


def _finite(literal: str) -> float | None:
    number = float(literal)
    return number if math.isfinite(number) else None


def _integer(literal: str) -> float | None:
    return int(literal) if len(literal) < _DIGITS_OF_64_BITS else _finite(literal)


def passable(payload: bytes) -> bytes:
    """Returns what a client gets that is to get `payload` as it is: see `parse_passable`."""
    try:
        if type(orjson.loads(payload)) is dict:
            return payload
    except orjson.JSONDecodeError:
        pass
    return parse_passable(payload)[1]


def parse_passable(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Returns the JSON object in `payload`, and what a client gets that is to get it as it is.

    That is `payload` itself if it is JSON in UTF-8, and else what `parse_payload` reads of it, written anew. Raises
    `MalformedChunk`.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        value = parse_payload(payload)
        payload = dump_payload(value)
    if isinstance(value, dict):
        return value, payload
    raise MalformedChunk("the payload is not a JSON object")


def dump_payload(value: Mapping[str, Any]) -> bytes:
    """Returns `value` as compact JSON: what `parse_payload` has read, lone surrogates and nesting included.

    Raises `MalformedChunk` for what is nested as deep as no reader takes it.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        pass
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError as error:
        raise MalformedChunk("the payload is nested too deep") from error


def choice_of(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the choice with index 0 (some upstreams leave the index out), or None."""
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return None


def delta_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the delta of a choice, or the message if it is a completion's; `{}` if it has neither."""
    delta = choice.get("delta") or choice.get("message")
    return delta if isinstance(delta, dict) else {}


def error_of(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the error that a chunk or a body carries, as an object with at least a `message`, or None.

    It may lie on top or in the first choice, as an object or a string. A finish reason `error` without any error object
    (Gemini does that) gives a made-up one with code 502.
    """
    choice = choice_of(chunk)
    for value in (chunk.get("error"), choice.get("error") if choice else None):
        if isinstance(value, dict):
            return value if value.get("message") else {**value, "message": "error without a message"}
        if value:
            return {"message": value if isinstance(value, str) else "error without a message"}
    if choice and choice.get("finish_reason") == "error":
        cause = choice.get("native_finish_reason")
        detail = f": {cause}" if isinstance(cause, str) and cause else ""
        return {"code": 502, "message": f"the provider ended the answer with an error{detail}"}
    return None


def is_late_limit(chunk: Mapping[str, Any], finished: bool) -> bool:
    """Tells whether the chunk's error only says, after a finish reason, that the token limit was reached.

    Such an answer is complete: MiniMax sends `finish_reason: length` first, then this error with the usage.
    """
    error = error_of(chunk) if finished else None
    if error is None:
        return False
    metadata = error.get("metadata")
    named = metadata.get("error_type") if isinstance(metadata, dict) else None
    return named in _LATE_LIMIT_TYPES or _LATE_LIMIT in str(error["message"]).lower()


def reasoning_of(delta: Mapping[str, Any]) -> str:
    """Returns the thinking text of a delta: `reasoning`, else the text of `reasoning_details`, which mirrors it."""
    reasoning = delta.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        return reasoning
    details = delta.get("reasoning_details")
    if not isinstance(details, list):
        return ""
    texts = (item.get("text") or item.get("summary") for item in details if isinstance(item, dict))
    return "".join(text for text in texts if isinstance(text, str))


def is_useful(chunk: Mapping[str, Any]) -> bool:
    """Tells whether a chunk brings anything for the client: content, reasoning, refusal, a tool call, image or sound.

    White space is content; an empty string, a role or encrypted reasoning is nothing.
    """
    choice = choice_of(chunk)
    if choice is None:
        return False
    delta = delta_of(choice)
    if any(isinstance(delta.get(key), str) and delta[key] for key in _TEXT_KEYS):
        return True
    return bool(any(delta.get(key) for key in _PART_KEYS) or reasoning_of(delta))


def finish_of(chunk: Mapping[str, Any]) -> str | None:
    """Returns the finish reason in a chunk, or None."""
    choice = choice_of(chunk)
    reason = choice.get("finish_reason") if choice else None
    return reason if isinstance(reason, str) and reason else None


def usage_of(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the usage object in a chunk, or None."""
    usage = chunk.get("usage")
    return usage if isinstance(usage, dict) else None


def count_of(usage: Mapping[str, Any], *names: str) -> int | None:
    """Returns the first of the named counts that can be one (0 or more, 63 bits, no bool), or None.

    What is counted goes into metrics and tables, which take no other numbers.
    """
    for name in names:
        count = usage.get(name)
        if type(count) is int and 0 <= count < 2**63:
            return count
    return None


def cost_of(usage: Mapping[str, Any]) -> float | None:
    """Returns the `cost` of a request in dollars, if it can be one, or None.

    Source: https://openrouter.ai/docs/use-cases/usage-accounting
    """
    cost = usage.get("cost")
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < 1e6:
        return None
    return float(cost)


def as_chunk(completion: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a whole completion as the one chunk of a stream: each choice's `message` becomes its `delta`.

    OpenRouter may answer a streamed call with a whole body. An error body has no choices and stays as it is. Tool calls
    get the `index` that they need in a stream.
    """
    chunk = dict(completion)
    if chunk.get("object") == "chat.completion":
        chunk["object"] = "chat.completion.chunk"
    choices = completion.get("choices")
    if isinstance(choices, list):
        chunk["choices"] = [
            {**{key: value for key, value in choice.items() if key != "message"}, "delta": _indexed(delta_of(choice))}
            for choice in choices
            if isinstance(choice, dict)
        ]
    return chunk


def _indexed(delta: dict[str, Any]) -> dict[str, Any]:
    calls = delta.get("tool_calls")
    if not isinstance(calls, list):
        return delta
    numbered = [{"index": index, **call} if isinstance(call, dict) else call for index, call in enumerate(calls)]
    return {**delta, "tool_calls": numbered}
