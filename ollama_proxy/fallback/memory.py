"""What is remembered of failures: which models cool down, which account limits hold, and until when.

The truth is two SQL tables that all processes share; this is a process's copy of them, at most a second old while
requests come. A healthy request writes nothing. Writes are made behind the request's back; with the database away they
wait, and the copy goes on by itself (docs/contract.md, "Failures").
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ollama_proxy.background import Background
from ollama_proxy.catalog.records import Model
from ollama_proxy.config import Settings
from ollama_proxy.fallback.cooldown import DAY, Cooldown, cooldown_for, limit_for, merged
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.failure_table import FailureRow, LimitRow

#: A copy older than this (seconds) is read again by the request that finds it so.
FRESH_SECONDS = 1.0

#: The longest that a request waits for that, in seconds.
LOAD_PATIENCE = 0.25

#: After a failed statement the database is left alone for so long (seconds): connecting to a dead one costs seconds.
DATABASE_REST = 3.0

#: So many writes wait for a database that is away; then the oldest are dropped.
MOST_UNSAVED = 1000


Row = TypeVar("Row", FailureRow, LimitRow)


class FailureStore(Protocol):
    """The statements: `storage.failures.FailureTable`."""

    def load(self) -> list[FailureRow]: ...
    def limits(self) -> list[LimitRow]: ...
    def record(
        self,
        model: str,
        *,
        blame: str,
        reason: str,
        began_at: float,
        now: float,
        base_seconds: float,
        multiply: bool,
        until_at_least: float | None,
        record_digest: str | None,
    ) -> FailureRow: ...
    def clear_if_older(self, model: str, began_at: float) -> bool: ...
    def prune(self, now: float) -> int: ...
    def record_limit(
        self, scope: str, *, until: float, reason: str, message: str, status: int, now: float
    ) -> LimitRow: ...


@dataclass(frozen=True, slots=True)
class Cooling:
    """Why a model is left out, and until when (UTC epoch seconds)."""

    until: float
    reason: str
    blame: str


@dataclass(frozen=True, slots=True)
class _Write:
    """A statement that is still to be made, and which model or limit it is about."""

    about: str
    save: Callable[[FailureStore], object]


class FailureMemory:
    """One per process, shared by its requests."""

    def __init__(
        self,
        settings: Settings,
        table: FailureStore | None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives UTC epoch seconds, `monotonic` seconds that nobody can put back. `table` None: memory only."""
        self._settings = settings
        self._table = table
        self._clock = clock
        self._monotonic = monotonic
        self._models: dict[str, FailureRow] = {}
        self._limits: dict[str, LimitRow] = {}
        self._read_at = self._rest_until = float("-inf")
        self._lock = threading.Lock()  # guards the three below; never held over a statement
        self._unsaved: deque[_Write] = deque(maxlen=MOST_UNSAVED)
        self._synchronising: Background[bool] | None = None
        self._synchronising_since = float("-inf")
        #: The database could not be used when it was last tried.
        self.degraded = False

    # Reading

    def freshen(self) -> None:
        """Read the shared state if this copy is older than a second. Waits at most a quarter of a second.

        That is from the reading's start on: one that hangs does not delay every request that comes meanwhile.
        """
        if self._table is not None and not self._is_fresh() and not self._database_rests():
            reading = self._start_synchronising(self._table)
            patience = self._synchronising_since + LOAD_PATIENCE - time.monotonic()
            if patience > 0:
                reading.wait(patience)

    @property
    def is_clear(self) -> bool:
        """Nothing is remembered, so no model can be cooling."""
        return not self._models and not self._limits

    def cooling(self, model: Model, now: float) -> Cooling | None:
        """Why `model` is left out at `now`, or None.

        A model that was gone or gated is tried again as soon as its own catalogue record has changed.
        """
        row = self._models.get(model.id)
        found = [Cooling(row.until, row.reason, row.blame)] if row is not None and not is_outdated(row, model) else []
        if model.is_stealth and (limit := self._limits.get("stealth")) is not None:
            found.append(Cooling(limit.until, limit.reason, Blame.STEALTH_LIMIT.value))
        latest = max(found, key=lambda cooling: cooling.until, default=None)
        return latest if latest is not None and latest.until > now else None

    def limit(self, now: float, *, free: bool) -> LimitRow | None:
        """The account limit that holds at `now`, the later one of several. `free`: is a free model asked?"""
        scopes = ("account", "free") if free else ("account",)
        rows = [row for scope in scopes if (row := self._limits.get(scope)) is not None and row.until > now]
        return max(rows, key=lambda row: row.until, default=None)

    def rows(self) -> Iterable[FailureRow]:
        """All that is remembered of models, for the gauges."""
        return tuple(self._models.values())

    # Writing

    def failed(self, model: Model, verdict: Verdict, *, began_at: float) -> None:
        """An attempt with `model` that began at `began_at` failed. Remembers what is to be remembered. Never waits."""
        now = self._clock()
        if (limit := limit_for(verdict, now=now)) is not None:
            self._record_limit(limit)
        if (cooldown := cooldown_for(verdict, self._settings, now=now)) is not None:
            known = self._models.get(model.id)
            if known is not None and is_outdated(known, model):
                # It was tried because its record has changed: the old deadline must not outlast the new failure.
                self._forget(model, began_at)
            self._record_model(model, verdict, cooldown, began_at=began_at, now=now)

    def succeeded(self, model: Model, *, began_at: float) -> None:
        """An attempt that began at `began_at` was answered: older failures of the model are forgotten. Never waits."""
        row = self._models.get(model.id)
        if row is not None and row.failed_at < began_at:
            self._forget(model, began_at)

    def _forget(self, model: Model, began_at: float) -> None:
        self._models.pop(model.id, None)
        self._write(model.id, lambda table: table.clear_if_older(model.id, began_at))

    def _record_limit(self, row: LimitRow) -> None:
        known = self._limits.get(row.scope)
        if known is None or row.until >= known.until:
            self._limits[row.scope] = row
        self._write(
            row.scope,
            lambda table: table.record_limit(
                row.scope,
                until=row.until,
                reason=row.reason,
                message=row.message,
                status=row.status,
                now=row.updated_at,
            ),
        )

    def _record_model(self, model: Model, verdict: Verdict, cooldown: Cooldown, *, began_at: float, now: float) -> None:
        digest = model.digest if verdict.blame is Blame.MODEL_GONE else None
        new = FailureRow(model.id, verdict.blame.value, 0, now, now, verdict.reason, digest)
        self._models[model.id] = merged(self._models.get(model.id), new, cooldown, began_at=began_at)
        self._write(
            model.id,
            lambda table: table.record(
                model.id,
                blame=new.blame,
                reason=new.reason,
                began_at=began_at,
                now=now,
                base_seconds=cooldown.base,
                multiply=cooldown.multiply,
                until_at_least=cooldown.until,
                record_digest=digest,
            ),
        )

    def _write(self, about: str, save: Callable[[FailureStore], object]) -> None:
        if self._table is None:
            return
        with self._lock:
            self._unsaved.append(_Write(about, save))
        if not self._database_rests():
            self._start_synchronising(self._table)

    # Synchronising with the database: one at a time, in the background

    def _is_fresh(self) -> bool:
        return self._monotonic() - self._read_at <= FRESH_SECONDS

    def _database_rests(self) -> bool:
        return self._monotonic() < self._rest_until

    def _start_synchronising(self, table: FailureStore) -> Background[bool]:
        """The synchronisation that runs; it also takes what is written while it runs."""
        with self._lock:
            if self._synchronising is None:
                self._synchronising_since = time.monotonic()
                self._synchronising = Background(lambda: self._synchronise(table), discard=lambda _: None)
            return self._synchronising

    def _synchronise(self, table: FailureStore) -> bool:
        try:
            while True:
                while (write := self._next_write()) is not None:
                    self._make(write, table)
                if not self._is_fresh():
                    self._read(table)
                self.degraded = False
                with self._lock:
                    if not self._unsaved:
                        self._synchronising = None
                        return True
        except Exception:  # noqa: BLE001 - whatever broke, a later request must be able to try again
            self.degraded = True
            self._rest_until = self._monotonic() + DATABASE_REST
            with self._lock:
                self._synchronising = None
            return False

    def _next_write(self) -> _Write | None:
        with self._lock:
            return self._unsaved.popleft() if self._unsaved else None

    def _make(self, write: _Write, table: FailureStore) -> None:
        try:
            write.save(table)
        except StorageUnavailable:
            with self._lock:
                if len(self._unsaved) < MOST_UNSAVED:
                    self._unsaved.appendleft(write)
            raise

    def _read(self, table: FailureStore) -> None:
        """Take over what the tables hold, but of nothing that has been learned here since."""
        models = {row.model: row for row in table.load()}
        limits = {row.scope: row for row in table.limits()}
        now = self._clock()
        with self._lock:
            learned = {write.about for write in self._unsaved}
        self._models = _without(models, learned) | _only(self._models, learned)
        self._limits = _without(limits, learned) | _only(self._limits, learned)
        self._read_at = self._monotonic()
        if any(row.until <= now and row.failed_at < now - DAY for row in models.values()):
            table.prune(now)


def is_outdated(row: FailureRow, model: Model) -> bool:
    """The failure was about another state of the model's catalogue record."""
    return bool(row.record_digest) and row.record_digest != model.digest


def _only(rows: dict[str, Row], keys: set[str]) -> dict[str, Row]:
    return {key: row for key, row in rows.items() if key in keys}


def _without(rows: dict[str, Row], keys: set[str]) -> dict[str, Row]:
    return {key: row for key, row in rows.items() if key not in keys}
