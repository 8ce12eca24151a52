"""VS Code Copilot Chat, "bring your own key" (TypeScript, March 2026): version, tags, then show of every model."""

from __future__ import annotations

import re
from typing import Any

from tests.clients.schemas.shapes import architecture_value

_LEAST = (0, 6, 4)


def version(body: dict[str, Any]) -> None:
    """`split('.')`, then `parseInt` of each part, where not a number counts as 0."""
    parts = [int(found[0]) if (found := re.match(r"\s*[+-]?\d+", part)) else 0 for part in body["version"].split(".")]
    assert tuple(parts) >= _LEAST, "too old"


def tags(body: dict[str, Any]) -> None:
    names = [model["model"] for model in body["models"]]
    assert len(set(names)) == len(names)


def show(body: dict[str, Any]) -> None:
    """A model without a list of capabilities is passed over, one without a window gets 32768 tokens."""
    assert isinstance(body["capabilities"], list)
    assert type(architecture_value(body, "context_length")) is int
    assert isinstance(body["model_info"]["general.basename"], str)
    assert body["model_info"]["general.basename"]
