"""In which order free models are tried. An order is what a Target names (docs/contract.md, "Order").

`ORDERS` has what each order goes by: the window, or a preset of the score. To add one, add it there; a virtual model in
`catalog/virtual.py` can then name it. `Orders` keeps, for a process, the arrangements it has made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from ollama_proxy.catalog.ratings import Index
from ollama_proxy.catalog.records import Model
from ollama_proxy.fallback.measurements import Measurements
from ollama_proxy.fallback.samples import Measured
from ollama_proxy.fallback.scores import PRESETS, Preset, Score, bad_ones, index_for, qualities, scores

Models = tuple[Model, ...]

#: The orders by the name that a Target has for them: the preset of the score, None for the largest window first.
ORDERS: dict[str, Preset | None] = {"context": None, **PRESETS}

#: Seconds for which an arrangement holds. Scores drift by the minute; what must be seen at once raises the version of
#: the measurements.
HOLDS_SECONDS = 1.0

#: Of so many lists of models it is kept what was worked out: each key's scope makes one of each catalogue.
MOST_LISTS = 32

#: The preset by which models are explored and explained where the order itself has no scores.
DEFAULT_PRESET = PRESETS["balanced"]


@dataclass(frozen=True)
class Arrangement:
    """The models in an order at one moment: first those that are not measured to be bad.

    `by_merit` is the same order without regard to badness, `bad` says why, by model id. With `waits` a good model is
    worth waiting for, and only one that fails is bad.
    """

    models: Models
    by_merit: Models
    bad: Mapping[str, str]
    waits: bool
    _make_scores: Callable[[], dict[str, Score]]

    @cached_property
    def scores(self) -> dict[str, Score]:
        """The scores by model id. By window most requests get by without them."""
        return self._make_scores()


def arranged(
    preset: Preset | None,
    models: Models,
    quality: Mapping[str, float],
    measured: Mapping[str, Measured],
    now: float,
    *,
    slow: float,
) -> Arrangement:
    """Return `models`, given by window, in the order that `preset` makes of them; None keeps the window's order.

    `quality` and what is `measured` are by model id; `slow` is how many seconds to a first token make a model bad.

    Scores are compared by steps, ties go to the larger window, then by id: nothing is left to chance. Where the
    preset waits for a good model, only one that fails is bad.
    """
    make_scores: Callable[[], dict[str, Score]] = partial(scores, preset or DEFAULT_PRESET, quality, measured, now)
    by_merit = models
    if preset is not None:
        found = make_scores()
        make_scores = partial(dict, found)
        by_merit = tuple(sorted(models, key=lambda model: -found[model.id].step))  # stable: ties stay by window
    waits = preset is not None and preset.waits
    bad = bad_ones(measured, now, math.inf if waits else slow)
    placed = by_merit
    if bad:
        placed = (*[one for one in by_merit if one.id not in bad], *[one for one in by_merit if one.id in bad])
    return Arrangement(placed, by_merit, bad, waits, make_scores)


def by_window(models: Iterable[Model]) -> Models:
    """Return `models` with the largest usable window first, then by id."""
    return tuple(sorted(models, key=lambda model: (-model.context_length, model.id)))


@dataclass(slots=True)
class _Kept:
    arrangement: Arrangement
    made_at: float
    version: int


@dataclass(slots=True)
class _List:
    """What was worked out for one list of models. It holds `given`, so that no other list can have its `id`."""

    given: Models
    by_window: Models
    quality: dict[Index, dict[str, float]]
    kept: dict[tuple[str, Index], _Kept]


class Orders:
    """Arranges free models for each request: those of the current catalogue, or of a key's part of it.

    One for each process.
    """

    def __init__(self, measured: Measurements) -> None:
        self.measured = measured
        self._lists: dict[int, _List] = {}

    def arrange(self, order: str, models: Models, *, tools: bool, now: float) -> Arrangement:
        """Return `models` in the order named `order` for a request with or without tools, at `now` (epoch seconds).

        `models` is the same object until the catalogue changes. What was worked out is kept for a second.
        """
        known = self._lists.get(id(models)) or self._begun(models)
        preset = ORDERS[order]
        index = index_for(preset or DEFAULT_PRESET, tools=tools)
        kept = known.kept.get((order, index))
        version = self.measured.version
        if kept is not None and kept.version == version and 0 <= now - kept.made_at < HOLDS_SECONDS:
            return kept.arrangement
        quality = known.quality.get(index)
        if quality is None:
            quality = known.quality[index] = qualities(known.by_window, index)
        measured, slow = self.measured.known, self.measured.slow
        arrangement = arranged(preset, known.by_window, quality, measured, now, slow=slow)
        known.kept[order, index] = _Kept(arrangement, now, version)
        return arrangement

    def _begun(self, models: Models) -> _List:
        """Keep what is worked out for a new list; those of an earlier catalogue go when there are too many."""
        if len(self._lists) >= MOST_LISTS:
            self._lists.clear()
        found = self._lists[id(models)] = _List(models, by_window(models), {}, {})
        return found
