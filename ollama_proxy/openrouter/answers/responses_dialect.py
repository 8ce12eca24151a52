"""How the answers of /responses are read: typed events, the last of which holds the whole response.

Pure functions over parsed payloads, put together as a dialect; see dialect.py for what each of them promises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ollama_proxy.openrouter.answers.dialect import Dialect, Payload

_ENDED = frozenset({"completed", "incomplete"})
_FAILED = frozenset({"error", "response.failed"})

#: Output items that are worth something only once they have text.
_TEXT_ITEMS = frozenset({"message", "reasoning"})


def response_of(payload: Payload) -> Mapping[str, Any]:
    """The response object in an event, or the payload itself if it is one."""
    response = payload.get("response")
    return response if isinstance(response, Mapping) else payload


def response_error(payload: Payload) -> Mapping[str, Any] | None:
    """The error in an event or a whole response, as an object with a `message`; None if it is none."""
    error = payload.get("error") or response_of(payload).get("error")
    if isinstance(error, Mapping):
        return error if error.get("message") else {**error, "message": "error without a message"}
    if error:
        return {"message": error if isinstance(error, str) else "error without a message"}
    if (
        _text(payload.get("type")) in _FAILED
        or "error_type" in payload
        or response_of(payload).get("status") == "failed"
    ):
        message = payload.get("message")
        return {**payload, "message": message if isinstance(message, str) and message else "the response failed"}
    return None


def _response_useful(payload: Payload) -> bool:
    kind = payload.get("type")
    if kind == "response.output_item.added":
        item = payload.get("item")
        return isinstance(item, Mapping) and _text(item.get("type")) not in _TEXT_ITEMS
    if isinstance(kind, str) and kind.endswith(".delta"):
        return bool(payload.get("delta"))
    return any(_item_useful(item) for item in _items(response_of(payload)))


def _items(response: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    output = response.get("output")
    return (item for item in (output if isinstance(output, list) else []) if isinstance(item, Mapping))


def _item_useful(item: Mapping[str, Any]) -> bool:
    if _text(item.get("type")) not in _TEXT_ITEMS:
        return True
    lists = [listed for name in ("content", "summary") if isinstance(listed := item.get(name), list)]
    parts = [part for listed in lists for part in listed if isinstance(part, Mapping)]
    return any(part.get("text") or part.get("refusal") for part in parts)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _response_ending(payload: Payload) -> str | None:
    status = response_of(payload).get("status")
    return status if isinstance(status, str) and status in _ENDED else None


def _output_tokens(payload: Payload) -> int:
    usage = response_of(payload).get("usage")
    tokens = usage.get("output_tokens") if isinstance(usage, Mapping) else None
    return int(tokens) if isinstance(tokens, int | float) else 0


def _as_last_event(payload: Payload) -> Payload:
    status = _response_ending(payload) or "completed"
    return {"type": f"response.{status}", "sequence_number": 0, "response": payload}


#: `POST /responses`, https://openrouter.ai/docs/api-reference/responses/overview
RESPONSES = Dialect(
    error=response_error,
    useful=_response_useful,
    ending=_response_ending,
    tokens=_output_tokens,
    from_whole=_as_last_event,
)
