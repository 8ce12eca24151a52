"""koog, JetBrains' agent framework (Kotlin, kotlinx.serialization): capabilities are a closed enumeration."""

from __future__ import annotations

from typing import Any, Literal

from tests.clients.schemas.shapes import Open, architecture_value


class Details(Open):
    format: str
    family: str
    parameter_size: str
    quantization_level: str


class ListedModel(Open):
    name: str
    model: str
    size: int
    modified_at: str
    digest: str


class Tags(Open):
    models: list[ListedModel]


class Show(Open):
    details: Details
    capabilities: list[Literal["completion", "embedding", "insert", "vision", "thinking", "tools"]]


class Message(Open):
    role: str
    content: str


class Reply(Open):
    model: str
    message: Message
    done: bool


class Embedding(Open):
    embedding: list[float]


def tags(body: dict[str, Any]) -> None:
    Tags.model_validate(body)


def show(body: dict[str, Any]) -> None:
    Show.model_validate(body)
    assert isinstance(architecture_value(body, "context_length"), int)
    if (
        "embedding" not in body["capabilities"]
    ):  # by its User-Agent it gets one for these too: contract/test_embedding.py
        assert isinstance(architecture_value(body, "embedding_length"), int)
    assert isinstance(body["model_info"].get("general.parameter_count", 0), int)


def chat(line: dict[str, Any]) -> None:
    Reply.model_validate(line)


def embeddings(body: dict[str, Any]) -> None:
    Embedding.model_validate(body)


def error(status: int, body: dict[str, Any]) -> None:
    assert isinstance(body["error"], str)
