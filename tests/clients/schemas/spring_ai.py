"""Spring AI (Java, Jackson): times are Instants, and an aggregated stream asks `done_reason` for its value."""

from __future__ import annotations

from typing import Any

from tests.clients.schemas.shapes import Open, Time, Unsigned


class ListedModel(Open):
    name: str
    modified_at: Time
    size: Unsigned


class Tags(Open):
    models: list[ListedModel]


class Show(Open):
    modified_at: Time
    license: str
    capabilities: list[str]


class Line(Open):
    model: str
    created_at: Time
    done: bool
    done_reason: str | None = None


def tags(body: dict[str, Any]) -> None:
    for model in Tags.model_validate(body).models:
        assert ":" in model.name, "a name without a tag is looked for with :latest"


def show(body: dict[str, Any]) -> None:
    Show.model_validate(body)


def chat(line: dict[str, Any]) -> None:
    parsed = Line.model_validate(line)
    assert parsed.done is (parsed.done_reason is not None)
    assert parsed.done_reason != "tool_calls"
    if not parsed.done:
        assert "eval_count" not in line, "counts of all lines are summed"
