"""Writes an error in the Ollama API's form: one line of JSON with a string `error`; its clients read nothing else."""

from __future__ import annotations

from ollama_proxy.errors import ProxyError
from ollama_proxy.ollama.answer.lines import json_line

CONTENT_TYPE = "application/json; charset=utf-8"
#: Ollama sends an early error of a streamed answer from inside the stream, without a charset.
STREAM_CONTENT_TYPE = "application/json"
LONG_RETRY_AFTER = True


def error_body(error: ProxyError) -> bytes:
    """Return the body of an error answer (docs/contract.md, "Errors")."""
    return json_line({"error": error.message})
