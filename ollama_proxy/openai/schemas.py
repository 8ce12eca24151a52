"""The request bodies of the OpenAI API: the types of the fields that Ollama knows. Other fields are not checked.

A body is passed through: it comes out as it came in, only with the known names in lower case. A refusal has Ollama's
text (docs/contract.md, "Errors").
"""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema

from ollama_proxy import limits
from ollama_proxy.bodies.nulls import without_nulls
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import parse_body
from ollama_proxy.gojson.go_fields import Flag, GoField, Name, Text
from ollama_proxy.gojson.text import kind, wrong_type

#: JSON is written with 64-bit integers; a float may stand for one of three hundred digits.
_MOST_INT = 2**63 - 1

_LISTS = frozenset({"messages", "input", "tools"})


class Object(GoField):
    """An object; `go_type` is Ollama's name for it."""

    python_type: type = dict

    def __init__(self, go_type: str) -> None:
        super().__init__()
        self.go_type = go_type


class Array(Object):
    """A list of at most `most` elements, which an error calls by the field's name."""

    python_type = list

    def __init__(self, go_type: str, most: int) -> None:
        super().__init__(go_type)
        self._most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        items = super()._deserialize(value, attr, data, **kwargs)
        limits.check_count(len(items), self._most, str(attr))
        return items


class Number(GoField):
    """Any number."""

    go_type = "float64"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) not in (int, float):
            raise wrong_type(value, self.path(attr), self.go_type)
        return value


class Whole(GoField):
    """A whole number, also if it is written with a point (`5.0`), because some languages have only such numbers."""

    go_type = "int"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) is int or (type(value) is float and value.is_integer()):
            return min(max(int(value), -_MOST_INT), _MOST_INT)
        raise wrong_type(value, self.path(attr), self.go_type)


class Prompt(Text):
    """The prompt of a completion. OpenAI takes lists as well, which are no prompts to most models."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, list):
            raise BadRequest("prompt must be one string: lists of prompts and lists of tokens are not taken")
        return super()._deserialize(value, attr, data, **kwargs)


class PassedSchema(Schema):
    """A body that goes on to OpenRouter; `struct` is Ollama's name for it, which error texts mention."""

    class Meta:
        unknown = EXCLUDE

    struct = ""

    model = Name()
    stream = Flag()


class SampledSchema(PassedSchema):
    stream_options = Object("openai.StreamOptions")
    max_tokens = Whole()
    seed = Whole()
    temperature = Number()
    top_p = Number()
    frequency_penalty = Number()
    presence_penalty = Number()


class ChatCompletionSchema(SampledSchema):
    struct = "ChatCompletionRequest"

    messages = Array("[]openai.Message", limits.MESSAGES)
    max_completion_tokens = Whole()
    response_format = Object("openai.ResponseFormat")
    tools = Array("[]api.Tool", limits.TOOLS)
    reasoning = Object("openai.Reasoning")
    reasoning_effort = Text()
    logprobs = Flag()
    top_logprobs = Whole()


class CompletionSchema(SampledSchema):
    struct = "CompletionRequest"

    prompt = Prompt()
    suffix = Text()


class EmbeddingsSchema(PassedSchema):
    struct = "EmbedRequest"

    dimensions = Whole()
    encoding_format = Text()


class ResponsesSchema(PassedSchema):
    struct = "ResponsesRequest"

    instructions = Text()
    max_output_tokens = Whole()
    temperature = Number()
    top_p = Number()
    tools = Array("[]openai.ResponsesTool", limits.TOOLS)
    reasoning = Object("openai.ResponsesReasoning")
    text = Object("openai.ResponsesText")


CHAT, COMPLETION, EMBEDDING, RESPONSES = (
    ChatCompletionSchema(),
    CompletionSchema(),
    EmbeddingsSchema(),
    ResponsesSchema(),
)


def read(schema: PassedSchema, data: bytes) -> dict[str, Any]:
    """Return the body as it was sent, without nulls, once its known fields have the right types. Raises BadRequest."""
    if not data.strip():
        raise BadRequest("EOF")
    value = parse_body(data)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"json: cannot unmarshal {kind(value)} into Go value of type openai.{schema.struct}")
    body = {lower if (lower := name.lower()) in schema.fields else name: field for name, field in value.items()}
    if b"null" in data:
        # Messages and items are looked at one by one anyway, by those who repair them.
        body = {
            name: field if name in _LISTS else without_nulls(field) for name, field in body.items() if field is not None
        }
    body.update(schema.load(body))
    return body
