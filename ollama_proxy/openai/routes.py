"""The OpenAI API's routes: read the request, hand it down, pass the answer on."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, current_app

from ollama_proxy.bodies.fit import fit
from ollama_proxy.bodies.guard import guarded
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.target import chat_target, embedding_target
from ollama_proxy.fallback.exchange import Call, Exchange
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.openai import error_form
from ollama_proxy.openai.embeddings import check_input, encoded, read_embeddings
from ollama_proxy.openai.model_list import ModelList
from ollama_proxy.openai.request import PassedRequest, read_chat, read_completion, read_responses
from ollama_proxy.openai.response_stream import ResponseStream
from ollama_proxy.openai.stream import CompletionStream
from ollama_proxy.openrouter.answers.chat_dialect import CHAT, COMPLETIONS
from ollama_proxy.openrouter.answers.dialect import Dialect
from ollama_proxy.openrouter.answers.embeddings_dialect import EMBEDDINGS
from ollama_proxy.openrouter.answers.responses_dialect import RESPONSES
from ollama_proxy.web import context
from ollama_proxy.web.conversation import client_session, opening
from ollama_proxy.web.error_rendering import render_errors
from ollama_proxy.web.pump import SSE, StreamReader, WholeBody, respond_streamed, respond_whole

blueprint = Blueprint("openai", __name__, url_prefix="/v1")
render_errors(blueprint, error_form)

#: Where the messages of a conversation are. A completion of a prompt is none.
_MESSAGES = {"/chat/completions": "messages", "/responses": "input"}

#: The fields to drop if upstream asks for a body without `reasoning`.
_SPELLINGS = {"reasoning": frozenset({"reasoning", "reasoning_effort", "include_reasoning"})}


def _free_mode() -> bool:
    return context.runtime().settings.free_mode


def _model_list() -> ModelList:
    models: ModelList = current_app.extensions.setdefault("ollama_proxy.model_list", ModelList())
    return models


def _json(body: bytes) -> Response:
    return Response(body, content_type=error_form.CONTENT_TYPE)


@blueprint.get("/models")
def models() -> Response:
    """GET /v1/models."""
    return _json(_model_list().models(context.runtime().backend.catalog()))


@blueprint.get("/models/<path:name>")
def model(name: str) -> Response:
    """GET /v1/models/NAME."""
    return _json(_model_list().model(context.runtime().backend.catalog(), name))


@blueprint.post("/chat/completions")
def chat() -> Response:
    """POST /v1/chat/completions."""
    asked = read_chat(context.request_body(zstd=True), free_mode=_free_mode())
    return _answer(asked, "/chat/completions", CHAT, CompletionStream(include_usage=asked.include_usage))


@blueprint.post("/completions")
def completions() -> Response:
    """POST /v1/completions."""
    asked = read_completion(context.request_body(zstd=True))
    return _answer(asked, "/completions", COMPLETIONS, CompletionStream(include_usage=asked.include_usage))


@blueprint.post("/responses")
def responses() -> Response:
    """POST /v1/responses."""
    asked = read_responses(context.request_body(zstd=True), free_mode=_free_mode())
    return _answer(asked, "/responses", RESPONSES, ResponseStream())


@blueprint.post("/embeddings")
def embeddings() -> Response:
    """POST /v1/embeddings."""
    asked = read_embeddings(context.request_body(zstd=True))
    as_base64 = asked.body.get("encoding_format") == "base64"
    observation = context.observation()
    observation.asked = asked.name

    def body_for(model: Model, without: frozenset[str], at_most: int | None) -> bytes:
        check_input(asked.body, model)
        return _fitted(asked, free_mode, model, without, at_most)

    runtime = context.runtime()
    free_mode = runtime.settings.free_mode
    call = Call(
        embedding_target(asked.name, runtime.backend.catalog()),
        asked.needs,
        body_for,
        streamed=False,
        path="/embeddings",
        dialect=EMBEDDINGS,
        caller=observation.caller,
    )
    exchange = Exchange(runtime.backend, call)
    return respond_whole(exchange, WholeBody(partial(encoded, as_base64=as_base64)))


def _answer(asked: PassedRequest, path: str, dialect: Dialect, stream: StreamReader) -> Response:
    runtime, observation = context.runtime(), context.observation()
    observation.asked = asked.name
    settings, backend = runtime.settings, runtime.backend
    call = Call(
        chat_target(asked.name, backend.catalog(), strict=settings.strict_models),
        asked.needs,
        partial(_fitted, asked, settings.free_mode),
        streamed=asked.stream,
        path=path,
        dialect=dialect,
        own_provider="provider" in asked.body,
        caller=observation.caller,
        opening=opening(asked.body.get("instructions"), asked.body.get(_MESSAGES.get(path, ""))),
        session=client_session(asked.body),
    )
    exchange = Exchange(backend, call)
    if asked.stream:
        return respond_streamed(exchange, stream, content_type=SSE)
    return respond_whole(exchange, WholeBody())


def _fitted(asked: PassedRequest, free_mode: bool, model: Model, without: frozenset[str], at_most: int | None) -> bytes:
    """Return the body for one model. `without` and `at_most` are changes learned from an earlier attempt."""
    dropped = without.union(*(_SPELLINGS.get(name, frozenset()) for name in without))
    body = {name: value for name, value in asked.body.items() if name not in dropped}
    if at_most is not None:
        body[asked.limit_name] = at_most
    return encode_body(fit(guarded(body, model, free_mode=free_mode), model))
