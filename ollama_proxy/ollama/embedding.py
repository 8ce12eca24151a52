"""POST /api/embed and /api/embeddings: vectors of the asked model, and of no other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Response, request

from ollama_proxy.catalog.records import Model
from ollama_proxy.disconnect import watch_client
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.fallback.attempt import Beat
from ollama_proxy.fallback.exchange import Call, Exchange
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.ollama import schemas
from ollama_proxy.ollama.answering import headers_of
from ollama_proxy.ollama.json_body import encode
from ollama_proxy.ollama.lookup import check_name, embedding_model
from ollama_proxy.ollama.requests import EmbeddingRequest, EmbedRequest
from ollama_proxy.ollama.served import json_reply, observation, read, running, runtime
from ollama_proxy.ollama.to_openrouter import translate_embed
from ollama_proxy.ollama.vectors import unit, vectors_of
from ollama_proxy.openrouter.chunks import parse, usage_of
from ollama_proxy.openrouter.dialect import EMBEDDINGS

_BYTES_PER_TOKEN = 4
_SAFE_BYTES_PER_TOKEN = 3  # a text that must be cut anyway is cut to what fits even if its tokens are short


def embed() -> Response:
    """POST /api/embed: one vector of length 1 for each text."""
    asked = read(schemas.read_embed)
    if not asked.asked.strip():
        raise ModelNotFound(f"model '{asked.asked}' not found")
    check_name(asked.asked, runtime().services.catalog())
    texts = asked.texts()
    body, headers = _vectors(asked, texts, truncate=asked.truncate)
    reply = {"model": asked.asked, "embeddings": [unit(vector, asked.dimensions) for vector in body.vectors]}
    return _with_headers(json_reply(reply | body.metrics), headers)


def embeddings() -> Response:
    """POST /api/embeddings, the older form: one text, one vector, as the model gave it."""
    asked = read(schemas.read_embedding)
    if not asked.asked.strip():
        raise BadRequest("model is required")
    body, headers = _vectors(asked, asked.texts(), truncate=True)
    return _with_headers(json_reply({"embedding": body.vectors[0] if body.vectors else []}), headers)
