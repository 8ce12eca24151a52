"""The Vercel AI SDK's Ollama providers, and Roo Code (TypeScript, zod): optional members may be absent, not null."""

from __future__ import annotations

from typing import Any

from tests.clients.schemas.shapes import Open, has_nulls


class Function(Open):
    name: str
    arguments: dict[str, Any]


class ToolCall(Open):
    id: str
    function: Function


class Message(Open):
    role: str
    content: str
    thinking: str = ""
    tool_calls: list[ToolCall] = []


class Line(Open):
    model: str
    created_at: str
    done: bool
    message: Message


class Details(Open):
    family: str
    parameter_size: str


class ListedModel(Open):
    name: str
    model: str
    details: Details


class Tags(Open):
    models: list[ListedModel]


class Show(Open):
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]


class Embed(Open):
    model: str
    embeddings: list[list[float]]


def chat(line: dict[str, Any]) -> None:
    Line.model_validate(line)
    assert not has_nulls(line)


def generate(line: dict[str, Any]) -> None:
    assert not has_nulls(line)


def tags(body: dict[str, Any]) -> None:
    Tags.model_validate(body)


def show(body: dict[str, Any]) -> None:
    Show.model_validate(body)


def embed(body: dict[str, Any]) -> None:
    Embed.model_validate(body)
