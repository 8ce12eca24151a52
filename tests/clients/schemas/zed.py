"""Zed (Rust, serde): one bad model means no models at all."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tests.clients.schemas.shapes import Closed, Open, Unsigned, architecture_value


class Details(Open):
    format: str
    family: str
    parameter_size: str
    quantization_level: str


class ListedModel(Open):
    name: str
    modified_at: str
    size: Unsigned
    digest: str
    details: Details


class Tags(Open):
    models: list[ListedModel]


class Show(Open):
    capabilities: list[str]


class Function(Open):
    name: str
    arguments: dict[str, Any]


class ToolCall(Closed):
    """Older versions read a call as an enum of one key; newer ones know `id` as well, and nothing else."""

    id: str = ""
    function: Function


class Message(Open):
    role: Literal["assistant"]
    content: str
    thinking: str = ""
    tool_calls: list[ToolCall] = Field(default=[])


class Line(Open):
    model: str
    created_at: str
    message: Message
    done: bool
    done_reason: str = ""
    prompt_eval_count: Unsigned = 0
    eval_count: Unsigned = 0


def tags(body: dict[str, Any]) -> None:
    Tags.model_validate(body)


def show(body: dict[str, Any]) -> None:
    Show.model_validate(body)
    assert type(window := architecture_value(body, "context_length")) is int
    assert window > 0


def chat(line: dict[str, Any]) -> None:
    parsed = Line.model_validate(line)
    if not parsed.done:
        assert len(parsed.message.tool_calls) <= 1, "only the first call of a line is used"
        assert not (parsed.message.tool_calls and parsed.message.content), "the text beside a call is dropped"
