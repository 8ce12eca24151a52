"""Builds the response of an API whose answers pass through, from an exchange: as events, or as one body.

It knows Flask, the exchange and the disconnect watch; of the API it knows only an `EventStream`. Heartbeats, errors and
ends are written in that API's own form (docs/contract.md, "Streams").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson
from flask import Response

from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.attempt import Beat, StreamBroken
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.observation import Observation
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind
from ollama_proxy.server.disconnect import DisconnectWatch, watch_client
from ollama_proxy.web.stream_body import StreamBody

JSON = "application/json"
#: Without a charset, as Ollama sends it: an event stream is always UTF-8 (WHATWG HTML 9.2.6).
SSE = "text/event-stream"


class EventStream(Protocol):
    """Turns bursts of payloads into bytes of events, for one streamed answer."""

    #: Bytes that are written when nothing has come for a while.
    heartbeat: bytes
    #: What went wrong upstream after the stream began. Nothing that comes after it is passed on.
    failure: Failure | None
    #: The token counts that upstream has sent so far.
    usage: Mapping[str, Any]

    @property
    def whole(self) -> bool:
        """True once the answer has said how it ended: the client has all of it, so a later failure does not matter."""

    def feed(self, burst: Sequence[bytes]) -> bytes:
        """Return the events for one burst of payloads, perhaps none. Look at `failure` after it."""

    def end(self) -> bytes:
        """Return the last events of a whole answer; none if they have been passed on already."""

    def failed(self, error: ProxyError) -> bytes:
        """Return the events that end a broken stream."""


def respond_streamed(
    exchange: Exchange, stream: EventStream, observation: Observation, environ: dict[str, Any]
) -> Response:
    """Return the event stream of an exchange. Raises ProxyError as long as the true status can still be sent."""
    observation.exchange, observation.streamed = exchange, True
    watch = watch_client(environ)

    def close() -> None:
        _stop(watch, exchange)

    def last_event(error: ProxyError) -> bytes:
        observation.error = error.reason
        return stream.failed(error)

    writes = _writes(exchange, stream, observation)
    try:
        body = StreamBody(next(writes, b""), writes, error_line=last_event, close=close)
    except BaseException:
        close()
        raise
    response = Response(body, content_type=SSE, headers=_headers_of(exchange), direct_passthrough=True)
    response.headers["Cache-Control"] = "no-cache"
    # nginx would hold events back to fill its buffers.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def respond_whole(
    exchange: Exchange,
    observation: Observation,
    environ: dict[str, Any],
    *,
    change: Callable[[bytes], bytes] = lambda body: body,
) -> Response:
    """Return upstream's whole body after `change`. Raises ProxyError."""
    observation.exchange = exchange
    watch = watch_client(environ)
    body = b""
    try:
        for item in exchange:
            if not isinstance(item, Beat):
                body = item[0]
        exchange.succeeded()
    finally:
        _stop(watch, exchange)
    _note_usage(observation, _usage_of(body))
    return Response(change(body), content_type=JSON, headers=_headers_of(exchange))


def _stop(watch: DisconnectWatch | None, exchange: Exchange) -> None:
    if watch is not None:
        watch.stop()
    exchange.close()


def _writes(exchange: Exchange, stream: EventStream, observation: Observation) -> Iterator[bytes]:
    """Yield the writes of the response. Raises ProxyError where the stream must end in an error."""
    try:
        for item in exchange:
            data = stream.heartbeat if isinstance(item, Beat) else stream.feed(item)
            if data:
                yield data
            else:
                exchange.unheard()
            if stream.failure is not None:
                raise exchange.broken(stream.failure)
    except StreamBroken as error:
        if not stream.whole:
            raise exchange.broken(error.failure) from error
    if not (stream.whole or exchange.complete):
        raise exchange.broken(Failure(FailureKind.EARLY_CLOSE, 200, detail="the stream ended early"))
    if last := stream.end():
        yield last
    exchange.succeeded()
    _note_usage(observation, stream.usage)


def _usage_of(body: bytes) -> Mapping[str, Any]:
    try:
        usage = orjson.loads(body).get("usage")
    except (orjson.JSONDecodeError, AttributeError):
        return {}
    return usage if isinstance(usage, dict) else {}


def _note_usage(observation: Observation, usage: Mapping[str, Any]) -> None:
    observation.prompt_tokens = _count(usage, "prompt_tokens", "input_tokens")
    observation.completion_tokens = _count(usage, "completion_tokens", "output_tokens")


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    return next((usage[name] for name in names if isinstance(usage.get(name), int)), None)


def _headers_of(exchange: Exchange) -> dict[str, str]:
    """Return headers that say which model answers and how many were tried, as far as known when the status goes out."""
    if exchange.model is None:
        return {}
    return {"X-OpenRouter-Model": exchange.model.id, "X-Proxy-Attempts": str(len(exchange.tried))}
