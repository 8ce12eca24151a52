"""How free models are weighed against each other: quality, success and speed make one score. Pure arithmetic.

    score = Q^a * R * S^b

A product, so that what is hopeless in one of them is hopeless (docs/contract.md, "Scores"). Times are UTC epoch
seconds, durations seconds; each factor is above 0 and at most 1.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ollama_proxy.catalog.ratings import Index
from ollama_proxy.catalog.records import Model
from ollama_proxy.fallback.samples import NOTHING, Measured, badness, faded

#: The quality of a model whose index is 0, beside 1 for the best one's.
LEAST_QUALITY = 0.3

#: What is thought of a model before anything is measured: so many answers of so many attempts.
PRIOR_OK = 3.0
PRIOR_COUNT = 4.0

#: An answer of so many tokens is what a model is timed for.
ANSWER_TOKENS = 300.0
#: An answer that takes so long has half the speed of one that takes no time.
HALF_SPEED_SECONDS = 5.0
#: What is thought of a model's time counts like so many samples.
PRIOR_TIMED = 1.0
#: What a model is thought to take, and its tokens a second, before any model has been measured.
UNKNOWN_SECONDS = 8.0
UNKNOWN_SPEED = 60.0
#: Fewer samples than this no longer say how long a model takes.
LEAST_TIMED = 0.25

#: Scores within so much of each other are the same: a model must be better by a step, or nothing changes.
STEP = math.log(1.15)


@dataclass(frozen=True, slots=True)
class Preset:
    """How much quality (a) and speed (b) weigh; `index` is what quality means, if it is not for the request to say.

    With `waits` a good model is worth waiting for: its time is in the score, and being slow does not make it bad.
    """

    quality: float
    speed: float
    index: Index | None = None
    waits: bool = True


PRESETS: dict[str, Preset] = {
    "smart": Preset(3.0, 0.3),
    "balanced": Preset(2.0, 0.5),
    "fast": Preset(0.3, 1.0, waits=False),
    "coding": Preset(2.0, 0.5, Index.CODING),
}


@dataclass(frozen=True, slots=True)
class Score:
    """A model's score and its parts; `seconds` is what an answer of `ANSWER_TOKENS` is thought to take.

    `recovered` is what the score would be if the model answered always, and in the usual time.
    """

    quality: float
    success: float
    speed: float
    value: float
    seconds: float
    recovered: float

    @property
    def answering(self) -> float:
        """What the score would be if the model answered always."""
        return self.value / self.success

    @property
    def step(self) -> int:
        """Models of one step count as equally good."""
        return math.floor(math.log(self.value) / STEP)


def index_for(preset: Preset, *, tools: bool) -> Index:
    """Return the index that says how good a model is for a request with or without tools."""
    if preset.index is not None:
        return preset.index
    return Index.AGENTIC if tools else Index.INTELLIGENCE


def qualities(models: Sequence[Model], index: Index) -> dict[str, float]:
    """Return Q of each model by id: 1 for the best rated one, 0.3 for one that would have no points.

    A model without that index takes another of its own, on the scale of the best ones of both; a model without any
    counts like the lowest rated one, because nothing is known of it.
    """
    best = {one: max((model.ratings.of(one) or 0.0 for model in models), default=0.0) for one in Index}
    points = {model.id: _points(model, index, best) for model in models}
    rated = [value for value in points.values() if value is not None]
    if not rated:
        return dict.fromkeys(points, 1.0)
    lowest, highest = min(rated), max(rated)
    return {
        model: LEAST_QUALITY + (1 - LEAST_QUALITY) * (lowest if value is None else value) / highest
        for model, value in points.items()
    }


def _points(model: Model, index: Index, best: Mapping[Index, float]) -> float | None:
    """The points of `model` on the scale of `index`; None if it is not rated at all."""
    for one in (index, *Index):
        value = model.ratings.of(one)
        if value is not None:
            # Where nobody has the index itself, the scale is the other one's.
            return value * best[index] / best[one] if best[index] else value
    return None


def success(measured: Measured) -> float:
    """Return R: how often the model answers, with a few answers to begin with. `measured` has been faded."""
    return (measured.ok + PRIOR_OK) / (measured.counted + PRIOR_COUNT)


def seconds_of(measured: Measured) -> float | None:
    """Return how long an answer of `ANSWER_TOKENS` took lately; None if that is not known. `measured` is faded."""
    if measured.timed < LEAST_TIMED or measured.first_token is None:
        return None
    return measured.first_token + ANSWER_TOKENS / (measured.speed or UNKNOWN_SPEED)


def scores(
    preset: Preset, quality: Mapping[str, float], measured: Mapping[str, Measured], now: float
) -> dict[str, Score]:
    """Return the scores by model id of all models that `quality` has."""
    at_now = {model: faded(one, now) for model, one in measured.items() if model in quality}
    known = {model: seconds for model, one in at_now.items() if (seconds := seconds_of(one)) is not None}
    usual = statistics.median(known.values()) if known else UNKNOWN_SECONDS
    unmeasured = _Unmeasured(preset, usual)
    return {model: unmeasured.score(q, at_now.get(model, NOTHING), known.get(model)) for model, q in quality.items()}


@dataclass(frozen=True, slots=True)
class _Unmeasured:
    """What a model that nobody has measured is thought to be: it takes as long as the median of the measured."""

    preset: Preset
    usual: float

    def score(self, quality: float, measured: Measured, known: float | None) -> Score:
        seconds = self.usual
        if known is not None:
            seconds = (measured.timed * known + PRIOR_TIMED * self.usual) / (measured.timed + PRIOR_TIMED)
        speed, answers = _speed(seconds), success(measured)
        recovered = self._value(quality, 1.0, _speed(self.usual))
        return Score(quality, answers, speed, self._value(quality, answers, speed), seconds, recovered)

    def _value(self, quality: float, answers: float, speed: float) -> float:
        return float(quality**self.preset.quality * answers * speed**self.preset.speed)


def _speed(seconds: float) -> float:
    return 1 / (1 + seconds / HALF_SPEED_SECONDS)


def bad_ones(measured: Mapping[str, Measured], now: float, slow: float) -> dict[str, str]:
    """Return the models that are measured to be bad, by id, with the reason in words."""
    return {model: why for model, one in measured.items() if (why := badness(one, now, slow))}
