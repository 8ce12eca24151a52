"""POST /api/embed and /api/embeddings: vectors of the asked model, never of another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Response

from ollama_proxy.bodies.embedding_inputs import fitting, too_long
from ollama_proxy.catalog.target import Target
from ollama_proxy.errors import BadRequest, ModelNotFound, PromptTooLong
from ollama_proxy.fallback.call import Call
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.ollama.answer.embed_answer import EmbedAnswer, Reply
from ollama_proxy.ollama.models.lookup import check_name, embedding_model
from ollama_proxy.ollama.request.embed_bodies import EmbeddingRequest, EmbedRequest, read_embed, read_embedding
from ollama_proxy.ollama.request.to_openrouter import translate_embed
from ollama_proxy.ollama.views.replies import JSON, json_reply
from ollama_proxy.ollama.views.state import running
from ollama_proxy.openrouter.answers.embeddings_dialect import EMBEDDINGS
from ollama_proxy.openrouter.answers.vectors import unit
from ollama_proxy.web.context import asked_for, caller, catalog, observation, request_body
from ollama_proxy.web.embedding import respond_embedded, widths


def embed() -> Response:
    """POST /api/embed: one vector of length 1 for each text."""
    asked = read_embed(request_body())
    if not asked.asked.strip():
        raise ModelNotFound(f"model '{asked.asked}' not found")
    check_name(asked.asked, catalog())

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
    target = embedding_model(asked.asked, catalog())
    asked.check_values()
    assert target.model is not None
    try:
        if not texts:
            return json_reply(reply([], {}))
        fitting(texts, target.model.context_length, truncate=truncate)
        return _vectors(asked, target, reply, truncate=truncate)
    finally:
        running().used(target.model, asked.keep_alive, asked=observation().asked, caller=observation().caller)


def _vectors(asked: EmbedRequest | EmbeddingRequest, target: Target, reply: Reply, *, truncate: bool) -> Response:
    model = target.model
    assert model is not None
    translation, noted, models = translate_embed(asked), observation(), catalog()

    def call_for(inputs: list[str]) -> Call:
        return Call(
            target,
            translation.needs,
            lambda *_: encode_body({**translation.body, "input": inputs, "model": model.id}),
            streamed=False,
            path="/embeddings",
            dialect=EMBEDDINGS,
            caller=noted.caller,
            key=caller().holds,
            observation=noted,
            catalog=models,
        )

    def learned(vectors: list[list[float]], metrics: Mapping[str, int]) -> dict[str, Any]:
        widths()[model.id] = len(vectors[0])
        return reply(vectors, metrics)

    texts = fitting(translation.body["input"], model.context_length, truncate=True)
    reader_for = partial(EmbedAnswer, learned, count=len(texts), started_ns=int(noted.began * 1e9))
    try:
        return respond_embedded(texts, call_for, reader_for, content_type=JSON, may_cut=truncate)
    except PromptTooLong as error:
        if truncate:
            raise
        raise too_long() from error
