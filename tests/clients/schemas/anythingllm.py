"""AnythingLLM (JavaScript): tags and show of every model each time a chat is opened."""

from __future__ import annotations

from typing import Any


def tags(body: dict[str, Any]) -> None:
    for model in body["models"]:
        assert model["model"]
        assert model["name"]


def show(body: dict[str, Any]) -> None:
    """`capabilities.includes(...)`; the window is the value of the first key that ends with `.context_length`."""
    assert isinstance(body["capabilities"], list)
    found = [value for name, value in body["model_info"].items() if name.endswith(".context_length")]
    assert isinstance(found[0], int)


def chat(line: dict[str, Any]) -> None:
    message = line["message"]
    len(message["content"])
    if line.get("done_reason") and "eval_count" in line:
        assert line["eval_duration"] > 0
    if not line["done"]:
        assert not (message.get("thinking") and message["content"]), "the content beside thinking is lost"
