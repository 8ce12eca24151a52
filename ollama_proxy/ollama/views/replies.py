"""What the Ollama API's handlers share while they serve a request, in addition to `web.context`.

It knows Flask, so that the modules below the handlers do not have to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from flask import Response, current_app

from ollama_proxy.ollama.answer import lines
from ollama_proxy.ollama.models.listing import Listing
from ollama_proxy.ollama.models.running import Running
from ollama_proxy.web import context

JSON = "application/json; charset=utf-8"
#: Ollama's type for one object where a stream could be: pull with `stream: false`, early errors.
STREAM_JSON = "application/json"
NDJSON = "application/x-ndjson"

Read = TypeVar("Read")


def listing() -> Listing:
    """Return the replies about the catalogue, made once per catalogue."""
    return cast(Listing, current_app.extensions.setdefault("ollama_proxy.listing", Listing()))


def running() -> Running:
    """Return the models that count as loaded in this process."""
    return cast(Running, current_app.extensions.setdefault("ollama_proxy.running", Running()))


def read(reader: Callable[[bytes], Read]) -> Read:
    """Read the request's body with one of `schemas.read_*`, whatever its Content-Type. Raises ProxyError."""
    return reader(context.request_body())


def json_reply(
    value: Mapping[str, Any] | bytes, *, content_type: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """Return one JSON object without a line end, as Ollama sends it."""
    body = value if isinstance(value, bytes) else lines.json_line(value)
    return Response(body, content_type=content_type, headers=dict(headers or {}))
