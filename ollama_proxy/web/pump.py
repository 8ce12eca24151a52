"""The one pump: from an exchange with the models to the response, in whatever form the spoken API has.

It knows Flask, the exchange and the client's leaving; of the API only what an `AnswerReader` tells it. The end of a
request is noted here for every route: usage, cost, success and failure (docs/contract.md, "Streams").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson
from flask import Response, request

from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.attempt import Beat, StreamBroken
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.openrouter.answers.chunks import cost_of, count_of
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind
from ollama_proxy.server.disconnect import watch_client
from ollama_proxy.web.context import free_left, observation
from ollama_proxy.web.stream_body import StreamBody

JSON = "application/json"
#: Without a charset, as Ollama sends it: an event stream is UTF-8 anyhow (WHATWG HTML 9.2.6).
SSE = "text/event-stream"


class AnswerReader(Protocol):
    """Reads one answer of upstream for one client: bursts of payloads in, what is written to the client out."""

    @property
    def failure(self) -> Failure | None:
        """What went wrong inside an answer that had begun well: nothing behind it is passed on."""

    @property
    def whole(self) -> bool:
        """The answer has said how it ended: what goes wrong from now on costs the client nothing."""

    @property
    def satisfied(self) -> bool:
        """The client has all that it gets, though upstream may go on: it is closed."""

    @property
    def usage(self) -> Mapping[str, Any]:
        """Upstream's token counts, as far as they have come."""

    def accepted(self, at_ns: int | None) -> None:
        """Upstream accepted the request at that time (monotonic clock, nanoseconds). May be told more than once."""

    def feed(self, burst: Sequence[bytes]) -> list[bytes]:
        """The writes for one burst of payloads, perhaps none. Sets `failure`."""

    def end(self) -> list[bytes]:
        """The last writes of a whole answer; none if they have been made already. May set `failure`."""


class StreamReader(AnswerReader, Protocol):
    """Reads an answer that the client gets as a stream."""

    def heartbeat(self) -> bytes:
        """What is written when nothing has come for a while."""

    def failed(self, error: ProxyError) -> bytes:
        """What ends a stream that broke."""


class WholeReader(AnswerReader, Protocol):
    """Reads an answer that the client gets in one piece. It makes no writes."""

    def body(self) -> bytes:
        """The whole body of the response. Raises ProxyError."""


class _Pump:
    """One request on its way through: owns the exchange and the watch on the client, and ends both."""

    def __init__(self, exchange: Exchange, reader: AnswerReader, ended: Callable[[], None] | None) -> None:
        self.observation = observation()
        self.observation.exchange = exchange
        self._exchange = exchange
        self._reader = reader
        self._ended = ended
        self._watch = watch_client(request.environ)

    def close(self) -> None:
        """End it, however it went. Called once."""
        if self._watch is not None:
            self._watch.stop()
        usage: Mapping[str, Any] = {}
        try:
            self._exchange.close()
            usage = self._reader.usage
        finally:
            self._exchange.settle(usage)
        noted = self.observation
        noted.prompt_tokens = count_of(usage, "prompt_tokens", "input_tokens")
        noted.completion_tokens = self._completion_tokens()
        noted.cost = cost_of(usage)
        if self._ended is not None:
            self._ended()

    def _completion_tokens(self) -> int | None:
        return count_of(self._reader.usage, "completion_tokens", "output_tokens")

    def writes(self, heartbeat: Callable[[], bytes]) -> Iterator[bytes]:
        """The writes of the response. Raises ProxyError where it must end in an error."""
        exchange, reader = self._exchange, self._reader
        ended = False
        try:
            for item in exchange:
                if isinstance(item, Beat):
                    yield heartbeat()
                    continue
                reader.accepted(exchange.accepted_ns)
                writes = reader.feed(item)
                if (exchange.complete or reader.satisfied) and reader.failure is None:
                    ended = True
                    writes += reader.end()
                if not writes:
                    exchange.unheard()
                yield from writes
                if reader.failure is not None:
                    raise exchange.broken(reader.failure)
                if reader.satisfied:
                    exchange.close()
                    break
        except StreamBroken as error:
            if not reader.whole:
                raise exchange.broken(error.failure) from error
        if not ended:
            if not (reader.whole or exchange.complete):
                raise exchange.broken(Failure(FailureKind.EARLY_CLOSE, 200, detail="the stream ended early"))
            yield from reader.end()
            if reader.failure is not None:
                raise exchange.broken(reader.failure)
        exchange.succeeded(self._completion_tokens())


def respond_streamed(
    exchange: Exchange, reader: StreamReader, *, content_type: str, ended: Callable[[], None] | None = None
) -> Response:
    """A streamed response. Raises ProxyError as long as the true status can be sent.

    `ended` is called once, when the request is over, however it ended.
    """
    pump = _Pump(exchange, reader, ended)
    pump.observation.streamed = True
    writes = pump.writes(reader.heartbeat)
    try:
        first = next(writes, b"")
        body = StreamBody(first, writes, pump.observation, failed=reader.failed, close=pump.close)
    except BaseException:
        pump.close()
        raise
    response = Response(body, content_type=content_type, headers=_headers_of(exchange), direct_passthrough=True)
    if content_type == SSE:
        response.headers["Cache-Control"] = "no-cache"
    # nginx would hold writes back to fill its buffers.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def respond_whole(
    exchange: Exchange, reader: WholeReader, *, content_type: str = JSON, ended: Callable[[], None] | None = None
) -> Response:
    """A response in one piece. Raises ProxyError. `ended` as for `respond_streamed`."""
    pump = _Pump(exchange, reader, ended)
    try:
        for _ in pump.writes(bytes):  # heartbeats have nowhere to go: the status is still open
            pass
        body = reader.body()
    finally:
        pump.close()
    return Response(body, content_type=content_type, headers=_headers_of(exchange))


def _headers_of(exchange: Exchange) -> dict[str, str]:
    """Who answers, how many were asked, and what is left, as far as it is known when the status goes out."""
    headers = {**free_left(), **exchange.left_headers}
    if exchange.model is not None:
        headers["X-OpenRouter-Model"] = exchange.model.id
        headers["X-Proxy-Attempts"] = str(len(exchange.tried))
        headers["X-Proxy-Chain"] = exchange.chain
    return headers


class WholeBody:
    """A body that passes through in one piece, `change`d on the way."""

    failure: Failure | None = None
    satisfied = False

    def __init__(self, change: Callable[[bytes], bytes] = bytes) -> None:
        """`change` makes the client's body of upstream's. It may raise ProxyError."""
        self._change = change
        self._body = b""
        self._usage: Mapping[str, Any] | None = None

    @property
    def whole(self) -> bool:
        return bool(self._body)

    @property
    def usage(self) -> Mapping[str, Any]:
        if self._usage is None:
            self._usage = self._read_usage()
        return self._usage

    def _read_usage(self) -> Mapping[str, Any]:
        try:
            usage = orjson.loads(self._body).get("usage")
        except (orjson.JSONDecodeError, AttributeError):
            return {}
        return usage if isinstance(usage, dict) else {}

    def accepted(self, at_ns: int | None) -> None:
        """Nothing is timed."""

    def feed(self, burst: Sequence[bytes]) -> list[bytes]:
        self._body = burst[0]
        return []

    def end(self) -> list[bytes]:
        return []

    def body(self) -> bytes:
        return self._change(self._body)
