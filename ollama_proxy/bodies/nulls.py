"""Removes nulls from a body that is passed through: to Ollama null means absent, OpenRouter refuses many. Pure."""

from __future__ import annotations

from operator import is_not
from typing import Any

#: What lies under these names is not the API's: JSON schemas, where null is a value, what a model or a
#: tool said, and examples of it.
_OPAQUE = frozenset({"parameters", "input_schema", "output_schema", "schema", "arguments", "input", "input_examples"})

#: An API's own objects are not nested deeper. What a client nests deeper is left as it is.
_DEEPEST = 8


def without_nulls(value: Any, *, depth: int = _DEEPEST) -> Any:
    """Return `value` (of a body) without members that are null. What holds none is not copied."""
    if depth and isinstance(value, dict):
        return _object(value, depth)
    if depth and isinstance(value, list):
        return _list(value, depth)
    return value


def _object(value: dict[str, Any], depth: int) -> dict[str, Any]:
    changed = {}
    for name, member in value.items():
        kept = member
        if isinstance(member, dict | list) and name not in _OPAQUE:
            kept = without_nulls(member, depth=depth - 1)
        if kept is None or kept is not member:
            changed[name] = kept
    if not changed:
        return value
    return {name: kept for name, member in value.items() if (kept := changed.get(name, member)) is not None}


def _list(value: list[Any], depth: int) -> list[Any]:
    kept = [without_nulls(item, depth=depth - 1) if isinstance(item, dict | list) else item for item in value]
    return kept if any(map(is_not, kept, value)) else value
