"""From an exchange to the response of an API whose answers pass through: events as they come, or one body at the end.

It knows Flask, the exchange and the client's leaving; of the API only what an `EventStream` tells it. Heartbeats,
errors and ends are written in that API's own form (docs/contract.md, "Streams").
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
from ollama_proxy.openrouter.answers.chunks import count_of
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind
from ollama_proxy.server.disconnect import DisconnectWatch, watch_client
from ollama_proxy.web.stream_body import StreamBody

JSON = "application/json"
#: Without a charset, as Ollama sends it: an event stream is UTF-8 anyhow (WHATWG HTML 9.2.6).
SSE = "text/event-stream"


class EventStream(Protocol):
    """One streamed answer on its way to the client: bursts of payloads in, bytes of events out."""

    #: What is written when nothing has come for a while.
    heartbeat: bytes
    #: What went wrong upstream after the stream had begun: nothing behind it is passed on.
    failure: Failure | None
    #: Upstream's token counts, as far as they have come.
    usage: Mapping[str, Any]

    @property
    def whole(self) -> bool:
        """The answer has said how it ended: what goes wrong from now on is nobody's loss."""

    def feed(self, burst: Sequence[bytes]) -> bytes:
        """The events for one burst of payloads, perhaps none; look at `failure` then."""

    def end(self) -> bytes:
        """The last events of a whole answer; nothing if they have been passed on already."""

    def failed(self, error: ProxyError) -> bytes:
        """What ends a stream that broke."""


def respond_streamed(
    exchange: Exchange, stream: EventStream, observation: Observation, environ: dict[str, Any]
) -> Response:
    """The event stream. Raises ProxyError as long as the true status can be sent."""
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
    """Upstream's body, `change`d. Raises ProxyError."""
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
    """The writes of the response. Raises ProxyError where the stream must end in an error."""
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
    observation.prompt_tokens = count_of(usage, "prompt_tokens", "input_tokens")
    observation.completion_tokens = count_of(usage, "completion_tokens", "output_tokens")


def _headers_of(exchange: Exchange) -> dict[str, str]:
    """Who answers and how many were asked, as far as it is known when the status goes out."""
    if exchange.model is None:
        return {}
    return {"X-OpenRouter-Model": exchange.model.id, "X-Proxy-Attempts": str(len(exchange.tried))}
