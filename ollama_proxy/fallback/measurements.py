"""What this process knows of how models do: measured here, and by all processes that share the database.

A request notes what it saw and reads what is known, in memory. What was measured here goes out every half minute
through `storage/write_behind.py`, what others measured comes in through `storage/revisions.py`. With the database away
the process goes on by itself (docs/contract.md, "Scores").
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from ollama_proxy.fallback.samples import (
    NOTHING,
    Measured,
    Recent,
    Sample,
    added,
    believed,
    earlier_first_token,
    faded,
    forgotten,
    latest,
    usual_first_token,
)
from ollama_proxy.fallback.scores import success
from ollama_proxy.storage.revisions import Revisions
from ollama_proxy.storage.score_table import ALL_MODELS, NAME, ScoreRow, ScoreTable
from ollama_proxy.storage.write_behind import WriteQueue

#: What was measured is written this many seconds after it was measured, at the latest.
WRITE_WITHIN = 30.0

#: A model that is measured to be bad gets one real request when its last sample is so old. Where only failing makes bad
#: it is sooner: most failures come at once, while a slow model costs the request all the time that a trial has.
PROBE_AFTER = 1800.0
PROBE_FAILING_AFTER = 600.0

#: Rows that nothing was added to for so long mean nothing any more: many half-lives have passed.
FORGET_AFTER = 86_400.0

#: The most samples of this process that wait to be written. Where there are more within half a minute, the latest ones
#: say enough.
MOST_WAITING = 10_000

#: Fewer tokens than this say nothing about a model's speed.
LEAST_TOKENS = 30

#: The shortest patience that follows from what was measured, the one for a model that was not, and how many times the
#: usual one is waited.
SHORTEST_PATIENCE = 8.0
UNMEASURED_PATIENCE = 16.0
TIMES_USUAL = 3.0


@dataclass(frozen=True, slots=True)
class SharedScores:
    """How measurements are shared with other processes: the table, a queue for its writes, and the news of changes."""

    table: ScoreTable
    writes: WriteQueue
    revisions: Revisions


@dataclass(slots=True)
class _Batch:
    """One write: whether it has begun, and the samples it has taken. Made twice, it adds them to the rows it finds."""

    has_begun: bool = False
    taken: list[tuple[str, Sample]] = field(default_factory=list)


class Measurements:
    """What is measured of all models, for all requests of a process. One for each process."""

    def __init__(
        self, slow: float, shared: SharedScores | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`slow` is how many seconds to a first token make a model bad. `clock` gives UTC epoch seconds.

        Without `shared` this process learns for itself only.
        """
        self.slow = slow
        self._shared = shared
        self._clock = clock
        self._models: dict[str, Measured] = {}
        self._probed: dict[str, float] = {}
        self._lock = threading.Lock()  # guards `_models`; never held over a statement
        #: What is not written yet. The thread that writes takes from its left; appending needs no lock.
        self._waiting: deque[tuple[str, Sample]] = deque(maxlen=MOST_WAITING)
        #: The writes whose samples may be missing in the table, by name.
        self._batches: dict[str, _Batch] = {}
        self._latest = _Batch(has_begun=True)
        self._made = 0
        #: Raised when an order may have changed at once: after what is bad, a reload, a model that is judged anew.
        self.version = 0
        if shared is not None:
            shared.revisions.subscribe(NAME, partial(self._reload, shared))

    # Reading

    @property
    def known(self) -> Mapping[str, Measured]:
        """What is measured, by model id."""
        return self._models

    def of(self, model: str) -> Measured:
        """What is measured of a model; `NOTHING` if nothing is."""
        return self._models.get(model, NOTHING)

    def success(self, model: str, now: float) -> float:
        """How often a model answers, as a score counts it."""
        return success(faded(self.of(model), now))

    def patience(self, model: str, now: float, *, waits: bool = False) -> float:
        """How many seconds a model's first token is waited for, before any limit of the settings.

        `waits`: in an order in which a good model is worth waiting for. There few answers, or old ones, are enough to
        wait longer for a model than for one of which nothing is known.
        """
        measured = self.of(model)
        usual = usual_first_token(measured, now)
        if usual is not None:
            return max(TIMES_USUAL * usual, SHORTEST_PATIENCE)
        earlier = earlier_first_token(measured) if waits else None
        return UNMEASURED_PATIENCE if earlier is None else max(TIMES_USUAL * earlier, UNMEASURED_PATIENCE)

    def is_probe_due(self, model: str, now: float, *, waits: bool = False) -> bool:
        """Whether the last sample of a bad model, and the last probe by this process, are old enough.

        `waits`: in an order in which being slow does not make a model bad.
        """
        recent = latest(self.of(model), now)
        last = max(recent[-1].at if recent else 0.0, self._probed.get(model, 0.0))
        return now - last >= (PROBE_FAILING_AFTER if waits else PROBE_AFTER)

    # Noting

    def probing(self, model: str, now: float) -> None:
        """A request is a model's probe: no other one of this process is before the time is over again."""
        self._probed[model] = now

    def answered(
        self,
        model: str,
        now: float,
        *,
        first_token: float | None = None,
        tokens: int = 0,
        seconds: float = 0.0,
        probe: bool = False,
    ) -> None:
        """A model has answered; `first_token` is None where it was not seen (an answer in one piece).

        `tokens` came within `seconds` after the first. With `probe` a quick answer means that it is judged anew.
        """
        timed = tokens >= LEAST_TOKENS and seconds > 0 and first_token is not None
        renews = probe and (first_token is None or first_token < self.slow)
        self._note(
            model,
            Sample(
                now,
                answered=True,
                first_token=first_token,
                tokens=float(tokens) if timed else 0.0,
                seconds=seconds if timed else 0.0,
                renews=renews,
            ),
        )
        if renews or (first_token is not None and first_token >= self.slow):
            self.version += 1

    def failed(self, model: str, now: float, *, waited: float | None = None, weight: float = 1.0) -> None:
        """A failure is the model's. `waited` is how long its first token was waited for, if that was what failed."""
        self._note(model, Sample(now, answered=False, first_token=waited, weight=weight))
        self.version += 1

    def _note(self, model: str, sample: Sample) -> None:
        with self._lock:
            self._models[model] = added(self._models.get(model, NOTHING), sample)
        if self._shared is not None:
            self._waiting.append((model, sample))
            if self._latest.has_begun:
                self._put_write(self._shared)

    # Sharing

    def _put_write(self, shared: SharedScores) -> None:
        """Queue one write for all that will have been measured when it is made."""
        self._made += 1
        name = str(self._made)
        batch = self._latest = self._batches[name] = _Batch()
        make = partial(_written, self._waiting, batch, self._clock)
        shared.writes.put(shared.table.change(make, forget_before=lambda: self._clock() - FORGET_AFTER), about=name)

    def _reload(self, shared: SharedScores) -> None:
        """Take over what all processes know, and add what was measured here and may be missing there.

        What a write commits between the two readings is counted twice, until the next look: that write has moved the
        revision. Raises StorageUnavailable.
        """
        unmade = shared.writes.unmade()
        rows = shared.table.load()
        now = self._clock()
        with self._lock:
            self._batches = {name: batch for name, batch in self._batches.items() if name in unmade}
            own = [one for batch in self._batches.values() for one in batch.taken.copy()] + [*self._waiting.copy()]
            self._models = _joined(rows, own, now)
        self.version += 1


def _written(
    waiting: deque[tuple[str, Sample]],
    batch: _Batch,
    clock: Callable[[], float],
    rows: Mapping[str, ScoreRow],
) -> list[ScoreRow]:
    """The rows that a write makes of the ones it finds. It may run in a native thread: no lock, nothing of gevent."""
    # First of all: what is noted from now on has a write of its own.
    batch.has_begun = True
    while True:
        try:
            batch.taken.append(waiting.popleft())
        except IndexError:
            break
    joined = _joined(rows, batch.taken, clock())
    return [_row(model, joined[model]) for model in {model for model, _ in batch.taken} if model in joined]


def _joined(rows: Mapping[str, ScoreRow], samples: Iterable[tuple[str, Sample]], now: float) -> dict[str, Measured]:
    """What is known of each model from the table's rows and further samples."""
    forgotten_at = believed(_measured(rows[ALL_MODELS]), now).since if ALL_MODELS in rows else 0.0
    found: dict[str, Measured] = {}
    for model, row in rows.items():
        measured = believed(_measured(row), now)
        if model != ALL_MODELS and measured is not NOTHING:
            found[model] = measured
    for model, sample in samples:
        if sample.at > forgotten_at:
            found[model] = added(found.get(model, NOTHING), sample)
    return found


def _measured(row: ScoreRow) -> Measured:
    recent = tuple(Recent(*one) for one in row.recent)
    return Measured(row.at, row.ok, row.failed, row.timed, row.waited, row.tokens, row.seconds, row.since, recent)


def _row(model: str, measured: Measured) -> ScoreRow:
    return ScoreRow(model, *measured[:-1], recent=tuple(tuple(one) for one in measured.recent))  # type: ignore[misc]


def stored(table: ScoreTable, now: float) -> dict[str, Measured]:
    """What the table says of each model, for the command line. Raises StorageUnavailable."""
    return _joined(table.load(), (), now)


def forget(table: ScoreTable, now: float, model: str | None = None) -> int:
    """Forget what was measured of `model`, or of all; of how many something was known. Raises StorageUnavailable."""
    return table.forget(_row(ALL_MODELS if model is None else model, forgotten(now)._replace(at=now)))
