"""What all request bodies of the Ollama API share: how a body becomes a typed request.

The modules `*_bodies` hold, for each body, the typed request (a frozen dataclass), the schema with Go's rules, and
`read_*`, which makes the one from the other or raises BadRequest with Ollama's text. Unknown fields are ignored, names
match without case, null means absent. What depends on the model is checked later, by `check_values`, which the route
calls after it has resolved the name (docs/contract.md, "Requests").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marshmallow import EXCLUDE, Schema, post_load

from ollama_proxy.gojson.codec import decode_object
from ollama_proxy.gojson.go_fields import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request that names a model. `name` is the older spelling of `model`."""

    model: str = ""
    name: str = ""

    @property
    def asked(self) -> str:
        """The model's name as the client wrote it; replies repeat it unchanged."""
        return self.model or self.name


class RequestSchema(Schema):
    """A body with Go's rules; `struct` is Ollama's name for it, which error texts mention."""

    class Meta:
        unknown = EXCLUDE

    struct = ""
    request: type = object

    @post_load
    def _build(self, data: dict[str, Any], **_kwargs: Any) -> Any:
        return self.request(**data)


class ModelSchema(RequestSchema):
    """A body that names a model."""

    model = Name()
    name = Name()


def read_request(schema: RequestSchema, body: bytes) -> Any:
    """Return the typed request that `schema` makes of `body`, of the type `schema.request`."""
    return schema.load(decode_object(body, struct=schema.struct))
