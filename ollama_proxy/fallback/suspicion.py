"""Failures that are not yet proven to be the model's: they may be the request's.

A request that every provider answers with an error would otherwise put all models on ice for everybody. So a failure of
the failing kind (5xx, an empty answer, an early end, no first token) first makes a model suspect, in this process only
and for half a minute. Whether it becomes a failure of the model is decided by what others see of the same model
(docs/contract.md, "Suspicion"). Pure but for its own dictionaries: names and times in, no clock, no database.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ollama_proxy.config import Settings

#: Seconds for which the caller whose request failed is not sent to that model again, and all others rather elsewhere.
SUSPECT_SECONDS = 30.0
#: Seconds for which an answer to somebody else speaks for a model.
SPEAKS_SECONDS = 120.0
#: Seconds within which the failure of a second caller's request proves the first one's.
PROOF_SECONDS = 600.0

#: Callers whose failures are kept for a model, the latest ones: two different ones prove a failure.
_MOST_CALLERS = 16


@dataclass(slots=True)
class _Record:
    """What this process saw of one model: by caller, when it last failed and when it last answered (epoch seconds)."""

    failed: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)
    #: When anybody was last answered: failures before that prove nothing.
    last_answer: float = float("-inf")


class Suspicions:
    """The suspicions of one process, shared by its requests. Models are named by their ids, callers by their names."""

    def __init__(self, seconds: float = SUSPECT_SECONDS) -> None:
        """`seconds` is how long a suspicion lasts."""
        self._seconds = seconds
        self._records: dict[str, _Record] = {}
        self._suspect_until = 0.0

    def failed(self, model: str, caller: str, now: float) -> bool:
        """A request of `caller` failed on `model`. True if that proves it: another caller's failed too, and no answer
        of the model came in between.

        A model that answered somebody else a moment ago is never proven to fail by this: the request may be to blame.
        """
        proven = not self.answered_another(model, caller, now) and self.failed_another(model, caller, now)
        _note(self._records.setdefault(model, _Record()).failed, caller, now)
        self._suspect_until = max(self._suspect_until, now + self._seconds)
        return proven

    def answered(self, model: str, caller: str, now: float) -> None:
        """A request of `caller` was answered by `model`: earlier failures prove nothing any more.

        They still keep their own callers away for a while.
        """
        record = self._records.get(model)
        if record is None:
            record = self._records[model] = _Record()
        record.failed.pop(caller, None)
        record.last_answer = now
        _note(record.answered, caller, now)

    def filed(self, model: str) -> None:
        """The failure of `model` is remembered as the model's own: it is no suspicion any more."""
        if (record := self._records.get(model)) is not None:
            record.failed.clear()

    def answered_another(self, model: str, caller: str, now: float) -> bool:
        """Whether `model` answered somebody else than `caller` lately."""
        record = self._records.get(model)
        return record is not None and any(
            other != caller and now - at <= SPEAKS_SECONDS for other, at in record.answered.items()
        )

    def failed_another(self, model: str, caller: str, now: float) -> bool:
        """Whether a request of somebody else than `caller` failed on `model` lately, with no answer of it since."""
        record = self._records.get(model)
        return record is not None and any(
            other != caller and at > record.last_answer and now - at <= PROOF_SECONDS
            for other, at in record.failed.items()
        )

    def any(self, now: float) -> bool:
        """Whether any model may be suspect at `now`. A comparison: every request asks."""
        return now < self._suspect_until

    def barred_until(self, model: str, caller: str, now: float) -> float | None:
        """Until when `caller` is not sent to `model`, because its own request failed there; None if it may be."""
        record = self._records.get(model)
        until = record.failed.get(caller, 0.0) + self._seconds if record is not None else 0.0
        return until if until > now else None

    def is_suspect(self, model: str, now: float) -> bool:
        """Whether anybody's request failed on `model` lately."""
        record = self._records.get(model)
        return record is not None and any(now - at < self._seconds for at in record.failed.values())


def suspect_seconds(settings: Settings) -> float:
    """How long a suspicion lasts: a tenth of what the failure would be remembered for, half a minute at most."""
    return min(SUSPECT_SECONDS, settings.failure_cooldown_minutes * 60 / 10)


def _note(times: dict[str, float], caller: str, now: float) -> None:
    """Note `now` for `caller`, as the latest entry; the oldest ones make room."""
    times.pop(caller, None)
    times[caller] = now
    while len(times) > _MOST_CALLERS:
        del times[next(iter(times))]
