"""What a route can ask for while it serves a request: the process's parts, the Observation, the request's body.

It knows Flask, so that the modules below the routes need not.
"""

from __future__ import annotations

from typing import cast

from flask import current_app, request

from ollama_proxy.observation import ENVIRON_KEY, Observation
from ollama_proxy.runtime import Runtime
from ollama_proxy.web.request_body import decoded_zstd, read_body

MEGABYTE = 1024 * 1024


def runtime() -> Runtime:
    """The parts of this process."""
    return cast(Runtime, current_app.extensions["ollama_proxy"])


def observation() -> Observation:
    """What is noted of this request."""
    return cast(Observation, request.environ[ENVIRON_KEY])


def request_body(*, zstd: bool = False) -> bytes:
    """The request's body, whatever its Content-Type; with `zstd` a compressed one is decoded. Raises ProxyError."""
    settings = runtime().settings
    data = read_body(
        request.environ,
        limit_bytes=int(settings.max_body_mb * MEGABYTE),
        timeout_seconds=settings.body_timeout_seconds,
        total_bytes=int(settings.max_bodies_mb * MEGABYTE),
    )
    return decoded_zstd(request.environ, data) if zstd else data
