"""OllamaSharp and Microsoft.Extensions.AI (.NET, System.Text.Json): a null for a number is an exception."""

from __future__ import annotations

from typing import Any

from tests.clients.schemas.shapes import Open, Time, Unsigned


class Function(Open):
    name: str
    arguments: dict[str, Any]


class ToolCall(Open):
    function: Function


class Message(Open):
    role: str
    content: str
    tool_calls: list[ToolCall] = []


class Done(Open):
    total_duration: Unsigned = 0
    load_duration: Unsigned = 0
    prompt_eval_count: Unsigned = 0
    prompt_eval_duration: Unsigned = 0
    eval_count: Unsigned = 0
    eval_duration: Unsigned = 0


class ChatLine(Done):
    model: str
    created_at: Time
    message: Message
    done: bool


class GenerateLine(Done):
    model: str
    created_at: Time
    response: str
    done: bool


class Embed(Open):
    embeddings: list[list[float]]


class Running(Open):
    name: str
    size: int
    size_vram: int
    expires_at: Time


class Ps(Open):
    models: list[Running]


def chat(line: dict[str, Any]) -> None:
    ChatLine.model_validate(line)


def generate(line: dict[str, Any]) -> None:
    GenerateLine.model_validate(line)


def embed(body: dict[str, Any]) -> None:
    Embed.model_validate(body)


def ps(body: dict[str, Any]) -> None:
    Ps.model_validate(body)


def error(status: int, body: dict[str, Any]) -> None:
    assert isinstance(body["error"], str), "an object is an exception of its own"
