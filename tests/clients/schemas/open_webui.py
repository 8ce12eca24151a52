"""Open WebUI 0.12 (Python, aiohttp)."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

_LONGEST_LINE = 128 * 1024


def version(body: dict[str, Any]) -> None:
    """`int()` of each part, once a leading v and everything behind a dash are gone."""
    for part in re.sub(r"^v|-.*", "", body["version"]).split("."):
        int(part)


def tags(body: dict[str, Any]) -> None:
    """Older versions look for `:latest` behind a name without a tag, and fail on a missing digest."""
    for model in body["models"]:
        assert ":" in model["model"]
        assert model["name"]
        assert model["digest"]


def ps(body: dict[str, Any]) -> None:
    for model in body["models"]:
        assert model["name"] == model["model"]
        assert datetime.fromisoformat(model["expires_at"]).tzinfo


def chat(line: dict[str, Any]) -> None:
    assert len(json.dumps(line)) < _LONGEST_LINE or line["done"]
    if line.get("done") and line.get("done_reason") not in ("load", "unload"):
        int(line["prompt_eval_count"])
        int(line["eval_count"])
        assert line["eval_duration"] > 0
    for call in line["message"].get("tool_calls", []):
        assert isinstance(call.get("id", ""), str)
        assert isinstance(call["function"]["index"], int)


def error(status: int, body: dict[str, Any]) -> None:
    assert isinstance(body["error"], str)
