"""Which models the pickers of `ollama` and `ollama launch` show first. Pure: a catalogue in, a list out.

Each is listed, is called as people call it (`free`, `gpt-4o`), and can use tools, as an agent must
(docs/contract.md, "Endpoints").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ollama_proxy.catalog.names import bare
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.ollama.models.tags import Listed, context_length

_MOST = 6


def recommended(catalog: Catalog, virtual: Sequence[Listed]) -> dict[str, Any]:
    """Return the whole answer. `virtual` are the virtual models, which are listed in free mode only."""
    models: list[Listed] = list(virtual) if catalog.free_mode and catalog.free else []
    models += [model for model in _best_first(catalog) if model.tools]
    return {"recommendations": [_entry(model) for model in models[:_MOST]]}


def _best_first(catalog: Catalog) -> Sequence[Model]:
    """The models of the list, the best first: as they are listed, until there is a better measure."""
    return catalog.models


def _entry(model: Listed) -> dict[str, object]:
    return {"model": bare(model.name), "description": model.title, "context_length": context_length(model)}
