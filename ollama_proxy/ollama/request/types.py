"""The typed requests of the Ollama API: one frozen dataclass per request body.

The fields have these types already. Values that Ollama checks only when the model is known are checked by
`check_values`, which the route calls after it has resolved the name (docs/contract.md, "Requests").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ollama_proxy import limits
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import encode_body, encode_part
from ollama_proxy.gojson.text import quote
from ollama_proxy.ollama.request.messages import Message
from ollama_proxy.ollama.request.options import check_options

_MOST_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request that names a model. `name` is the older spelling of `model`."""

    model: str = ""
    name: str = ""

    @property
    def asked(self) -> str:
        """The model's name as the client wrote it; replies repeat it unchanged."""
        return self.model or self.name


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
    """POST /api/chat. `tools` are the checked `function` objects."""

    messages: list[Message] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_choice: Any = None

    @property
    def is_load(self) -> bool:
        """True if there is nothing to answer: load the model, or unload it if `keep_alive` is 0."""
        return not self.messages


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest(AnswerRequest):
    """POST /api/generate. `context` is read and ignored: its tokens mean nothing to another model."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[int] = field(default_factory=list)
    raw: bool = False
    images: tuple[str, ...] = ()

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest(ModelRequest):
    """POST /api/show."""

    verbose: bool = False
    system: str = ""
    template: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRequest(ModelRequest):
    """POST /api/pull, /api/push and /api/create, which answer with status lines."""

    stream: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRequest(ModelRequest):
    """DELETE /api/delete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """POST /api/copy."""

    source: str = ""
    destination: str = ""


def check_top_logprobs(request: AnswerRequest) -> None:
    """Raise BadRequest if `top_logprobs` is out of range; this is checked before the model's name."""
    if not 0 <= request.top_logprobs <= _MOST_TOP_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {_MOST_TOP_LOGPROBS}")
