"""The answers to requests that say nothing: as in Ollama they load a model, which here is nothing to do.

Nobody is asked, and no request is spent (docs/contract.md, "Requests"). Pure: a name in, bytes out.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from ollama_proxy.openai.response_stream import ResponseStream
from ollama_proxy.openai.stream import event
from ollama_proxy.openrouter.answers.chunks import dump_payload
from ollama_proxy.openrouter.answers.events import DONE


def loaded_completion(name: str, *, stream: bool) -> bytes:
    """Return the body of an answer of /v1/completions for an empty prompt, in one piece or as events."""
    body = {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": name,
        "choices": [{"text": "", "index": 0, "finish_reason": "load", "logprobs": None}],
    }
    if stream:
        return event(dump_payload(body)) + event(DONE)
    return dump_payload({**body, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}})


def loaded_response(name: str, *, stream: bool) -> bytes:
    """Return the body of an answer of /v1/responses for an empty input, in one piece or as events."""
    response: dict[str, Any] = {
        "id": f"resp_{secrets.token_hex(12)}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": name,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
    }
    if not stream:
        return dump_payload(response)
    return b"".join(ResponseStream().feed([dump_payload({"type": "response.completed", "response": response})]))
