"""Why each free model stands where it does in an order: plain values, for the command line and for pages. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ollama_proxy.catalog.records import Model
from ollama_proxy.fallback.order import DEFAULT_PRESET, ORDERS, arranged, by_window
from ollama_proxy.fallback.samples import NOTHING, Measured, faded, usual_first_token
from ollama_proxy.fallback.scores import index_for, qualities


@dataclass(frozen=True, slots=True)
class Explained:
    """One model's place in an order. `rank` begins with 1; quality, success and speed are the parts of the score.

    `samples` counts attempts as they still weigh, `first_token` is the usual time in seconds, `tokens_per_second` the
    speed (both None if not measured), `answer_seconds` what an answer of 300 tokens is thought to take. `why` says what
    keeps the model from its place: that it is measured to be bad, cools down, or is suspect; "" if nothing does.
    """

    rank: int
    id: str
    name: str
    quality: float
    success: float
    speed: float
    score: float
    samples: float
    first_token: float | None
    tokens_per_second: float | None
    answer_seconds: float
    why: str

    def as_json(self) -> dict[str, object]:
        """The same for JSON, in round numbers."""
        return {
            name: round(value, 3) if isinstance(value := getattr(self, name), float) else value
            for name in self.__slots__
        }


def nothing_known(_model: Model) -> str:
    """Say that nothing keeps a model from being tried."""
    return ""


def explain(
    order: str,
    models: Iterable[Model],
    measured: Mapping[str, Measured],
    now: float,
    *,
    slow: float,
    tools: bool = False,
    left_out: Callable[[Model], str] = nothing_known,
) -> list[Explained]:
    """Return the free `models` as they stand in the order named `order` at `now`, for a request with or without tools.

    `measured` is by model id, `slow` the seconds to a first token that make a model bad. `left_out` says in words why a
    model is not tried now, or only behind others ("cooling: ...", "suspect"), "" if it is.
    """
    preset = ORDERS[order]
    given = by_window(models)
    quality = qualities(given, index_for(preset or DEFAULT_PRESET, tools=tools))
    arrangement = arranged(preset, given, quality, measured, now, slow=slow)
    found = []
    for rank, model in enumerate(arrangement.models, 1):
        score = arrangement.scores[model.id]
        known = faded(measured.get(model.id, NOTHING), now)
        bad = arrangement.bad.get(model.id)
        found.append(
            Explained(
                rank=rank,
                id=model.id,
                name=model.name,
                quality=score.quality,
                success=score.success,
                speed=score.speed,
                score=score.value,
                samples=known.counted,
                first_token=usual_first_token(known, now) or known.first_token,
                tokens_per_second=known.speed,
                answer_seconds=score.seconds,
                why="; ".join(filter(None, (left_out(model), f"measured: {bad}" if bad else ""))),
            )
        )
    return found
