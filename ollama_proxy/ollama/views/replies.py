"""How the Ollama API's views write a reply that is no stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask import Response

from ollama_proxy.ollama.answer.lines import json_line
from ollama_proxy.web.context import observation

JSON = "application/json; charset=utf-8"
#: Ollama's type for one object where a stream could be: pull with `stream: false`, early errors.
STREAM_JSON = "application/json"
NDJSON = "application/x-ndjson"


def json_reply(value: Mapping[str, Any] | bytes, *, content_type: str = JSON) -> Response:
    """One JSON object, without a line's end, as Ollama sends it."""
    body = value if isinstance(value, bytes) else json_line(value)
    return Response(body, content_type=content_type)


def status_lines(statuses: Iterable[Mapping[str, Any]]) -> Response:
    """A stream of lines that are all known: those of pull and create."""
    observation().streamed = True
    return Response(b"".join(json_line(status) + b"\n" for status in statuses), content_type=NDJSON)
