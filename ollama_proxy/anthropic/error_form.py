"""Writes an error in the Messages API's form: https://docs.anthropic.com/en/api/errors."""

from __future__ import annotations

import secrets

import orjson

from ollama_proxy.errors import ProxyError
from ollama_proxy.web.long_waits import text_with_wait

CONTENT_TYPE = STREAM_CONTENT_TYPE = "application/json"
LONG_RETRY_AFTER = False

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def error_body(error: ProxyError) -> bytes:
    """Return the body of an error answer (docs/contract.md, "Errors")."""
    kind = _TYPES.get(error.status, "api_error")
    return orjson.dumps(
        {
            "type": "error",
            "error": {"type": kind, "message": text_with_wait(error)},
            "request_id": f"req_{secrets.token_hex(12)}",
        }
    )


def error_event(error: ProxyError) -> bytes:
    """Return the event that ends a stream which had begun."""
    return b"event: error\ndata: " + error_body(error) + b"\n\n"
