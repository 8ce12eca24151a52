"""The Ollama extension of Raycast (TypeScript)."""

from __future__ import annotations

from typing import Any


def version(body: dict[str, Any]) -> None:
    assert isinstance(body["version"], str)


def show(body: dict[str, Any]) -> None:
    """A model without `num_ctx` among its parameters gets 2048 tokens."""
    names = [line.split()[0] for line in body["parameters"].splitlines()]
    assert "num_ctx" in names
    assert isinstance(body["capabilities"], list)


def ps(body: dict[str, Any]) -> None:
    assert isinstance(body["models"], list)


def generate(line: dict[str, Any]) -> None:
    assert "error" not in line
    assert isinstance(line["response"], str)
    assert isinstance(line["done"], bool)


def error(status: int, body: dict[str, Any]) -> None:
    assert isinstance(body["error"], str)
