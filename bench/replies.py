"""What the stand-in upstream says, as bytes made before anybody asks: events, bodies, a catalogue.

The shapes are those of OpenRouter's public API reference; the content is invented.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

MODEL = "bench/fast:free"
MODELS_LISTED = 421
MODELS_FREE = 30

_SHARED = {
    "id": "gen-1790000000-benchbenchbenchbench",
    "provider": "Bench",
    "model": "bench/fast",
    "created": 1_790_000_000,
}
_USAGE = {"prompt_tokens": 12, "completion_tokens": 20, "total_tokens": 32, "cost": 0}

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 05:00:00 GMT\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n"
    b"Access-Control-Allow-Origin: *\r\nX-Generation-Id: gen-1790000000-benchbenchbenchbench\r\n\r\n"
)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _delta(content: str, finish: str | None = None) -> bytes:
    choice = {
        "index": 0,
        "delta": {"role": "assistant", "content": content},
        "finish_reason": finish,
        "native_finish_reason": finish,
        "logprobs": None,
    }
    return b"data: " + _json({**_SHARED, "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


OPENING = STREAM_HEAD + _chunk(b": OPENROUTER PROCESSING\n\n")
"""Head of a streamed answer and the comment that OpenRouter begins with."""

EVENTS = tuple(_chunk(_delta(f" token{number}")) for number in range(10))
"""Tokens: each an event in an HTTP chunk of its own, as OpenRouter sends it; they differ, as LiteLLM cuts off an answer
that repeats itself."""


def event(number: int) -> bytes:
    """The event of the token with this number."""
    return EVENTS[number % 10]


@lru_cache(maxsize=64)
def ending(tokens: int) -> bytes:
    """The end of a stream: finish reason, usage, `[DONE]`, the last chunk."""
    usage = {"object": "chat.completion.chunk", "choices": [], "usage": {**_USAGE, "completion_tokens": tokens}}
    events = (_delta("", "stop"), b"data: " + _json({**_SHARED, **usage}) + b"\n\n", b"data: [DONE]\n\n")
    return b"".join(map(_chunk, events)) + b"0\r\n\r\n"


@lru_cache(maxsize=64)
def burst(tokens: int) -> bytes:
    """A whole streamed answer: an event a token, each in a chunk of its own, back to back."""
    return OPENING + b"".join(map(event, range(tokens))) + ending(tokens)


@lru_cache(maxsize=64)
def whole(tokens: int) -> bytes:
    """An answer that is not streamed."""
    message = {
        "role": "assistant",
        "content": "".join(f" token{number % 10}" for number in range(tokens)),
        "refusal": None,
        "reasoning": None,
    }
    choice = {"index": 0, "message": message, "finish_reason": "stop", "native_finish_reason": "stop", "logprobs": None}
    usage = {**_USAGE, "completion_tokens": tokens}
    return reply(_json({**_SHARED, "object": "chat.completion", "choices": [choice], "usage": usage}))


def reply(body: bytes, status: str = "200 OK") -> bytes:
    """A JSON answer with a length."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def catalogue() -> bytes:
    """The answer of `/models`: as many models, and as many bytes for each, as the real one had in summer 2026."""
    models = [_record("bench/fast:free", 1_000_000)]
    models += [_record(f"bench/free-{number}:free", 32_768 + number) for number in range(MODELS_FREE - 1)]
    models += [
        _record(f"vendor-{number % 40}/model-{number}", 131_072, price="0.0000004")
        for number in range(MODELS_LISTED - MODELS_FREE)
    ]
    return reply(_json({"data": models}))


def no_models() -> bytes:
    """The answer of `/embeddings/models`."""
    return reply(_json({"data": []}))


def key() -> bytes:
    """The answer of `/key`."""
    limits = {"label": "bench", "usage": 0, "limit": None, "is_free_tier": False, "limit_remaining": None}
    return reply(_json({"data": limits}))


def not_found() -> bytes:
    """The answer to anything else."""
    return reply(_json({"error": {"code": 404, "message": "not found"}}), "404 Not Found")


def _record(model_id: str, context: int, price: str = "0") -> dict[str, Any]:
    slug = model_id.split("/")[1].split(":")[0]
    return {
        "id": model_id,
        "canonical_slug": f"{model_id.split(':')[0]}-20260401",
        "hugging_face_id": None,
        "name": f"Bench: {slug}",
        "created": 1_775_000_000,
        "description": f"{slug} is an invented model. " + "It says one word over and over, as fast as it can. " * 12,
        "context_length": context,
        "architecture": {
            "modality": "text->text",
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {"prompt": price, "completion": price},
        "top_provider": {"context_length": context, "max_completion_tokens": None, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": ["max_tokens", "temperature", "top_p", "seed", "stop", "tools", "tool_choice"],
        "default_parameters": {"temperature": None, "top_p": None, "frequency_penalty": None},
        "knowledge_cutoff": None,
        "expiration_date": None,
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{slug}/endpoints"},
    }
