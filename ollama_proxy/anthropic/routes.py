"""The Messages API's route: read the request, hand it down, answer as an event stream or as one object.

Bodies pass through: `request` says what goes up, `stream` what comes down. There is no `/v1/messages/count_tokens`, as
there is none in Ollama (docs/contract.md, "Endpoints").
"""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, current_app, request

from ollama_proxy.anthropic.errors import CONTENT_TYPE, error_body
from ollama_proxy.anthropic.needs import needs_of
from ollama_proxy.anthropic.request import body_for, read_messages
from ollama_proxy.anthropic.stream import MessageStream, with_content
from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.exchange import Call, Exchange
from ollama_proxy.observation import ENVIRON_KEY, Observation
from ollama_proxy.ollama.json_body import encode
from ollama_proxy.openrouter.messages_dialect import MESSAGES
from ollama_proxy.passing import respond_streamed, respond_whole
from ollama_proxy.request_body import read_body
from ollama_proxy.runtime import Runtime

log = structlog.get_logger("ollama_proxy")
blueprint = Blueprint("anthropic", __name__)

MEGABYTE = 1024 * 1024

#: The client's headers that belong to the request as much as its body does. Never its key.
_FORWARDED = ("anthropic-version", "anthropic-beta")


def _runtime() -> Runtime:
    runtime: Runtime = current_app.extensions["ollama_proxy"]
    return runtime


def _observation() -> Observation:
    observation: Observation = request.environ[ENVIRON_KEY]
    return observation


@blueprint.errorhandler(ProxyError)
def _proxy_error(error: ProxyError) -> Response:
    _observation().error = error.message if error.status >= 500 else ""
    response = Response(error_body(error), status=error.status, content_type=CONTENT_TYPE)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@blueprint.errorhandler(Exception)
def _unexpected(error: Exception) -> Response:
    log.error("request failed", error=type(error).__name__, exc_info=True)
    return _proxy_error(ProxyError("internal error"))


@blueprint.post("/v1/messages")
def messages() -> Response:
    """POST /v1/messages, with whatever query string: Claude Code sends `?beta=true`."""
    runtime = _runtime()
    settings = runtime.settings
    asked = read_messages(
        read_body(
            request.environ,
            limit_bytes=int(settings.max_body_mb * MEGABYTE),
            timeout_seconds=settings.body_timeout_seconds,
        )
    )
    observation = _observation()
    observation.asked = asked["model"]
    streamed = bool(asked.get("stream"))

    def prepared(model: Model, without: frozenset[str], at_most: int | None) -> bytes:
        return encode(body_for(asked, model, without, at_most, free_mode=settings.free_mode))

    call = Call(
        name=asked["model"],
        needs=needs_of(asked),
        body_for=prepared,
        streamed=streamed,
        path="/messages",
        dialect=MESSAGES,
        headers={} if settings.free_mode else _forwarded(),
    )
    exchange = Exchange(runtime.services, call)
    if streamed:
        return respond_streamed(exchange, MessageStream(), observation, request.environ)
    return respond_whole(exchange, observation, request.environ, change=with_content)


def _forwarded() -> dict[str, str]:
    return {name: value for name in _FORWARDED if (value := request.headers.get(name))}
