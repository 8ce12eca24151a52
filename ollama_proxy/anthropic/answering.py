"""From an exchange to a response of the Messages API: an event stream as it comes, or one object at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
from flask import Response

from ollama_proxy.anthropic.errors import CONTENT_TYPE, error_event
from ollama_proxy.anthropic.stream import PING, MessageStream
from ollama_proxy.disconnect import watch_client
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.attempt import Beat, StreamBroken
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.observation import Observation
from ollama_proxy.openrouter.chunks import parse
from ollama_proxy.openrouter.failure import Failure, Kind
from ollama_proxy.openrouter.messages_dialect import usage_of
from ollama_proxy.streaming import StreamBody

EVENT_STREAM = "text/event-stream; charset=utf-8"


def respond(exchange: Exchange, observation: Observation, *, stream: bool, environ: dict[str, Any]) -> Response:
    """The response to a Messages request. Raises ProxyError as long as the true status can be sent."""
    observation.exchange = exchange
    observation.streamed = stream
    watch = watch_client(environ)

    def close() -> None:
        if watch is not None:
            watch.stop()
        exchange.close()

    try:
        if stream:
            return _streamed(exchange, observation, close)
        body = _whole(exchange, observation)
    except BaseException:
        close()
        raise
    close()
    return Response(body, content_type=CONTENT_TYPE, headers=_headers(exchange))


def _whole(exchange: Exchange, observation: Observation) -> bytes:
    """The answer's body as it came, but that `content` is always a list: SDKs iterate over it."""
    payloads = [payload for item in exchange if not isinstance(item, Beat) for payload in item]
    exchange.succeeded()
    message = parse(payloads[0])
    _count(observation, usage_of(message))
    if message.get("content") is None:
        return orjson.dumps({**message, "content": []})
    return payloads[0]


def _streamed(exchange: Exchange, observation: Observation, close: Callable[[], None]) -> Response:
    def last_event(error: ProxyError) -> bytes:
        observation.error = error.message
        return error_event(error)

    writes = _writes(exchange, MessageStream(), observation)
    body = StreamBody(next(writes), writes, error_line=last_event, close=close)
    response = Response(body, content_type=EVENT_STREAM, headers=_headers(exchange), direct_passthrough=True)
    response.headers["Cache-Control"] = "no-cache"
    # nginx would hold events back to fill its buffers.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _writes(exchange: Exchange, stream: MessageStream, observation: Observation) -> Iterator[bytes]:
    """The writes of the response. Raises ProxyError where the stream must end in an error event."""
    try:
        for item in exchange:
            if isinstance(item, Beat):
                yield PING
                continue
            if written := stream.feed(item):
                yield written
            if stream.failure is not None:
                raise exchange.broken(stream.failure)
    except StreamBroken as error:
        if not stream.whole:
            raise exchange.broken(error.failure) from error
    if not stream.whole:
        raise exchange.broken(Failure(Kind.EARLY_CLOSE, 200, detail="the stream ended early"))
    if written := stream.end():
        yield written
    exchange.succeeded()
    _count(observation, stream.usage)


def _count(observation: Observation, usage: Mapping[str, Any]) -> None:
    read, written = usage.get("input_tokens"), usage.get("output_tokens")
    observation.prompt_tokens = read if isinstance(read, int) else None
    observation.completion_tokens = written if isinstance(written, int) else None


def _headers(exchange: Exchange) -> dict[str, str]:
    """Who answers and how many were asked, as far as it is known when the status goes out."""
    if exchange.model is None:
        return {}
    return {"X-OpenRouter-Model": exchange.model.id, "X-Proxy-Attempts": str(len(exchange.tried))}
