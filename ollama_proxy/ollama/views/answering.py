"""From an exchange to a response of the Ollama API: NDJSON lines as they come, or one object at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flask import Response

from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.attempt import Beat, StreamBroken
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.observation import Observation
from ollama_proxy.ollama.answer import lines
from ollama_proxy.ollama.answer.from_openrouter import OllamaAnswer
from ollama_proxy.ollama.views.replies import NDJSON, json_reply
from ollama_proxy.openrouter.answers.chunks import count_of
from ollama_proxy.server.disconnect import watch_client
from ollama_proxy.web.stream_body import StreamBody


def respond(
    exchange: Exchange,
    answer: OllamaAnswer,
    observation: Observation,
    *,
    stream: bool,
    environ: dict[str, Any],
    ended: Callable[[], None],
) -> Response:
    """The response to a chat or generate request. Raises ProxyError as long as the true status can be sent.

    `ended` is called once, when the request is over, however it ended.
    """
    observation.exchange = exchange
    observation.streamed = stream
    watch = watch_client(environ)

    def close() -> None:
        if watch is not None:
            watch.stop()
        exchange.close()
        ended()

    writes = _writes(exchange, answer, observation)
    try:
        if stream:
            return _streamed(exchange, writes, observation, close)
        for _ in writes:
            pass
    except BaseException:
        close()
        raise
    close()
    return json_reply(answer.whole(), headers=headers_of(exchange))


def _streamed(
    exchange: Exchange, writes: Iterator[bytes], observation: Observation, close: Callable[[], None]
) -> Response:
    def last_line(error: ProxyError) -> bytes:
        observation.error = error.reason
        return error_line(error)

    body = StreamBody(next(writes), writes, error_line=last_line, close=close)
    response = Response(body, content_type=NDJSON, headers=headers_of(exchange), direct_passthrough=True)
    # nginx would hold lines back to fill its buffers.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _writes(exchange: Exchange, answer: OllamaAnswer, observation: Observation) -> Iterator[bytes]:
    """The writes of the response. Raises ProxyError where the stream must end in an error line."""
    finished = False
    try:
        for item in exchange:
            if isinstance(item, Beat):
                yield answer.heartbeat()
                continue
            answer.accepted(exchange.accepted_ns)
            writes = answer.feed(item)
            if exchange.complete and answer.failure is None:
                finished = True
                writes += answer.finish()
            if not writes:
                exchange.unheard()
            yield from writes
            if answer.failure is not None:
                raise exchange.broken(answer.failure)
    except StreamBroken as error:
        raise exchange.broken(error.failure) from error
    if not finished:
        yield from answer.finish()
        if answer.failure is not None:
            raise exchange.broken(answer.failure)
    exchange.succeeded()
    usage = answer.usage or {}
    observation.prompt_tokens = count_of(usage, "prompt_tokens")
    observation.completion_tokens = count_of(usage, "completion_tokens")


def headers_of(exchange: Exchange) -> dict[str, str]:
    """Who answers and how many were asked, as far as it is known when the status goes out."""
    if exchange.model is None:
        return {}
    return {"X-OpenRouter-Model": exchange.model.id, "X-Proxy-Attempts": str(len(exchange.tried))}


def error_line(error: ProxyError) -> bytes:
    """An error as the last line of a stream that has begun."""
    return lines.error_line(error.message)
