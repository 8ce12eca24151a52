"""The OpenAI API's routes: read the request, hand it down, pass the answer on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from flask import Blueprint, Response, current_app

from ollama_proxy.bodies.fit import fit
from ollama_proxy.bodies.guard import guarded
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.target import Target, chat_target, embedding_target
from ollama_proxy.fallback.call import Call
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.observation import Observation
from ollama_proxy.openai import error_form, response_error_form, unavailable
from ollama_proxy.openai.embeddings import asked_of, check_input, encoded, inputs_of, read_embeddings, with_inputs
from ollama_proxy.openai.model_list import ModelList
from ollama_proxy.openai.nothing import loaded_chat, loaded_completion, loaded_response
from ollama_proxy.openai.personas import chat_with, completion_with, response_with
from ollama_proxy.openai.request import PassedRequest, read_chat, read_completion, read_responses
from ollama_proxy.openai.response_stream import ResponseStream, restored_body
from ollama_proxy.openai.stream import CompletionStream
from ollama_proxy.openai.tool_forms import TOOL_TYPES
from ollama_proxy.openrouter.answers import stop_forms
from ollama_proxy.openrouter.answers.chat_dialect import CHAT, COMPLETIONS
from ollama_proxy.openrouter.answers.dialect import Dialect
from ollama_proxy.openrouter.answers.embeddings_dialect import EMBEDDINGS
from ollama_proxy.openrouter.answers.responses_dialect import RESPONSES
from ollama_proxy.openrouter.answers.stop_cutter import StopForm
from ollama_proxy.web import context
from ollama_proxy.web.conversation import client_session, opening
from ollama_proxy.web.embedding import respond_embedded, widths
from ollama_proxy.web.error_rendering import ErrorForms, render_errors
from ollama_proxy.web.pump import SSE, StreamReader, WholeBody, respond_streamed, respond_whole
from ollama_proxy.web.stopped import StoppedReader, cut_body
from ollama_proxy.web.told import respond_told

Json = dict[str, Any]

blueprint = Blueprint("openai", __name__, url_prefix="/v1")
render_errors(blueprint, ErrorForms(("/v1/responses", response_error_form), ("", error_form)))

#: Where the messages of a conversation are. A completion of a prompt is none.
_MESSAGES = {"/chat/completions": "messages", "/responses": "input"}

#: What puts a persona into a body.
_WITH_PERSONA = {"/chat/completions": chat_with, "/completions": completion_with, "/responses": response_with}

#: The fields to drop if upstream asks for a body without `reasoning`.
_SPELLINGS = {"reasoning": frozenset({"reasoning", "reasoning_effort", "include_reasoning"})}


def _model_list() -> ModelList:
    models: ModelList = current_app.extensions.setdefault("ollama_proxy.model_list", ModelList())
    return models


def _json(body: bytes) -> Response:
    return Response(body, content_type=error_form.CONTENT_TYPE)


@blueprint.get("/models")
def models() -> Response:
    """GET /v1/models."""
    return _json(_model_list().models(context.catalog(), strict=context.runtime().settings.strict_models))


@blueprint.get("/models/<path:name>")
def model(name: str) -> Response:
    """GET /v1/models/NAME."""
    strict = context.runtime().settings.strict_models
    return _json(_model_list().model(context.catalog(), name, strict=strict, newer=context.newest_catalog))


@blueprint.post("/chat/completions")
def chat() -> Response:
    """POST /v1/chat/completions."""
    asked = read_chat(context.request_body(zstd=True), free_mode=context.pays_nothing())
    if asked.says_nothing:
        return _loaded(asked, loaded_chat)
    stream = CompletionStream(include_usage=asked.include_usage)
    if asked.unavailable is not None:
        return _told(asked, unavailable.completion(asked.name, asked.unavailable), CHAT, stream)
    return _answer(asked, "/chat/completions", CHAT, stream, stop_forms.CHAT)


@blueprint.post("/completions")
def completions() -> Response:
    """POST /v1/completions."""
    asked = read_completion(context.request_body(zstd=True))
    if asked.says_nothing:
        return _loaded(asked, loaded_completion)
    stream = CompletionStream(include_usage=asked.include_usage)
    return _answer(asked, "/completions", COMPLETIONS, stream, stop_forms.COMPLETIONS)


@blueprint.post("/responses")
def responses() -> Response:
    """POST /v1/responses."""
    asked = read_responses(context.request_body(zstd=True), free_mode=context.pays_nothing())
    if asked.says_nothing:
        return _loaded(asked, loaded_response)
    if asked.unavailable is not None:
        told = unavailable.response(asked.name, asked.unavailable, asked.body.get("input"))
        return _told(asked, told, RESPONSES, ResponseStream())
    return _answer(asked, "/responses", RESPONSES, ResponseStream(asked.forms))


@blueprint.post("/embeddings")
def embeddings() -> Response:
    """POST /v1/embeddings."""
    asked = read_embeddings(context.request_body(zstd=True))
    context.asked_for(asked.name)
    target = embedding_target(asked.name, context.catalog())
    model = target.model
    assert model is not None
    check_input(asked.body, model)
    reader_for = partial(
        WholeBody, partial(encoded, **asked_of(asked.body), learn=partial(widths().__setitem__, model.id))
    )
    inputs = inputs_of(asked.body, model.context_length)
    call_for = partial(_embedding_call, asked, target, context.observation())
    return respond_embedded(inputs, call_for, reader_for, content_type=error_form.CONTENT_TYPE)


def _embedding_call(asked: PassedRequest, target: Target, observation: Observation, inputs: list[Any]) -> Call:
    body = replace(asked, body=with_inputs(asked.body, inputs))
    return Call(
        target,
        asked.needs,
        partial(_fitted, body, context.pays_nothing()),
        streamed=False,
        path="/embeddings",
        dialect=EMBEDDINGS,
        caller=observation.caller,
        key=context.caller().holds,
        observation=observation,
        catalog=context.catalog(),
    )


def _loaded(asked: PassedRequest, body_for: Callable[..., bytes]) -> Response:
    """Answer a request that says nothing, if its model exists."""
    runtime, observation = context.runtime(), context.observation()
    context.asked_for(asked.name)
    observation.streamed = asked.stream
    chat_target(asked.name, context.catalog(), strict=runtime.settings.strict_models, newer=context.newest_catalog)
    body = body_for(asked.name, stream=asked.stream)
    return Response(body, content_type=SSE if asked.stream else error_form.CONTENT_TYPE)


def _told(asked: PassedRequest, answer: Json, dialect: Dialect, stream: StreamReader) -> Response:
    """The answer that is known without asking a model. Raises ProxyError as a model's name demands."""
    runtime = context.runtime()
    context.asked_for(asked.name)
    chat_target(asked.name, context.catalog(), strict=runtime.settings.strict_models, newer=context.newest_catalog)
    return respond_told(answer, dialect, stream if asked.stream else None)


def _answer(
    asked: PassedRequest, path: str, dialect: Dialect, stream: StreamReader, stop_form: StopForm | None = None
) -> Response:
    """The answer of a model, cut at the request's stop strings where `stop_form` knows how."""
    runtime, observation = context.runtime(), context.observation()
    context.note_asked(asked.name, observation, runtime)
    settings, models = runtime.settings, context.catalog()
    target = chat_target(asked.name, models, strict=settings.strict_models, newer=context.newest_catalog)
    client_body = asked.body
    if target.persona is not None:
        asked = _WITH_PERSONA[path](asked, target.persona)
    call = Call(
        target,
        asked.needs,
        partial(_fitted, asked, context.pays_nothing()),
        streamed=asked.stream,
        path=path,
        dialect=dialect,
        own_provider="provider" in asked.body,
        caller=observation.caller,
        key=context.caller().holds,
        observation=observation,
        opening=opening(client_body.get("instructions"), client_body.get(_MESSAGES.get(path, ""))),
        session=client_session(asked.body),
        catalog=models,
    )
    exchange = Exchange(runtime.backend, call)
    stops = asked.stops if stop_form is not None else ()
    if asked.stream:
        if stop_form is not None and stops:
            stream = StoppedReader(stream, stop_form, stops, asked.needs.prompt_tokens, asked.echoed)
        return respond_streamed(exchange, stream, content_type=SSE)
    return respond_whole(exchange, WholeBody(_change(asked, stop_form)))


def _change(asked: PassedRequest, stop_form: StopForm | None) -> Callable[[bytes], bytes]:
    """What is done to a whole answer on its way: nothing, for most."""
    if stop_form is not None and asked.stops:
        return partial(cut_body, form=stop_form, stops=asked.stops, echoed=asked.echoed)
    if asked.forms is not None:
        return partial(restored_body, forms=asked.forms)
    return bytes


def _fitted(asked: PassedRequest, free_mode: bool, model: Model, without: frozenset[str], at_most: int | None) -> bytes:
    """Return the body for one model. `without` and `at_most` are changes learned from an earlier attempt."""
    dropped = without.union(*(_SPELLINGS.get(name, frozenset()) for name in without))
    body = {name: value for name, value in asked.body.items() if name not in dropped}
    if asked.forms is not None and TOOL_TYPES in without:
        body = asked.forms.expanded(body)
    if at_most is not None:
        body[asked.limit_name] = at_most
    return encode_body(fit(guarded(body, model, free_mode=free_mode), model))
