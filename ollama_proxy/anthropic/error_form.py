"""Writes an error in the Messages API's form: https://docs.anthropic.com/en/api/errors."""

from __future__ import annotations

import secrets

import orjson

from ollama_proxy.errors import BadRequest, ProxyError
from ollama_proxy.web.long_waits import text_with_wait

CONTENT_TYPE = STREAM_CONTENT_TYPE = "application/json"
LONG_RETRY_AFTER = False


class ThreadNotFound(BadRequest):
    """The request continues a conversation that the server should have kept. None is kept here.

    `code` is what the SDK looks for; it then sends the whole conversation. Source: the SDK's `lib/threads`.
    """

    code = "thread_not_found"

    def __init__(self) -> None:
        super().__init__("this server keeps no threads: send the whole conversation")


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
    told: dict[str, object] = {"type": _TYPES.get(error.status, "api_error"), "message": text_with_wait(error)}
    if isinstance(error, ThreadNotFound):
        told["details"] = {"error_code": error.code}
    return orjson.dumps(
        {
            "type": "error",
            "error": told,
            "request_id": f"req_{secrets.token_hex(12)}",
        }
    )


def error_event(error: ProxyError) -> bytes:
    """Return the event that ends a stream which had begun."""
    return b"event: error\ndata: " + error_body(error) + b"\n\n"
