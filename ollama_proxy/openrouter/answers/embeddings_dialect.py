"""How the answers of /embeddings are read: one body of vectors, never a stream. Pure."""

from __future__ import annotations

from ollama_proxy.openrouter.answers import chunks
from ollama_proxy.openrouter.answers.dialect import Dialect, Payload


def _as_it_is(payload: Payload) -> Payload:
    return payload


def _has_vectors(payload: Payload) -> bool:
    data = payload.get("data")
    return isinstance(data, list) and any(isinstance(item, dict) and item.get("embedding") for item in data)


#: `POST /embeddings`, https://openrouter.ai/docs/api-reference/embeddings
EMBEDDINGS = Dialect(
    error=chunks.error_of,
    useful=_has_vectors,
    ending=lambda _: None,
    tokens=lambda _: 0,
    from_whole=_as_it_is,
)
