"""The body of POST /api/create: its typed request, its schema, and the checks that Ollama makes of the fields alone.

What depends on the models there are is checked later (`catalog/making.py`). The order of the checks is Ollama's
(docs/contract.md, "Personas").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from ollama_proxy import limits
from ollama_proxy.catalog.making import Draft
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import encode_part
from ollama_proxy.gojson.go_fields import Anything, Flag, GoField, Name, Options, Text
from ollama_proxy.gojson.text import kind, wrong_type
from ollama_proxy.ollama.request.base import ModelRequest, ModelSchema, read_request
from ollama_proxy.ollama.request.field_types import Messages
from ollama_proxy.ollama.request.messages import Message

_NO_UPLOADS = "models cannot be uploaded here"
_WEIGHTS = (".gguf", ".safetensors", ".bin")
_TEXTS = frozenset({"model_family", "base_name", "quantization_level", "parameter_size"})
_NUMBERS = frozenset({"context_length", "embedding_length"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest(ModelRequest):
    """POST /api/create. `files` is None if the field is absent."""

    base: str = ""
    files: dict[str, str] | None = None
    adapters: dict[str, str] = field(default_factory=dict)
    draft_files: dict[str, str] = field(default_factory=dict)
    system: str = ""
    template: str = ""
    license: Any = None
    parameters: dict[str, Any] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    quantize: str = ""
    quantization: str = ""
    draft_quantize: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    stream: bool = True

    def check_files(self) -> None:
        """The checks before the name's. Raises BadRequest."""
        for files in (self.files or {}, self.draft_files):
            for path, digest in files.items():
                if not _is_valid_path(path):
                    raise BadRequest("file path must be relative")
                _check_digest(digest)
        if self.draft_quantize and not self.draft_files:
            raise BadRequest("--draft-quantize requires a DRAFT model")
        for digest in self.adapters.values():
            _check_digest(digest)

    def check_remote(self) -> None:
        """The check before the base is looked for. Raises BadRequest: no other server can answer here."""
        if self.remote_host:
            raise BadRequest("this server cannot run this remote model" if _is_url(self.remote_host) else "bad remote")

    def check_source(self, *, has_base: bool) -> None:
        """The checks after the base was found, if there is one, of what it is to be made of. Raises BadRequest."""
        if not has_base:
            self._check_source_without_base()
        if self.draft_files:
            raise BadRequest("DRAFT cannot be used with remote models")
        if len(self.adapters) > 1:
            raise BadRequest("only one adapter is currently supported")
        if self.adapters or self.files:
            raise BadRequest(_NO_UPLOADS)
        _check_info(self.info)

    def _check_source_without_base(self) -> None:
        if self.files is None:
            raise BadRequest("neither 'from' or 'files' was specified")
        if not any(path.lower().endswith(_WEIGHTS) for path in self.files):
            raise BadRequest("unknown type")

    def check_end(self) -> None:
        """The checks after the template's. Raises BadRequest."""
        if self.quantize or self.quantization:
            raise BadRequest("quantization is only supported for F16, BF16 and F32 models")
        self.licenses()

    def licenses(self) -> tuple[str, ...]:
        """The texts of `license`. Raises BadRequest with Go's text for another shape."""
        given = self.license
        if not given or isinstance(given, str):
            return (given,) if given else ()
        if not isinstance(given, list):
            raise BadRequest(f"json: cannot unmarshal {kind(given)} into Go value of type []string")
        limits.check_count(len(given), limits.MESSAGES, "licenses")
        for text in given:
            if text is not None and not isinstance(text, str):
                raise BadRequest(f"json: cannot unmarshal {kind(text)} into Go value of type string")
        return tuple(text for text in given if text)

    def draft(self) -> Draft:
        """What it says beside name and base. Raises BadRequest for a `license` that cannot be read."""
        encode_part(self.parameters)  # what is nested too deep cannot be written
        return Draft(
            system=self.system,
            template=self.template,
            licenses=self.licenses(),
            parameters=self.parameters,
            # Tool calls and results, images and thoughts of a saved session are not kept: they mean nothing later.
            messages=tuple(
                {"role": message.role, "content": text}
                for message in self.messages
                if (text := message.text.replace("\0", "")).strip() and message.role != "tool"
            ),
            renderer=self.renderer,
            parser=self.parser,
            requires=self.requires,
        )


class Digests(GoField):
    """A map of paths to digests."""

    python_type = dict
    go_type = "map[string]string"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        files = super()._deserialize(value, attr, data, **kwargs)
        limits.check_count(len(files), limits.OPTIONS, "files")
        for digest in files.values():
            if digest is not None and not isinstance(digest, str):
                raise wrong_type(digest, self.path(attr), "string")
        return {path: digest or "" for path, digest in files.items()}


class CreateMessages(Messages):
    """Messages as in a chat, refused under this body's name."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Message]:
        try:
            return super()._deserialize(value, attr, data, **kwargs)
        except BadRequest as error:
            raise BadRequest(error.message.replace("ChatRequest.", "CreateRequest.", 1)) from None


class CreateSchema(ModelSchema):
    struct = "CreateRequest"
    request = CreateRequest

    base = Name(data_key="from")
    files = Digests()
    adapters = Digests()
    draft_files = Digests()
    system = Text()
    template = Text()
    license = Anything()
    parameters = Options()
    messages = CreateMessages()
    quantize = Text()
    quantization = Text()
    draft_quantize = Text()
    renderer = Text()
    parser = Text()
    requires = Text()
    remote_host = Text()
    info = Options()
    stream = Flag()


_CREATE = CreateSchema()


def read_create(body: bytes) -> CreateRequest:
    """Read the body of POST /api/create."""
    return cast(CreateRequest, read_request(_CREATE, body))


def _is_valid_path(path: str) -> bool:
    """Whether Go's `fs.ValidPath` takes it. Source: https://pkg.go.dev/io/fs#ValidPath"""
    return path == "." or not any(part in ("", ".", "..") for part in path.split("/"))


def _check_digest(digest: str) -> None:
    if not digest:
        raise BadRequest("invalid digest format")


def _is_url(text: str) -> bool:
    try:
        return bool(urlsplit(text)) and "\0" not in text
    except ValueError:
        return False


def _check_info(info: Mapping[str, Any]) -> None:
    for name, value in info.items():
        if name in _TEXTS and not isinstance(value, str):
            raise BadRequest(f'info field "{name}" must be a string')
        if name in _NUMBERS:
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise BadRequest(f'info field "{name}" must be a number')
            if value < 0 or value != int(value):
                raise BadRequest(f'info field "{name}" must be a non-negative integer')
