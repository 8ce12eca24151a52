"""How the models stand for one request: who may be tried for its caller, and what the request teaches about them.

It joins what is remembered for all (`memory`) with what this process suspects (`suspicion`). One per request; it sends
nothing and knows no API (docs/contract.md, "Suspicion").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ollama_proxy.catalog.records import Model
from ollama_proxy.fallback.measurements import UNMEASURED_PATIENCE, Measurements
from ollama_proxy.fallback.memory import Cooling, FailureMemory
from ollama_proxy.fallback.suspicion import Suspicions
from ollama_proxy.openrouter.errors.failure import Blame, Verdict

#: A request that failed on so many models is looked at: is it the request?
FAILED_ON = 3
#: Failures other than of the failing kind that are measured, and how much each counts: a pool that is full for a
#: moment says less of the model.
_WEIGHTS = {Blame.MODEL_RATE_LIMIT: 0.5, Blame.MODEL_GONE: 1.0}

#: It is, if so many of them answered somebody else lately.
ANSWERED_OTHERS = 2


class _Suspected(NamedTuple):
    """A failure that is not yet proven to be the model's; `waited` is the first token's time to be measured, if any."""

    model: Model
    verdict: Verdict
    began_at: float
    waited: float | None
    timed_out: bool
    measures: bool


class Standing:
    """For one request of `caller`. Times are UTC epoch seconds."""

    def __init__(self, memory: FailureMemory, suspicions: Suspicions, measured: Measurements, caller: str) -> None:
        self._memory = memory
        self._measured = measured
        self._suspicions = suspicions
        self._caller = caller
        self._suspected: dict[str, _Suspected] = {}
        self._failed_on: set[str] = set()

    def unavailable(self, model: Model, now: float) -> Cooling | None:
        """Why `model` is not tried for this caller at `now`, or None: it cools down, or just failed for the caller."""
        cooling = self._memory.cooling(model, now)
        if cooling is None and (until := self._suspicions.barred_until(model.id, self._caller, now)) is not None:
            return Cooling(until, "it just failed for this caller", Blame.MODEL_FAILING.value)
        return cooling

    def in_order(self, models: Sequence[Model], now: float) -> tuple[tuple[Model, ...], list[tuple[Model, Cooling]]]:
        """The models that may be tried, those that nobody suspects first, and the others with the reason."""
        suspects = self._suspicions.any(now)
        if self._memory.is_clear and not suspects:
            return tuple(models), []
        found = [(model, self.unavailable(model, now)) for model in models]
        ready = [model for model, why in found if why is None]
        if suspects:
            ready.sort(key=lambda model: self._suspicions.is_suspect(model.id, now))
        return tuple(ready), [(model, why) for model, why in found if why is not None]

    def is_suspect(self, model: Model, now: float) -> bool:
        """Whether anybody's request failed on `model` a moment ago."""
        return self._suspicions.any(now) and self._suspicions.is_suspect(model.id, now)

    def failed(
        self,
        model: Model,
        verdict: Verdict,
        *,
        began_at: float,
        now: float,
        waited: float | None = None,
        hurried: bool = False,
    ) -> None:
        """An attempt with `model` failed. What may be the request's fault is held back until it is proven.

        `waited` is how long the first token was waited for in vain, None if that is not what failed, or if it is not
        the model's time but the prompt's. It is not measured where the request was in a hurry, so that the model had
        less time than its own.
        """
        if verdict.blame is not Blame.MODEL_FAILING:
            if (weight := _WEIGHTS.get(verdict.blame)) is not None:
                self._measure_failure(model, now, weight=weight)
            self._memory.failed(model, verdict, began_at=began_at)
            return
        self._failed_on.add(model.id)
        # A short time-out says that the model failed, but beside slower models it would look quick.
        timed = waited if waited is not None and waited >= UNMEASURED_PATIENCE else None
        suspected = _Suspected(model, verdict, began_at, timed, waited is not None, not hurried)
        if self._suspicions.failed(model.id, self._caller, now):
            self._file(suspected, now)
        else:
            self._suspected[model.id] = suspected

    def succeeded(self, model: Model, *, began_at: float, now: float) -> None:
        """`model` answered: the request was good, so the models that failed on it are to blame.

        Not those that answered somebody else lately: they are not down.
        """
        self._memory.succeeded(model, began_at=began_at)
        self._suspicions.answered(model.id, self._caller, now)
        for suspected in self._suspected.values():
            suspect = suspected.model.id
            if suspect == model.id:
                continue
            if not self._suspicions.answered_another(suspect, self._caller, now):
                self._file(suspected, now)
            elif suspected.timed_out and self._suspicions.failed_another(suspect, self._caller, now):
                # It may just have turned silent: too early for a cooldown, but each further time-out would cost a
                # client seconds. Two callers have seen it, and another model has answered.
                self._measure(suspected, now)
        self._suspected.clear()

    def is_the_request(self, now: float) -> bool:
        """Whether the request is more likely to blame than the models it failed on: most of them serve others."""
        if len(self._failed_on) < FAILED_ON:
            return False
        answered = [self._suspicions.answered_another(model, self._caller, now) for model in self._failed_on]
        return sum(answered) >= ANSWERED_OTHERS

    def _file(self, suspected: _Suspected, now: float) -> None:
        self._measure(suspected, now)
        self._memory.failed(suspected.model, suspected.verdict, began_at=suspected.began_at)
        self._suspicions.filed(suspected.model.id)

    def _measure(self, suspected: _Suspected, now: float) -> None:
        if suspected.measures:
            self._measure_failure(suspected.model, now, waited=suspected.waited)

    def _measure_failure(self, model: Model, now: float, *, waited: float | None = None, weight: float = 1.0) -> None:
        if is_measured(model):
            self._measured.failed(model.id, now, waited=waited, weight=weight)


def is_measured(model: Model) -> bool:
    """Whether answers and failures of `model` are measured, whoever asked for it, by whatever name."""
    return model.is_free and not model.is_embedding
