"""How good a model is by public benchmarks, as far as its record in OpenRouter's list says so.

Records carry three indices of Artificial Analysis under `benchmarks.artificial_analysis` (points, higher is better; see
https://openrouter.ai/docs/api-reference/list-available-models). Most free models have some of them, many none. Pure:
it knows no order and no other model (docs/contract.md, "Order").
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

#: No index of today reaches a tenth of this: what is above is a mistake.
_MOST = 1000.0


class Index(StrEnum):
    """The three indices; the names are those of the fields of `Ratings`."""

    INTELLIGENCE = "intelligence"
    CODING = "coding"
    AGENTIC = "agentic"


class Ratings(NamedTuple):
    """A model's indices, each None where its record has none."""

    intelligence: float | None = None
    coding: float | None = None
    agentic: float | None = None

    def of(self, index: Index) -> float | None:
        """The value of one index."""
        value: float | None = getattr(self, index)
        return value


UNRATED = Ratings()


def read_ratings(record: Mapping[str, Any]) -> Ratings:
    """Return the indices in a record of the model list. Never raises: what is no positive number counts as absent."""
    benchmarks = record.get("benchmarks")
    found = benchmarks.get("artificial_analysis") if isinstance(benchmarks, Mapping) else None
    if not isinstance(found, Mapping):
        return UNRATED
    return Ratings(*(_points(found.get(f"{index}_index")) for index in Index))


def _points(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MOST:
        return None
    return float(value)
