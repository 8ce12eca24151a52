"""ollama4j (Java, a bare Jackson ObjectMapper): some answers may hold no unknown member."""

from __future__ import annotations

from typing import Any

from tests.clients.schemas.shapes import Closed, Open, Time


class Version(Closed):
    version: str


class ListedModel(Open):
    name: str
    modified_at: Time


class Tags(Open):
    models: list[ListedModel]


class Details(Closed):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Running(Open):
    name: str
    details: Details
    expires_at: Time


class Ps(Open):
    models: list[Running]


class ToolCall(Closed):
    id: str
    function: dict[str, Any]


def version(body: dict[str, Any]) -> None:
    Version.model_validate(body)


def tags(body: dict[str, Any]) -> None:
    for model in Tags.model_validate(body).models:
        model.name.split(":")[1]


def ps(body: dict[str, Any]) -> None:
    Ps.model_validate(body)


def chat(line: dict[str, Any]) -> None:
    for call in line["message"].get("tool_calls", []):
        ToolCall.model_validate(call)
