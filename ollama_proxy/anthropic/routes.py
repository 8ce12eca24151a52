"""The Messages API's route: read the request, hand it down, answer as an event stream or as one object.

Bodies pass through: `request` makes the body for upstream, `stream` the events for the client. There is no
`/v1/messages/count_tokens`, as in Ollama (docs/contract.md, "Endpoints").
"""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, request

from ollama_proxy.anthropic import error_form, unavailable
from ollama_proxy.anthropic.deferred_tools import may_defer
from ollama_proxy.anthropic.needs import needs_of
from ollama_proxy.anthropic.personas import with_persona
from ollama_proxy.anthropic.request import body_for, read_messages
from ollama_proxy.anthropic.stream import MessageStream, with_content
from ollama_proxy.bodies.client_tools import needed_server_tool
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.target import chat_target
from ollama_proxy.fallback.call import Call
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.openrouter.answers import stop_forms
from ollama_proxy.openrouter.answers.messages_dialect import MESSAGES
from ollama_proxy.web import context
from ollama_proxy.web.conversation import client_session, opening
from ollama_proxy.web.error_rendering import ErrorForms, render_errors
from ollama_proxy.web.pump import SSE, WholeBody, respond_streamed, respond_whole
from ollama_proxy.web.stopped import StoppedReader, cut_body
from ollama_proxy.web.told import respond_told

blueprint = Blueprint("anthropic", __name__)
render_errors(blueprint, ErrorForms(("", error_form)))

#: The client's headers that are part of the request and are passed on. Its key never is.
_FORWARDED = ("anthropic-version", "anthropic-beta")


@blueprint.post("/v1/messages")
def messages() -> Response:
    """POST /v1/messages, with any query string: Claude Code sends `?beta=true`."""
    data = context.request_body(zstd=True)
    asked, deferred = read_messages(data), may_defer(data)
    observation = context.observation()
    context.asked_for(asked["model"])
    backend = context.runtime().backend
    free_mode, streamed = context.pays_nothing(), bool(asked.get("stream"))
    models = context.catalog()
    target = chat_target(asked["model"], models, strict=backend.settings.strict_models, newer=context.newest_catalog)
    if free_mode and (kind := needed_server_tool(asked)) is not None:
        return respond_told(unavailable.message(asked, kind), MESSAGES, MessageStream() if streamed else None)

    client_asked = asked
    if target.persona is not None:
        own_model = target.model is not None and target.model.id.startswith("anthropic/")
        asked = with_persona(asked, target.persona, own_model=own_model)

    def prepared(model: Model, without: frozenset[str], at_most: int | None) -> bytes:
        return encode_body(body_for(asked, model, without, at_most, free_mode=free_mode, may_defer=deferred))

    needs, stops = needs_of(asked), asked.get("stop_sequences")
    call = Call(
        target=target,
        needs=needs,
        body_for=prepared,
        streamed=streamed,
        path="/messages",
        dialect=MESSAGES,
        own_provider="provider" in asked,
        caller=observation.caller,
        key=context.caller().holds,
        observation=observation,
        opening=opening(client_asked.get("system"), client_asked["messages"]),
        session=client_session(asked),
        headers={} if free_mode else _forwarded(),
        catalog=models,
    )
    exchange = Exchange(backend, call)
    if streamed:
        stream = MessageStream()
        reader = StoppedReader(stream, stop_forms.MESSAGES, stops, needs.prompt_tokens) if stops else stream
        return respond_streamed(exchange, reader, content_type=SSE)
    return respond_whole(exchange, WholeBody(partial(_whole, stops=stops) if stops else with_content))


def _whole(body: bytes, stops: list[str]) -> bytes:
    return cut_body(with_content(body), stop_forms.MESSAGES, stops)


def _forwarded() -> dict[str, str]:
    return {name: value for name in _FORWARDED if (value := request.headers.get(name))}
