"""The answers to requests that say nothing: as in Ollama they load a model, which here is nothing to do.

Nobody is asked, and no request is spent (docs/contract.md, "Requests"). Pure: a name in, bytes out.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from ollama_proxy.openai.own_response import own_response
from ollama_proxy.openai.response_stream import ResponseStream
from ollama_proxy.openai.stream import event
from ollama_proxy.openrouter.answers.chunks import dump_payload
from ollama_proxy.openrouter.answers.events import DONE

Json = dict[str, Any]


def loaded_chat(name: str, *, stream: bool) -> bytes:
    """Return the body of an answer of /v1/chat/completions for messages without parts, in one piece or as events."""
    said = {"delta" if stream else "message": {"role": "assistant", "content": ""}}
    return _loaded(
        name, f"chatcmpl-{secrets.token_hex(12)}", f"chat.completion{'.chunk' * stream}", said, stream=stream
    )


def loaded_completion(name: str, *, stream: bool) -> bytes:
    """Return the body of an answer of /v1/completions for an empty prompt, in one piece or as events."""
    return _loaded(name, f"cmpl-{secrets.token_hex(12)}", "text_completion", {"text": ""}, stream=stream)


def _loaded(name: str, answer_id: str, form: str, said: Json, *, stream: bool) -> bytes:
    body: Json = {
        "id": answer_id,
        "object": form,
        "created": int(time.time()),
        "model": name,
        "choices": [{**said, "index": 0, "finish_reason": "load", "logprobs": None}],
    }
    if stream:
        return event(dump_payload(body)) + event(DONE)
    return dump_payload({**body, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}})


def loaded_response(name: str, *, stream: bool) -> bytes:
    """Return the body of an answer of /v1/responses for an empty input, in one piece or as events."""
    response = own_response(name, ())
    if not stream:
        return dump_payload(response)
    return b"".join(ResponseStream().feed([dump_payload({"type": "response.completed", "response": response})]))
