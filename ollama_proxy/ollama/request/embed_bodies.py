"""The bodies of embed and embeddings: their typed requests, their schemas, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from ollama_proxy.bodies.options import check_options
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.go_fields import Anything, Flag, Integer, Options, Text
from ollama_proxy.ollama.request.base import ModelRequest, ModelSchema, read_request
from ollama_proxy.ollama.request.field_types import KeepAlive


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest(ModelRequest):
    """POST /api/embed. `input` is unchecked, see `texts`; `dimensions` is applied to the answer."""

    input: Any = None
    truncate: bool = True
    dimensions: int = 0
    keep_alive: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def texts(self) -> list[str]:
        """Return the texts to embed; none means that the model is only loaded.

        Raises BadRequest. The route calls it before it looks for the model.
        """
        if self.input in (None, ""):
            return []
        texts = [self.input] if isinstance(self.input, str) else self.input
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise BadRequest("invalid input type")
        return texts

    def check_values(self) -> None:
        """Raise BadRequest for an option of a wrong type."""
        check_options(self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest(ModelRequest):
    """POST /api/embeddings, the older form: one text, one vector."""

    prompt: str = ""
    keep_alive: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def texts(self) -> list[str]:
        """Return the one text; an empty list means that the model is only loaded."""
        return [self.prompt] if self.prompt else []

    def check_values(self) -> None:
        """Raise BadRequest for an option of a wrong type."""
        check_options(self.options)


class EmbedSchema(ModelSchema):
    struct = "EmbedRequest"
    request = EmbedRequest

    input = Anything()
    truncate = Flag()
    dimensions = Integer()
    keep_alive = KeepAlive()
    options = Options()


class EmbeddingSchema(ModelSchema):
    struct = "EmbeddingRequest"
    request = EmbeddingRequest

    prompt = Text()
    keep_alive = KeepAlive()
    options = Options()


_EMBED, _EMBEDDING = EmbedSchema(), EmbeddingSchema()


def read_embed(body: bytes) -> EmbedRequest:
    """Read the body of POST /api/embed."""
    return cast(EmbedRequest, read_request(_EMBED, body))


def read_embedding(body: bytes) -> EmbeddingRequest:
    """Read the body of POST /api/embeddings."""
    return cast(EmbeddingRequest, read_request(_EMBEDDING, body))
