"""A small catalogue of free models for the tests of fallback."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from ollama_proxy.catalog.filters import Filters
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog

FREE = {"prompt": "0", "completion": "0"}
PAID = {"prompt": "0.000001", "completion": "0.000002"}


def record(
    model_id: str,
    context: int = 100_000,
    *,
    can: Sequence[str] = ("tools", "tool_choice", "response_format"),
    sees: bool = False,
    most: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A record as OpenRouter lists it; `can` are its parameters, `most` its output limit."""
    return {
        "id": model_id,
        "name": model_id,
        "context_length": context,
        "top_provider": {"context_length": context, "max_completion_tokens": most},
        "architecture": {"input_modalities": ["text", "image"] if sees else ["text"], "output_modalities": ["text"]},
        "supported_parameters": list(can),
        "pricing": FREE,
        **changes,
    }


def catalog_of(*records: dict[str, Any], free_mode: bool = True, embeddings: Sequence[Any] = ()) -> Catalog:
    """The catalogue of some records, without filters."""
    return Catalog.build(
        records,
        embeddings,
        free_mode=free_mode,
        tool_use_only=False,
        filters=Filters.load(None, Path("/nonexistent")).current(),
        today=date(2026, 8, 22),
        fetched_at=0.0,
    )


def model(model_id: str, **changes: Any) -> Model:
    """One model of such a catalogue."""
    (found,) = catalog_of(record(model_id, **changes)).known()
    return found
