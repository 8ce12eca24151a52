"""What the routes of all three APIs share while they serve a request: the process's parts, the body, errors.

It knows Flask, so that the modules below the routes need not; of the APIs it knows only how they render an error.
"""

from __future__ import annotations

from typing import Protocol, cast

import structlog
from flask import Blueprint, Response, current_app, request

from ollama_proxy.errors import ProxyError
from ollama_proxy.observation import ENVIRON_KEY, Observation
from ollama_proxy.runtime import Runtime
from ollama_proxy.web.request_body import decode_zstd, read_body

log = structlog.get_logger("ollama_proxy")

MEGABYTE = 1024 * 1024


class ErrorForm(Protocol):
    """An API's `errors` module."""

    CONTENT_TYPE: str

    def error_body(self, error: ProxyError) -> bytes: ...


def runtime() -> Runtime:
    """The parts of this process."""
    return cast(Runtime, current_app.extensions["ollama_proxy"])


def observation() -> Observation:
    """What is noted of this request."""
    return cast(Observation, request.environ[ENVIRON_KEY])


def body(*, zstd: bool = False) -> bytes:
    """The request's body, whatever its Content-Type; with `zstd` a compressed one is decoded. Raises ProxyError."""
    settings = runtime().settings
    data = read_body(
        request.environ,
        limit_bytes=int(settings.max_body_mb * MEGABYTE),
        timeout_seconds=settings.body_timeout_seconds,
    )
    if zstd and request.headers.get("Content-Encoding", "").strip().lower() == "zstd":
        return decode_zstd(data)
    return data


def render_errors(blueprint: Blueprint, form: ErrorForm, *, streamed_type: str | None = None) -> None:
    """Let `blueprint` answer every error in its API's own form; what nobody foresaw is logged and told as nothing.

    `streamed_type` is the Content-Type of an error in the place of a stream's first line, where that is another one.
    """

    @blueprint.errorhandler(ProxyError)
    def refused(error: ProxyError) -> Response:
        noted = observation()
        noted.error = error.reason if error.status >= 500 else ""
        content_type = streamed_type if streamed_type and noted.streamed else form.CONTENT_TYPE
        response = Response(form.error_body(error), status=error.status, content_type=content_type)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    @blueprint.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.error("request failed", path=request.path, error=type(error).__name__, exc_info=True)
        return refused(ProxyError("internal error"))
