"""Home Assistant's ollama integration (Python, ollama 0.6.2), beyond what the ollama package itself demands."""

from __future__ import annotations

from typing import Any


def tags(body: dict[str, Any]) -> None:
    for model in body["models"]:
        name, colon, tag = model["model"].partition(":")
        assert name
        assert colon
        assert tag


def chat(line: dict[str, Any]) -> None:
    for call in line["message"].get("tool_calls") or []:
        call["function"]["arguments"].items()


def pull(line: dict[str, Any]) -> None:
    assert line.get("status")


def error(status: int, body: dict[str, Any]) -> None:
    """401 and 403 make it ask its user for new credentials."""
    assert status not in (401, 403)
    assert isinstance(body["error"], str)
