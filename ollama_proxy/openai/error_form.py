"""Writes an error in the OpenAI API's form, which its SDKs raise.

Source: https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

import orjson

from ollama_proxy.errors import PromptTooLong, ProxyError
from ollama_proxy.web.long_waits import text_with_wait

CONTENT_TYPE = STREAM_CONTENT_TYPE = "application/json"
LONG_RETRY_AFTER = False

#: Agents and libraries shorten the conversation when they read this code.
_TOO_LONG = "context_length_exceeded"

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


def error_object(error: ProxyError) -> dict[str, object]:
    """Return the object under `error` (docs/contract.md, "Errors"). `param` and, but for too long a prompt, `code` are
    null, as in Ollama.
    """
    kind = _TYPES.get(error.status, "api_error")
    return {"message": text_with_wait(error), "type": kind, "param": None, "code": code_of(error)}


def code_of(error: ProxyError) -> str | None:
    """Return the word that programs know the error by; None for most errors."""
    return _TOO_LONG if isinstance(error, PromptTooLong) else None


def error_body(error: ProxyError) -> bytes:
    """Return the body of an error answer."""
    return orjson.dumps({"error": error_object(error)})


def error_event(error: ProxyError) -> bytes:
    """Return the event that ends a stream which had begun: the SDKs raise an error for it."""
    return b"data: " + error_body(error) + b"\n\n"
