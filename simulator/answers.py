"""Writes replies as OpenRouter does on /chat/completions and /completions: SSE frames and whole bodies. Pure.

Shapes: OpenRouter's public API reference, "Chat completion" and "Streaming".
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from simulator.asks import Ask
from simulator.replies import Reply, ToolCall
from simulator.scenarios import Scenario, raw_bytes

Json = dict[str, Any]
Kind = Literal["content", "finish", "usage", "done", "other"]
COMMENT = b": OPENROUTER PROCESSING\n\n"
PADDING = b"\n         \n"
DONE = b"data: [DONE]\n\n"

_numbers = itertools.count(1)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes that are written at once, and the kind of their content."""

    data: bytes
    kind: Kind = "other"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The part that all chunks of one answer share. `model` is the name that the answer reports."""

    model: str
    id: str
    created: int
    cost: float = 0.0


def new_envelope(model: str, *, cost: float = 0.0) -> Envelope:
    now = int(time.time())
    return Envelope(model, f"gen-{now}-SIM{next(_numbers):017d}", now, cost)


def encode(payload: Any) -> bytes:
    """Return JSON as UTF-8; a lone surrogate becomes an escape, as in JavaScript's JSON.stringify."""
    text = _encode(payload)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(payload, separators=(",", ":")).encode()


def frame(payload: Any, kind: Kind = "other") -> Frame:
    return Frame(b"data: %b\n\n" % encode(payload), kind)


def usage_of(reply: Reply, scenario: Scenario, *, cost: float) -> Json:
    """Return the usage object; `scenario.usage` replaces members of it."""
    made = reply.completion_tokens
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": made,
        "total_tokens": reply.prompt_tokens + made,
        "cost": cost,
        "is_byok": False,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "cost_details": {"upstream_inference_cost": None},
        "completion_tokens_details": {"reasoning_tokens": len(reply.reasoning), "image_tokens": 0},
        **(scenario.usage or {}),
    }


def _logprobs(token: str, top: int) -> Json:
    own = {"token": token, "logprob": -0.25, "bytes": list(token.encode("utf-8", "surrogatepass"))}
    others = [{"token": f"x{rank}", "logprob": -1.0 - rank, "bytes": [120]} for rank in range(1, top)]
    return {"content": [{**own, "top_logprobs": [own, *others][:top]}], "refusal": None}


def _split(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // max(1, pieces)))
    return [text[at : at + size] for at in range(0, len(text), size)]


def _tool_deltas(calls: Sequence[ToolCall], fragments: int) -> Iterator[list[Json]]:
    """Yield the `tool_calls` members of the deltas: id and name first, then the arguments in pieces; 1 = all in one."""
    for index, call in enumerate(calls):
        function = {"name": call.name, "arguments": call.arguments if fragments <= 1 else ""}
        yield [{"index": index, "id": call.id, "type": "function", "function": function}]
        if fragments > 1:
            for piece in _split(call.arguments, fragments):
                yield [{"index": index, "function": {"arguments": piece}}]


def _deltas(reply: Reply, scenario: Scenario) -> Iterator[Json]:
    for text in reply.reasoning:
        detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
        yield {"role": "assistant", "content": "", "reasoning": text, "reasoning_details": [detail]}
    for text in reply.content:
        yield {"role": "assistant", "content": text}
    for text in reply.refusal:
        yield {"role": "assistant", "content": "", "refusal": text}
    for url in reply.images:
        yield {"role": "assistant", "content": "", "images": [{"type": "image_url", "image_url": {"url": url}}]}
    for calls in _tool_deltas(reply.tool_calls, scenario.tool_call_fragments):
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def chat_frames(envelope: Envelope, ask: Ask, reply: Reply, scenario: Scenario) -> Iterator[Frame]:
    """Yield the events of a streamed chat, without comments: deltas, finish, usage (repeats the choice), [DONE]."""
    head = {
        "id": envelope.id,
        "object": "chat.completion.chunk",
        "created": envelope.created,
        "model": envelope.model,
        "provider": "Simulated",
    }

    def chunk(delta: Json, finish: str | None, kind: Kind, **more: Any) -> Frame:
        native = reply.native_finish_reason if finish else None
        choice: Json = {"index": 0, "delta": delta, "finish_reason": finish, "native_finish_reason": native}
        if ask.top_logprobs is not None:
            content = delta.get("content")
            choice["logprobs"] = _logprobs(content, ask.top_logprobs) if content else None
        return frame({**head, "choices": [choice], **more}, kind)

    for delta in _deltas(reply, scenario):
        yield chunk(delta, None, "content")
    silent = {"role": "assistant", "content": ""}
    if not scenario.no_finish:
        yield chunk(silent, reply.finish_reason, "finish")
    if not scenario.no_usage:
        usage = usage_of(reply, scenario, cost=envelope.cost)
        if scenario.usage_empty_choices:
            yield frame({**head, "choices": [], "usage": usage}, "usage")
        else:
            repeated = None if scenario.usage_finish_null or scenario.no_finish else reply.finish_reason
            yield chunk(silent, repeated, "usage", usage=usage)
    yield Frame(DONE, "done")


def chat_body(envelope: Envelope, ask: Ask, reply: Reply, scenario: Scenario) -> Json:
    """Return a whole chat completion."""
    message: Json = {
        "role": "assistant",
        "content": "".join(reply.content) if reply.content or not (reply.tool_calls or reply.refusal) else None,
        "refusal": "".join(reply.refusal) or None,
        "reasoning": "".join(reply.reasoning) or None,
    }
    if message["reasoning"]:
        detail = {"type": "reasoning.text", "text": message["reasoning"], "format": "unknown", "index": 0}
        message["reasoning_details"] = [detail]
    if reply.tool_calls:
        message["tool_calls"] = [
            {
                "index": index,
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(reply.tool_calls)
        ]
    if reply.images:
        message["images"] = [{"type": "image_url", "image_url": {"url": url}} for url in reply.images]
    logprobs = None
    if ask.top_logprobs is not None:
        top = ask.top_logprobs
        logprobs = {"content": [_logprobs(text, top)["content"][0] for text in reply.content], "refusal": None}
    choice = {
        "logprobs": logprobs,
        "finish_reason": None if scenario.no_finish else reply.finish_reason,
        "native_finish_reason": reply.native_finish_reason,
        "index": 0,
        "message": message,
    }
    body: Json = {
        "id": envelope.id,
        "object": "chat.completion",
        "created": envelope.created,
        "model": envelope.model,
        "provider": "Simulated",
        "system_fingerprint": None,
        "choices": [choice],
    }
    if not scenario.no_usage:
        body["usage"] = usage_of(reply, scenario, cost=envelope.cost)
    return body


def completion_frames(envelope: Envelope, reply: Reply, scenario: Scenario) -> Iterator[Frame]:
    """Yield the events of a streamed /completions call."""
    head = {
        "id": envelope.id,
        "object": "text_completion",
        "created": envelope.created,
        "model": envelope.model,
        "provider": "Simulated",
    }

    def choices(text: str, finish: str | None) -> list[Json]:
        return [{"index": 0, "text": text, "finish_reason": finish, "native_finish_reason": finish, "logprobs": None}]

    for text in reply.content:
        yield frame({**head, "choices": choices(text, None)}, "content")
    yield frame({**head, "choices": choices("", reply.finish_reason)}, "finish")
    usage = usage_of(reply, scenario, cost=envelope.cost)
    yield frame({**head, "choices": choices("", reply.finish_reason), "usage": usage}, "usage")
    yield Frame(DONE, "done")


def completion_body(envelope: Envelope, reply: Reply, scenario: Scenario) -> Json:
    finish = reply.finish_reason
    choice = {"index": 0, "text": "".join(reply.content), "finish_reason": finish, "logprobs": None}
    return {
        "id": envelope.id,
        "object": "text_completion",
        "created": envelope.created,
        "model": envelope.model,
        "provider": "Simulated",
        "choices": [choice],
        "usage": usage_of(reply, scenario, cost=envelope.cost),
    }


def error_frame(envelope: Envelope, error: Json, shape: int) -> Frame:
    """Return an error in a stream: 1 = without choices, 2 = with a choice that finishes with "error", 3 = after the
    end.
    """
    choices: list[Json] = []
    if shape == 2:
        choices = [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "error"}]
    if shape == 3:
        choices = [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    head = {"id": envelope.id, "object": "chat.completion.chunk", "created": envelope.created}
    return frame({**head, "model": envelope.model, "provider": "Simulated", "error": error, "choices": choices})


def given_frames(events: Iterable[Any]) -> Iterator[Frame]:
    """Yield the frames of a scenario's `events`: payload objects, texts such as "[DONE]", or `{"base64": ...}`."""
    for event in events:
        if isinstance(event, dict) and set(event) == {"base64"}:
            yield Frame(raw_bytes(event), "content")
        elif isinstance(event, str):
            data = event.encode()
            yield Frame(data + b"\n\n" if data.startswith(b":") else b"data: %b\n\n" % data, "content")
        else:
            yield frame(event, "content")
