"""POST /api/embed and /api/embeddings: vectors of the asked model, and of no other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from flask import Response, request

from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.fallback.attempt import Beat
from ollama_proxy.fallback.exchange import Call, Exchange
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.ollama.answer.vectors import MalformedVectors, fitting, unit, vectors_of
from ollama_proxy.ollama.models.lookup import Meant, check_name, embedding_model
from ollama_proxy.ollama.request import schemas
from ollama_proxy.ollama.request.to_openrouter import translate_embed
from ollama_proxy.ollama.request.types import EmbeddingRequest, EmbedRequest
from ollama_proxy.ollama.views.answering import headers_of
from ollama_proxy.ollama.views.replies import json_reply, read, running
from ollama_proxy.openrouter.answers.chunks import count_of, parse_payload, usage_of
from ollama_proxy.openrouter.answers.embeddings_dialect import EMBEDDINGS
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind
from ollama_proxy.server.disconnect import watch_client
from ollama_proxy.web.context import observation, runtime


class Embedded(NamedTuple):
    """What came of a request: the vectors, durations and counts for the reply, and its headers."""

    vectors: list[list[float]]
    metrics: dict[str, int]
    headers: dict[str, str]


def embed() -> Response:
    """POST /api/embed: one vector of length 1 for each text."""
    asked = read(schemas.read_embed)
    if not asked.asked.strip():
        raise ModelNotFound(f"model '{asked.asked}' not found")
    check_name(asked.asked, runtime().backend.catalog())
    made = _embed(asked, truncate=asked.truncate)
    vectors = [unit(vector, asked.dimensions) for vector in made.vectors]
    return json_reply({"model": asked.asked, "embeddings": vectors, **made.metrics}, headers=made.headers)


def embeddings() -> Response:
    """POST /api/embeddings, the older form: one text, one vector, as the model gave it."""
    asked = read(schemas.read_embedding)
    if not asked.asked.strip():
        raise BadRequest("model is required")
    made = _embed(asked, truncate=True)
    return json_reply({"embedding": made.vectors[0] if made.vectors else []}, headers=made.headers)


def _embed(asked: EmbedRequest | EmbeddingRequest, *, truncate: bool) -> Embedded:
    """The checks in Ollama's order, then the vectors; without a text the model is only loaded."""
    observation().asked = asked.asked
    texts = asked.texts()
    meant = embedding_model(asked.asked, runtime().backend.catalog())
    asked.check_values()
    assert meant.model is not None
    try:
        if not texts:
            return Embedded([], {}, {})
        fitting(texts, meant.model.context_length, truncate=truncate)
        return _vectors(asked, meant, len(texts))
    finally:
        running().used(meant.model.name, meant.model, asked.keep_alive)


def _vectors(asked: EmbedRequest | EmbeddingRequest, meant: Meant, count: int) -> Embedded:
    translation = translate_embed(asked)
    call = Call(
        meant.name,
        translation.needs,
        partial(_body_for, translation.body),
        streamed=False,
        path="/embeddings",
        dialect=EMBEDDINGS,
        embedding=True,
    )
    exchange = observation().exchange = Exchange(runtime().backend, call)
    watch = watch_client(request.environ)
    try:
        body = parse_payload(_whole(exchange))
        vectors = vectors_of(body, count)
        exchange.succeeded()
    except MalformedVectors as error:
        raise exchange.broken(Failure(FailureKind.MALFORMED, 200, detail=str(error))) from error
    finally:
        if watch is not None:
            watch.stop()
        exchange.close()
    return Embedded(vectors, _metrics(body), headers_of(exchange))


def _whole(exchange: Exchange) -> bytes:
    """The body of the answer. Heartbeats have nowhere to go: the status is still open."""
    return b"".join(payload for item in exchange if not isinstance(item, Beat) for payload in item)


def _metrics(body: Mapping[str, Any]) -> dict[str, int]:
    noted = observation()
    noted.prompt_tokens = count_of(usage_of(body) or {}, "prompt_tokens") or None
    spent = max(int((time.monotonic() - noted.began) * 1e9), 1)
    counted = {} if noted.prompt_tokens is None else {"prompt_eval_count": noted.prompt_tokens}
    return {"total_duration": spent, "load_duration": 1, **counted}


def _body_for(body: Mapping[str, Any], model: Model, *_lessons: object) -> bytes:
    texts = fitting(body["input"], model.context_length, truncate=True)
    return encode_body({**body, "input": texts, "model": model.id})
