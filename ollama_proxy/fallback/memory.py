"""What is remembered of failures: which models cool down, which account limits hold, and until when.

The truth is two SQL tables that all processes share; this is a process's copy of them, at most a second old while
requests come. A healthy request writes nothing. With the database away the copy goes on by itself, and what it learned
is written when the database is back (docs/contract.md, "Failures").
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ollama_proxy.catalog.records import Model
from ollama_proxy.config import Settings
from ollama_proxy.openrouter.background import Background
from ollama_proxy.openrouter.failure import Blame, Verdict
from ollama_proxy.storage.engine import StorageUnavailable
from ollama_proxy.storage.failures import FailureRow, LimitRow

#: A copy older than this (seconds) is read again by the request that finds it so.
FRESH_SECONDS = 1.0

#: The longest that a request waits for that, in seconds.
LOAD_PATIENCE = 0.25

#: After a failed statement the database is left alone for so long (seconds): connecting to a dead one costs seconds.
DATABASE_REST = 3.0

DAY = 86_400.0

#: Seconds that nothing is sent after an account or key error, or after a 429 that says nothing about itself.
ACCOUNT_PAUSE = 60.0
UNKNOWN_LIMIT_PAUSE = 30.0

#: A failure of the model itself counts at most so many times in its cooldown.
MOST_COUNTED = 5


class Table(Protocol):
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
    def record_limit(
        self, scope: str, *, until: float, reason: str, message: str, status: int, now: float
    ) -> LimitRow: ...


@dataclass(frozen=True, slots=True)
class Cooldown:
    """How long a failure is remembered: `base` seconds, times the count if `multiply`, at least until `until`."""

    base: float
    multiply: bool = False
    until: float | None = None


def cooldown_for(verdict: Verdict, settings: Settings, *, now: float) -> Cooldown | None:
    """The cooldown of the model that `verdict` blames; None where the model is not to blame."""
    latest = None if verdict.retry_at is None else min(verdict.retry_at, now + DAY)
    match verdict.blame:
        case Blame.MODEL_RATE_LIMIT | Blame.STEALTH_LIMIT:
            return Cooldown(settings.ratelimit_cooldown_minutes * 60, until=latest)
        case Blame.MODEL_FAILING:
            return Cooldown(settings.failure_cooldown_minutes * 60, multiply=True, until=latest)
        case Blame.MODEL_GONE | Blame.PRIVACY:
            return Cooldown(DAY)
        case _:
            return None


class FailureMemory:
    """One per process, shared by its requests."""

    def __init__(
        self,
        settings: Settings,
        table: Table | None,
        *,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`clock` gives UTC epoch seconds. `warn` gets one text when the database goes away and one when it is back."""
        self._settings = settings
        self._table = table
        self._clock = clock
        self._warn = warn
        self._models: dict[str, FailureRow] = {}
        self._limits: dict[str, LimitRow] = {}
        self._unsaved: dict[str, Callable[[Table], object]] = {}
        self._loaded_at = float("-inf")
        self._loading: Background[bool] | None = None
        self._lock = threading.Lock()
        self._rest_until = 0.0
        self.degraded = False

    # Reading

    def freshen(self) -> None:
        """Read the shared state if this copy is older than a second. Waits at most a quarter of a second."""
        now = self._clock()
        if self._table is None or now - self._loaded_at <= FRESH_SECONDS or now < self._rest_until:
            return
        with self._lock:
            if self._loading is None:
                self._loading = Background(self._load, discard=lambda _: None)
            loading = self._loading
        if loading.wait(LOAD_PATIENCE):
            with self._lock:
                if self._loading is loading:
                    self._loading = None

    def cooling(self, model: Model, now: float) -> FailureRow | None:
        """The failure for which `model` is left out at `now`, or None.

        A model that was gone or gated is tried again as soon as its own catalogue record has changed.
        """
        row = self._models.get(model.id)
        if row is None or row.until <= now:
            return None
        if row.record_digest and row.record_digest != model.digest:
            return None
        return row

    def limit(self, now: float, *, free: bool) -> LimitRow | None:
        """The account limit that holds at `now`, the later one of several. `free`: is a free model asked?"""
        scopes = ("account", "free") if free else ("account",)
        rows = [row for scope in scopes if (row := self._limits.get(scope)) is not None and row.until > now]
        return max(rows, key=lambda row: row.until, default=None)

    def rows(self) -> Iterable[FailureRow]:
        """All that is remembered, for the gauges."""
        return tuple(self._models.values())

    def _load(self) -> bool:
        table = self._table
        assert table is not None
        try:
            for key, save in list(self._unsaved.items()):
                save(table)
                self._unsaved.pop(key, None)
            models = {row.model: row for row in table.load()}
            limits = {row.scope: row for row in table.limits()}
        except StorageUnavailable as error:
            self._lost(error)
            return False
        self._models, self._limits = models, limits
        self._loaded_at = self._clock()
        if self.degraded:
            self.degraded = False
            self._warn("the database is back: failures are shared and kept again")
        return True

    def _lost(self, error: StorageUnavailable) -> None:
        self._rest_until = self._clock() + DATABASE_REST
        if not self.degraded:
            self.degraded = True
            self._warn(f"the database cannot be used, failures are remembered by this process alone: {error}")

    # Writing

    def failed(self, model: Model, verdict: Verdict, *, began_at: float) -> None:
        """An attempt with `model` that began at `began_at` failed. Remembers what is to be remembered."""
        now = self._clock()
        if (limit := self._limit_of(verdict, now)) is not None:
            self._record_limit(limit)
        elif (cooldown := cooldown_for(verdict, self._settings, now=now)) is not None:
            digest = model.digest if verdict.blame is Blame.MODEL_GONE else None
            self._record_model(model.id, verdict, cooldown, digest, began_at=began_at, now=now)

    def succeeded(self, model: Model, *, began_at: float) -> None:
        """An attempt that began at `began_at` was answered: older failures of the model are forgotten."""
        row = self._models.get(model.id)
        if row is None or row.failed_at >= began_at:
            return
        self._models.pop(model.id, None)
        self._save(model.id, lambda table: table.clear_if_older(model.id, began_at))

    def _limit_of(self, verdict: Verdict, now: float) -> LimitRow | None:
        match verdict.blame:
            case Blame.ACCOUNT_LIMIT:
                scope, until = "free", verdict.retry_at or now + ACCOUNT_PAUSE
            case Blame.UNKNOWN_LIMIT:
                scope, until = "free", verdict.retry_at or now + UNKNOWN_LIMIT_PAUSE
            case Blame.ACCOUNT:
                scope, until = "account", now + ACCOUNT_PAUSE
            case _:
                return None
        return LimitRow(
            scope=scope,
            until=until,
            reason=verdict.reason,
            message=verdict.message,
            status=verdict.status,
            updated_at=now,
        )

    def _record_limit(self, row: LimitRow) -> None:
        known = self._limits.get(row.scope)
        self._limits[row.scope] = row if known is None or row.until >= known.until else known
        self._save(
            f"limit {row.scope}",
            lambda table: table.record_limit(
                row.scope,
                until=row.until,
                reason=row.reason,
                message=row.message,
                status=row.status,
                now=row.updated_at,
            ),
        )

    def _record_model(
        self, model: str, verdict: Verdict, cooldown: Cooldown, digest: str | None, *, began_at: float, now: float
    ) -> None:
        row = _merged(self._models.get(model), model, verdict, cooldown, digest, began_at=began_at, now=now)
        self._models[model] = row

        def save(table: Table) -> None:
            self._models[model] = table.record(
                model,
                blame=verdict.blame.value,
                reason=verdict.reason,
                began_at=began_at,
                now=now,
                base_seconds=cooldown.base,
                multiply=cooldown.multiply,
                until_at_least=cooldown.until,
                record_digest=digest,
            )

        self._save(model, save)

    def _save(self, key: str, save: Callable[[Table], object]) -> None:
        """Write now, or as soon as the database is back. The last word on a key is the one that counts."""
        if self._table is None:
            return
        if self._clock() < self._rest_until:
            self._unsaved[key] = save
            return
        try:
            save(self._table)
            self._unsaved.pop(key, None)
        except StorageUnavailable as error:
            self._unsaved[key] = save
            self._lost(error)


def _merged(
    old: FailureRow | None,
    model: str,
    verdict: Verdict,
    cooldown: Cooldown,
    digest: str | None,
    *,
    began_at: float,
    now: float,
) -> FailureRow:
    """What the table's upsert does, for a process that has no table: the same rules, see `storage.failures`."""
    if old is None or now - old.failed_at > DAY:
        count, counted = 1, True
    else:
        counted = began_at > old.failed_at
        count = old.count + counted
    factor = min(count, MOST_COUNTED) if cooldown.multiply else 1
    until = max(now + cooldown.base * factor, cooldown.until or 0.0, old.until if old is not None else 0.0)
    return FailureRow(
        model=model,
        blame=verdict.blame.value,
        count=count,
        failed_at=now if counted or old is None else old.failed_at,
        until=until,
        reason=verdict.reason,
        record_digest=digest,
    )
