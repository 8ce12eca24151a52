"""Continue (TypeScript, June 2026): tests lines for the keys `error` and `type`, and reads `parameters` as text."""

from __future__ import annotations

import json
import re
from typing import Any


def tags(body: dict[str, Any]) -> None:
    for model in body["models"]:
        assert isinstance(model["name"], str)


def show(body: dict[str, Any]) -> None:
    """Without `num_ctx` among the parameters it uses 8192 tokens; a stop is parsed as JSON."""
    parameters = [re.split(r"\s+", line, maxsplit=1) for line in body["parameters"].splitlines()]
    assert any(name == "num_ctx" and int(value) > 0 for name, value in parameters)
    for name, value in parameters:
        if name == "stop":
            json.loads(value)
    assert ".Suffix" not in body["template"], "it would ask for completions in the middle"


def chat(line: dict[str, Any]) -> None:
    assert not {"error", "type"} & set(line)
    assert isinstance(line["message"]["content"], str), "also in the last line"


def generate(line: dict[str, Any]) -> None:
    assert not {"error", "type"} & set(line)
    assert isinstance(line["response"], str)


def error(status: int, body: dict[str, Any]) -> None:
    """It offers to run a model that the text of a 404 names."""
    if status == 404:
        assert re.search(r"""model ['"](.*)['"] not found""", body["error"])
