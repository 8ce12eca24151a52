"""The Messages API's route: read the request, hand it down, answer as an event stream or as one object.

Bodies pass through: `request` makes the body for upstream, `stream` the events for the client. There is no
`/v1/messages/count_tokens`, as in Ollama (docs/contract.md, "Endpoints").
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from ollama_proxy.anthropic import error_form
from ollama_proxy.anthropic.needs import needs_of
from ollama_proxy.anthropic.request import body_for, read_messages
from ollama_proxy.anthropic.stream import MessageStream, with_content
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.target import chat_target
from ollama_proxy.fallback.exchange import Call, Exchange
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.openrouter.answers.messages_dialect import MESSAGES
from ollama_proxy.web import context
from ollama_proxy.web.conversation import client_session, opening
from ollama_proxy.web.error_rendering import render_errors
from ollama_proxy.web.pump import SSE, WholeBody, respond_streamed, respond_whole

blueprint = Blueprint("anthropic", __name__)
render_errors(blueprint, error_form)

#: The client's headers that are part of the request and are passed on. Its key never is.
_FORWARDED = ("anthropic-version", "anthropic-beta")


@blueprint.post("/v1/messages")
def messages() -> Response:
    """POST /v1/messages, with any query string: Claude Code sends `?beta=true`."""
    asked = read_messages(context.request_body(zstd=True))
    observation = context.observation()
    observation.asked = asked["model"]
    backend = context.runtime().backend
    free_mode, streamed = backend.settings.free_mode, bool(asked.get("stream"))

    def prepared(model: Model, without: frozenset[str], at_most: int | None) -> bytes:
        return encode_body(body_for(asked, model, without, at_most, free_mode=free_mode))

    strict = backend.settings.strict_models
    call = Call(
        target=chat_target(asked["model"], backend.catalog(), strict=strict),
        needs=needs_of(asked),
        body_for=prepared,
        streamed=streamed,
        path="/messages",
        dialect=MESSAGES,
        own_provider="provider" in asked,
        caller=observation.caller,
        opening=opening(asked.get("system"), asked["messages"]),
        session=client_session(asked),
        headers={} if free_mode else _forwarded(),
    )
    exchange = Exchange(backend, call)
    if streamed:
        return respond_streamed(exchange, MessageStream(), content_type=SSE)
    return respond_whole(exchange, WholeBody(with_content))


def _forwarded() -> dict[str, str]:
    return {name: value for name in _FORWARDED if (value := request.headers.get(name))}
