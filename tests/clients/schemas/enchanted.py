"""Enchanted for iOS and macOS, and OllamaKit, of which the newer is the stricter (Swift, Codable)."""

from __future__ import annotations

from typing import Any, Literal

from tests.clients.schemas.shapes import Open, Time


class Details(Open):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class ListedModel(Open):
    name: str
    model: str
    digest: str
    size: int
    modified_at: Time
    details: Details
    capabilities: list[str]


class Tags(Open):
    models: list[ListedModel]


class Show(Open):
    license: str
    template: str
    modelfile: str
    parameters: str


class Message(Open):
    role: Literal["system", "user", "assistant"]
    content: str


class Line(Open):
    model: str
    created_at: Time
    done: bool
    message: Message


class GenerateLine(Open):
    model: str
    created_at: Time
    response: str
    done: bool
    context: list[int] = []


def tags(body: dict[str, Any]) -> None:
    """Whether a model sees images is told by its families."""
    for model in Tags.model_validate(body).models:
        assert ("clip" in model.details.families) is ("vision" in model.capabilities)


def show(body: dict[str, Any]) -> None:
    Show.model_validate(body)


def chat(line: dict[str, Any]) -> None:
    Line.model_validate(line)


def generate(line: dict[str, Any]) -> None:
    GenerateLine.model_validate(line)
