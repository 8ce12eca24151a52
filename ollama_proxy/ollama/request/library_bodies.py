"""The bodies of the endpoints that ask no model: their typed requests, their schemas, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from ollama_proxy.gojson.go_fields import Flag, Name, Options, Text
from ollama_proxy.ollama.request.base import ModelRequest, ModelSchema, RequestSchema, read_request


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest(ModelRequest):
    """POST /api/show."""

    verbose: bool = False
    system: str = ""
    template: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRequest(ModelRequest):
    """POST /api/pull and /api/push, which answer with status lines."""

    stream: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRequest(ModelRequest):
    """DELETE /api/delete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """POST /api/copy."""

    source: str = ""
    destination: str = ""


class ShowSchema(ModelSchema):
    struct = "ShowRequest"
    request = ShowRequest

    verbose = Flag()
    system = Text()
    template = Text()
    options = Options()


class PullSchema(ModelSchema):
    struct = "PullRequest"
    request = StatusRequest

    stream = Flag()


class PushSchema(PullSchema):
    struct = "PushRequest"


class WebSchema(RequestSchema):
    """The searches of ollama.com: it matters only that there is a JSON object."""

    struct = "WebRequest"
    request = dict


class DeleteSchema(ModelSchema):
    struct = "DeleteRequest"
    request = DeleteRequest


class CopySchema(RequestSchema):
    struct = "CopyRequest"
    request = CopyRequest

    source = Name()
    destination = Name()


_SHOW, _PULL, _PUSH = ShowSchema(), PullSchema(), PushSchema()
_DELETE, _COPY, _WEB = DeleteSchema(), CopySchema(), WebSchema()


def read_show(body: bytes) -> ShowRequest:
    """Read the body of POST /api/show."""
    return cast(ShowRequest, read_request(_SHOW, body))


def read_pull(body: bytes) -> StatusRequest:
    """Read the body of POST /api/pull."""
    return cast(StatusRequest, read_request(_PULL, body))


def read_push(body: bytes) -> StatusRequest:
    """Read the body of POST /api/push."""
    return cast(StatusRequest, read_request(_PUSH, body))


def read_delete(body: bytes) -> DeleteRequest:
    """Read the body of DELETE /api/delete."""
    return cast(DeleteRequest, read_request(_DELETE, body))


def read_copy(body: bytes) -> CopyRequest:
    """Read the body of POST /api/copy."""
    return cast(CopyRequest, read_request(_COPY, body))


def read_web(body: bytes) -> dict[str, object]:
    """Read the body of POST /api/experimental/web_search and web_fetch; nothing of it is kept."""
    return cast(dict[str, object], read_request(_WEB, body))
