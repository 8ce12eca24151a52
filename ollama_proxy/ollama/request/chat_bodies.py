"""The bodies of chat and generate: their typed requests, their schemas, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from marshmallow import post_load

from ollama_proxy import limits
from ollama_proxy.bodies.options import check_options
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import encode_body, encode_part
from ollama_proxy.gojson.go_fields import Anything, Flag, Integer, Integers, Options, Text
from ollama_proxy.gojson.text import quote
from ollama_proxy.ollama.request.base import ModelRequest, ModelSchema, read_request
from ollama_proxy.ollama.request.field_types import Images, KeepAlive, Messages, Think, Tools
from ollama_proxy.ollama.request.messages import Message

_MOST_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest(ModelRequest):
    """The common part of chat and generate.

    `keep_alive` is in seconds, below zero forever, None if the client did not say.
    """

    stream: bool = True
    format: Any = None
    keep_alive: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    think: bool | str | None = None
    truncate: bool = True
    shift: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = False

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must follow: `{}` for any JSON, None for free text."""
        if self.format == "json":
            return {}
        return self.format if isinstance(self.format, dict) else None

    def check_values(self) -> None:
        """Raise BadRequest for values that Ollama refuses once the model exists: options, format.

        Ollama answers some of these with 500, which SDKs repeat, so all are 400 here.
        """
        check_options(self.options)
        if isinstance(self.format, dict):
            encode_part(self.format)
        elif self.format not in (None, "", "json"):
            raw = quote(encode_body(self.format).decode())
            raise BadRequest(f'invalid format: {raw}; expected "json" or a valid JSON Schema object')


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest(AnswerRequest):
    """POST /api/chat. `tools` are the checked `function` objects.

    `client_messages` are the client's own, if `messages` hold a persona's too.
    """

    messages: list[Message] = field(default_factory=list)
    client_messages: list[Message] | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_choice: Any = None

    @property
    def is_load(self) -> bool:
        """True if there is nothing to answer: load the model, or unload it if `keep_alive` is 0."""
        return not self.messages


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest(AnswerRequest):
    """POST /api/generate. `context` is read and ignored: its tokens mean nothing to another model.

    `lead` are a persona's messages, which stand before the prompt.
    """

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[int] = field(default_factory=list)
    raw: bool = False
    images: tuple[str, ...] = ()
    lead: tuple[Message, ...] = ()

    @property
    def is_load(self) -> bool:
        """True if there is nothing to answer: load the model, or unload it if `keep_alive` is 0."""
        return not self.prompt

    def check_values(self) -> None:
        """Raise BadRequest as for chat, and for fields that contradict each other."""
        if self.raw and (self.template or self.system or self.context):
            raise BadRequest("raw mode does not support template, system, or context")
        # slots=True makes a new class, so super() without arguments would use the wrong one.
        AnswerRequest.check_values(self)
        _check_template(self.template)


def _check_template(template: str) -> None:
    """Raise BadRequest, with Go's text, for a template that Go could not parse. A template is not used otherwise."""
    if len(template) > limits.TEMPLATE:
        raise BadRequest(f"template: more than {limits.TEMPLATE} characters")
    position = template.find("{{")
    while position >= 0:
        end = template.find("}}", position)
        if end < 0:
            line = template.count("\n", 0, position) + 1
            raise BadRequest(f"template: :{line}: unclosed action")
        position = template.find("{{", end)


def _check_top_logprobs(request: AnswerRequest) -> None:
    """Raise BadRequest if `top_logprobs` is out of range; this is checked before the model's name."""
    if not 0 <= request.top_logprobs <= _MOST_TOP_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {_MOST_TOP_LOGPROBS}")


class AnswerSchema(ModelSchema):
    stream = Flag()
    format = Anything()
    keep_alive = KeepAlive()
    options = Options()
    think = Think()
    truncate = Flag()
    shift = Flag()
    logprobs = Flag()
    top_logprobs = Integer()
    debug_render_only = Flag(data_key="_debug_render_only")

    @post_load
    def _build(self, data: dict[str, Any], **_kwargs: Any) -> Any:
        request = self.request(**data)
        _check_top_logprobs(request)
        return request


class ChatSchema(AnswerSchema):
    struct = "ChatRequest"
    request = ChatRequest

    messages = Messages()
    tools = Tools()
    tool_choice = Anything()


class GenerateSchema(AnswerSchema):
    struct = "GenerateRequest"
    request = GenerateRequest

    prompt = Text()
    suffix = Text()
    system = Text()
    template = Text()
    # A field cannot be called `context`: marshmallow uses that name itself.
    context_tokens = Integers(data_key="context", attribute="context")
    raw = Flag()
    images = Images()


_CHAT, _GENERATE = ChatSchema(), GenerateSchema()


def read_chat(body: bytes) -> ChatRequest:
    """Read the body of POST /api/chat."""
    return cast(ChatRequest, read_request(_CHAT, body))


def read_generate(body: bytes) -> GenerateRequest:
    """Read the body of POST /api/generate."""
    return cast(GenerateRequest, read_request(_GENERATE, body))
