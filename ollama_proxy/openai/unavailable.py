"""Answers for requests that need a tool which a server runs, where none may be run: no model is asked.

A model that is asked to search without a search makes results up. /responses says it as a failed `web_search_call`
(https://platform.openai.com/docs/api-reference/responses/object), both say it in words. Pure.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from ollama_proxy.bodies.server_tools import query_of, refusal
from ollama_proxy.openai.own_response import own_response

Json = dict[str, Any]


def completion(model: str, kind: str) -> Json:
    """Return a whole answer of /chat/completions. `kind` is the type of the tool."""
    message = {"role": "assistant", "content": refusal(kind)}
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def response(model: str, kind: str, given: Any) -> Json:
    """Return a whole answer of /responses. `given` is the request's `input`."""
    text = {"type": "output_text", "text": refusal(kind), "annotations": [], "logprobs": []}
    said = {"type": "message", "role": "assistant", "status": "completed", "content": [text]}
    output: list[Json] = [{"id": f"msg_{secrets.token_hex(12)}", **said}]
    if "web_search" in kind:
        action = {"type": "search", "query": query_of(_last_text(given))}
        output.insert(
            0, {"type": "web_search_call", "id": f"ws_{secrets.token_hex(12)}", "status": "failed", "action": action}
        )
    return own_response(model, output)


def _last_text(given: Any) -> str:
    """Return the text of the last message of the user."""
    if not isinstance(given, list):
        return given if isinstance(given, str) else ""
    for item in reversed(given):
        if isinstance(item, dict) and item.get("role") == "user":
            content = item.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            texts = (part.get("text") for part in parts if isinstance(part, dict))
            return "\n".join(text for text in texts if isinstance(text, str))
    return ""
