"""LlamaIndex, LiteLLM, Haystack and others (Python), which take what comes first or must be there."""

from __future__ import annotations

from typing import Any


def show(body: dict[str, Any]) -> None:
    """The window is the first key with `context_length` in it; tools are told by the word in the template."""
    windows = [name for name in body["model_info"] if "context_length" in name]
    assert len(windows) == 1
    int(body["model_info"][windows[0]])
    assert ("tools" in body["template"]) is ("tools" in body["capabilities"])
    assert "{{ .Prompt }}" in body["template"]
    assert not any(".vision." in name for name in body["model_info"])


def chat(line: dict[str, Any]) -> None:
    assert line["message"]["role"] == "assistant"
    assert isinstance(line["message"]["content"], str)
    if line["done"] and line["done_reason"] in ("stop", "length"):
        assert line["prompt_eval_count"] + line["eval_count"] >= 0


def generate(line: dict[str, Any]) -> None:
    assert isinstance(line["response"], str)
    assert isinstance(line["done"], bool)


def embed(body: dict[str, Any]) -> None:
    assert all(isinstance(value, float) for vector in body["embeddings"] for value in vector)
    assert isinstance(body.get("prompt_eval_count", 0), int)
