"""Writes an error of `/v1/responses`: like the rest of the OpenAI API, but for a limit that lasts.

Codex ends at an error of the type `usage_limit_reached`, and tells its user until when; any other 429 it repeats.
"""

from __future__ import annotations

import math
import time

import orjson

from ollama_proxy.errors import ProxyError
from ollama_proxy.openai import error_form
from ollama_proxy.web.long_waits import text_with_wait, waits_long

CONTENT_TYPE = STREAM_CONTENT_TYPE = error_form.CONTENT_TYPE
LONG_RETRY_AFTER = error_form.LONG_RETRY_AFTER

_LIMIT_REACHED = "usage_limit_reached"


def error_object(error: ProxyError) -> dict[str, object]:
    """Return the object under `error`. `resets_at` is in epoch seconds (docs/contract.md, "Errors")."""
    told = error_form.error_object(error)
    if error.status == 429 and error.retry_after is not None and waits_long(error):
        told |= {"type": _LIMIT_REACHED, "resets_at": math.ceil(time.time() + error.retry_after)}
    return told


def error_body(error: ProxyError) -> bytes:
    """Return the body of an error answer."""
    return orjson.dumps({"error": error_object(error)})


def failed_response(error: ProxyError) -> dict[str, object]:
    """Return the object under `error` in a response that has failed after it began.

    Its `code` decides what an agent does: `rate_limit_exceeded` says that it may try again soon.
    """
    told = error_object(error)
    if told["type"] == _LIMIT_REACHED:
        return {
            "code": _LIMIT_REACHED,
            "message": told["message"],
            "type": _LIMIT_REACHED,
            "resets_at": told["resets_at"],
        }
    code = "rate_limit_exceeded" if error.status == 429 else error_form.code_of(error) or "server_error"
    return {"code": code, "message": text_with_wait(error)}
