"""The request bodies of the Ollama API: their fields and the fields' types.

`read_*` turns a body into a typed request or raises BadRequest with Ollama's text. Unknown fields are ignored, names
match without case, null means absent. What depends on the model is checked later (docs/contract.md, "Requests").
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from marshmallow import EXCLUDE, Schema, post_load

from ollama_proxy.gojson.codec import decode_object
from ollama_proxy.gojson.go_fields import Anything, Flag, Integer, Integers, Name, Options, Text
from ollama_proxy.ollama.request import field_types, types

Request = TypeVar("Request")


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
    model = Name()
    name = Name()


class AnsweredSchema(ModelSchema):
    stream = Flag()
    format = Anything()
    keep_alive = field_types.KeepAlive()
    options = Options()
    think = field_types.Think()
    truncate = Flag()
    shift = Flag()
    logprobs = Flag()
    top_logprobs = Integer()
    debug_render_only = Flag(data_key="_debug_render_only")

    @post_load
    def _build(self, data: dict[str, Any], **_kwargs: Any) -> Any:
        request = self.request(**data)
        types.check_top_logprobs(request)
        return request


class ChatSchema(AnsweredSchema):
    struct = "ChatRequest"
    request = types.ChatRequest

    messages = field_types.Messages()
    tools = field_types.Tools()
    tool_choice = Anything()


class GenerateSchema(AnsweredSchema):
    struct = "GenerateRequest"
    request = types.GenerateRequest

    prompt = Text()
    suffix = Text()
    system = Text()
    template = Text()
    # A field cannot be called `context`: marshmallow uses that name itself.
    context_tokens = Integers(data_key="context", attribute="context")
    raw = Flag()
    images = field_types.Images()


class EmbedSchema(ModelSchema):
    struct = "EmbedRequest"
    request = types.EmbedRequest

    input = Anything()
    truncate = Flag()
    dimensions = Integer()
    keep_alive = field_types.KeepAlive()
    options = Options()


class EmbeddingSchema(ModelSchema):
    struct = "EmbeddingRequest"
    request = types.EmbeddingRequest

    prompt = Text()
    keep_alive = field_types.KeepAlive()
    options = Options()


class ShowSchema(ModelSchema):
    struct = "ShowRequest"
    request = types.ShowRequest

    verbose = Flag()
    system = Text()
    template = Text()
    options = Options()


class PullSchema(ModelSchema):
    struct = "PullRequest"
    request = types.StatusRequest

    stream = Flag()


class PushSchema(PullSchema):
    struct = "PushRequest"


class CreateSchema(PullSchema):
    struct = "CreateRequest"


class WebSchema(RequestSchema):
    """The searches of ollama.com: it matters only that there is a JSON object."""

    struct = "WebRequest"
    request = dict


class DeleteSchema(ModelSchema):
    struct = "DeleteRequest"
    request = types.DeleteRequest


class CopySchema(RequestSchema):
    struct = "CopyRequest"
    request = types.CopyRequest

    source = Name()
    destination = Name()


_CHAT, _GENERATE = ChatSchema(), GenerateSchema()
_EMBED, _EMBEDDING, _SHOW = EmbedSchema(), EmbeddingSchema(), ShowSchema()
_PULL, _PUSH, _CREATE, _DELETE, _COPY = PullSchema(), PushSchema(), CreateSchema(), DeleteSchema(), CopySchema()
_WEB = WebSchema()


def _read(schema: RequestSchema, body: bytes) -> Any:
    return schema.load(decode_object(body, struct=schema.struct))


def read_chat(body: bytes) -> types.ChatRequest:
    """Read the body of POST /api/chat."""
    return cast(types.ChatRequest, _read(_CHAT, body))


def read_generate(body: bytes) -> types.GenerateRequest:
    """Read the body of POST /api/generate."""
    return cast(types.GenerateRequest, _read(_GENERATE, body))


def read_embed(body: bytes) -> types.EmbedRequest:
    """Read the body of POST /api/embed."""
    return cast(types.EmbedRequest, _read(_EMBED, body))


def read_embedding(body: bytes) -> types.EmbeddingRequest:
    """Read the body of POST /api/embeddings."""
    return cast(types.EmbeddingRequest, _read(_EMBEDDING, body))


def read_show(body: bytes) -> types.ShowRequest:
    """Read the body of POST /api/show."""
    return cast(types.ShowRequest, _read(_SHOW, body))


def read_pull(body: bytes) -> types.StatusRequest:
    """Read the body of POST /api/pull."""
    return cast(types.StatusRequest, _read(_PULL, body))


def read_push(body: bytes) -> types.StatusRequest:
    """Read the body of POST /api/push."""
    return cast(types.StatusRequest, _read(_PUSH, body))


def read_create(body: bytes) -> types.StatusRequest:
    """Read the body of POST /api/create."""
    return cast(types.StatusRequest, _read(_CREATE, body))


def read_delete(body: bytes) -> types.DeleteRequest:
    """Read the body of DELETE /api/delete."""
    return cast(types.DeleteRequest, _read(_DELETE, body))


def read_copy(body: bytes) -> types.CopyRequest:
    """Read the body of POST /api/copy."""
    return cast(types.CopyRequest, _read(_COPY, body))


def read_web(body: bytes) -> dict[str, object]:
    """Read the body of POST /api/experimental/web_search and web_fetch; nothing of it is kept."""
    return cast(dict[str, object], _read(_WEB, body))
