"""POST /api/embed and /api/embeddings: vectors of the asked model, never of another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Response

from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.target import Target
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.fallback.exchange import Call, Exchange
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.ollama.answer.embed_answer import EmbedAnswer, Reply
from ollama_proxy.ollama.answer.vectors import fitting, unit
from ollama_proxy.ollama.models.lookup import check_name, embedding_model
from ollama_proxy.ollama.request.embed_bodies import EmbeddingRequest, EmbedRequest, read_embed, read_embedding
from ollama_proxy.ollama.request.to_openrouter import translate_embed
from ollama_proxy.ollama.views.replies import JSON, json_reply
from ollama_proxy.ollama.views.state import running
from ollama_proxy.openrouter.answers.embeddings_dialect import EMBEDDINGS
from ollama_proxy.web.context import asked_for, observation, request_body, runtime
from ollama_proxy.web.pump import respond_whole


def embed() -> Response:
    """POST /api/embed: one vector of length 1 for each text."""
    asked = read_embed(request_body())
    if not asked.asked.strip():
        raise ModelNotFound(f"model '{asked.asked}' not found")
    check_name(asked.asked, runtime().backend.catalog())

    def reply(vectors: list[list[float]], metrics: Mapping[str, int]) -> dict[str, Any]:
        return {"model": asked.asked, "embeddings": [unit(v, asked.dimensions) for v in vectors], **metrics}

    return _serve(asked, reply, truncate=asked.truncate)


def embeddings() -> Response:
    """POST /api/embeddings, the older form: one text, one vector, as the model gave it."""
    asked = read_embedding(request_body())
    if not asked.asked.strip():
        raise BadRequest("model is required")

    def reply(vectors: list[list[float]], _metrics: Mapping[str, int]) -> dict[str, Any]:
        return {"embedding": vectors[0] if vectors else []}

    return _serve(asked, reply, truncate=True)


def _serve(asked: EmbedRequest | EmbeddingRequest, reply: Reply, *, truncate: bool) -> Response:
    """The checks in Ollama's order, then the vectors; without a text the model is only loaded."""
    asked_for(asked.asked)
    texts = asked.texts()
    target = embedding_model(asked.asked, runtime().backend.catalog())
    asked.check_values()
    assert target.model is not None
    try:
        if not texts:
            return json_reply(reply([], {}))
        fitting(texts, target.model.context_length, truncate=truncate)
        return _vectors(asked, target, reply, len(texts))
    finally:
        running().used(target.model.name, target.model, asked.keep_alive)


def _vectors(asked: EmbedRequest | EmbeddingRequest, target: Target, reply: Reply, count: int) -> Response:
    translation = translate_embed(asked)
    call = Call(
        target,
        translation.needs,
        partial(_body_for, translation.body),
        streamed=False,
        path="/embeddings",
        dialect=EMBEDDINGS,
        caller=observation().caller,
    )
    exchange = Exchange(runtime().backend, call)
    reader = EmbedAnswer(reply, count=count, started_ns=int(observation().began * 1e9))
    return respond_whole(exchange, reader, content_type=JSON)


def _body_for(body: Mapping[str, Any], model: Model, *_lessons: object) -> bytes:
    texts = fitting(body["input"], model.context_length, truncate=True)
    return encode_body({**body, "input": texts, "model": model.id})
