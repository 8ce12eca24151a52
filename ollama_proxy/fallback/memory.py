"""What is remembered of failures: which models cool down, which account limits hold, and until when.

The truth is two SQL tables that all processes share. This is a process's copy of them, at most a second old while
requests come. What others have changed comes in through `storage/revisions.py`; what is learned here goes out through
`storage/write_behind.py`. With the database away the copy goes on by itself (docs/contract.md, "Failures").
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from ollama_proxy.catalog.records import Model
from ollama_proxy.config import Settings
from ollama_proxy.fallback.cooldown import (
    QUIET_SECONDS,
    Cooldown,
    believed,
    cooldown_for,
    limit_for,
    merged,
    merged_limit,
)
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.storage.failure_table import NAME, FailureRow, FailureTable, LimitRow, Row
from ollama_proxy.storage.revisions import Revisions
from ollama_proxy.storage.write_behind import Write, WriteQueue

#: The copy is reloaded at least so often (seconds, while requests come). Servers of version 1.0.0 on the same database,
#: and people with a database client, change the tables without raising the revision.
RELOAD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Cooling:
    """Why a model is left out, and until when (UTC epoch seconds)."""

    until: float
    reason: str
    blame: str


@dataclass(frozen=True, slots=True)
class Shared:
    """How a memory shares with other processes: the tables, a queue for its writes, and the news of changes."""

    table: FailureTable
    writes: WriteQueue
    revisions: Revisions


class FailureMemory:
    """Remembers failures for all requests of a process. One for each process."""

    def __init__(
        self, settings: Settings, shared: Shared | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` gives UTC epoch seconds. Without `shared` this process remembers for itself only."""
        self._settings = settings
        self._shared = shared
        self._clock = clock
        self._models: dict[str, FailureRow] = {}
        self._limits: dict[str, LimitRow] = {}
        self._lock = threading.Lock()  # guards the two above and the one below; never held over a statement
        #: Models and scopes that were learned of here since the last reload began, or had not been written then.
        self._learned: set[str] = set()
        if shared is not None:
            shared.revisions.subscribe(NAME, partial(self._reload, shared), at_least_every=RELOAD_SECONDS)

    # Reading

    def freshen(self) -> None:
        """Renew this copy if it is older than a second and anything has moved. Waits at most a quarter of a second."""
        if self._shared is not None:
            self._shared.revisions.freshen()

    @property
    def is_clear(self) -> bool:
        """True if nothing is remembered, so that no model can be cooling."""
        return not self._models and not self._limits

    def cooling(self, model: Model, now: float) -> Cooling | None:
        """Return why `model` is left out at `now`, None if it is not.

        A model that was gone or gated is tried again as soon as its own catalogue record has changed.
        """
        row = self._models.get(model.id)
        found = [Cooling(row.until, row.reason, row.blame)] if row is not None and not is_outdated(row, model) else []
        if model.is_stealth and (limit := self._limits.get("stealth")) is not None:
            found.append(Cooling(limit.until, limit.reason, Blame.STEALTH_LIMIT.value))
        latest = max(found, key=lambda cooling: cooling.until, default=None)
        return latest if latest is not None and latest.until > now else None

    def limit(self, now: float, *, free: bool) -> LimitRow | None:
        """Return the account limit that holds at `now`, of several the later one. `free`: a free model is asked."""
        if not self._limits:
            return None
        scopes = ("account", "free") if free else ("account",)
        rows = [row for scope in scopes if (row := self._limits.get(scope)) is not None and row.until > now]
        return max(rows, key=lambda row: row.until, default=None)

    def rows(self) -> Iterable[FailureRow]:
        """Return all that is remembered of models, past cooldowns too: for reports."""
        return tuple(self._models.values())

    def limits(self) -> Sequence[LimitRow]:
        """Return all that is remembered of the account's limits, past ones too."""
        return tuple(self._limits.values())

    # Writing

    def failed(self, model: Model, verdict: Verdict, *, began_at: float) -> None:
        """Remember, if `verdict` says so, that an attempt with `model` that began at `began_at` failed. Never waits."""
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
        """Forget failures of `model` older than `began_at`, when an attempt began that was answered. Never waits."""
        row = self._models.get(model.id)
        if row is not None and row.failed_at < began_at:
            self._forget(model, began_at)

    def clear(self, model_id: str | None = None) -> int:
        """Forget the failures of a model, or all failures and all limits, by hand. Returns how many there were here.

        It holds in this process at once, in the others as soon as it is written. Never waits for the database.
        """
        with self._lock:
            models = list(self._models) if model_id is None else [model_id] if model_id in self._models else []
            limits = list(self._limits) if model_id is None else []
            for known in models:
                del self._models[known]
            for scope in limits:
                del self._limits[scope]
            # Once for each, so that no reload brings it back before it is written; and once for what the tables hold
            # and this process has not read yet.
            for about in (*models, *limits, ""):
                self._write(about, lambda table: table.forget(model_id))
        return len(models) + len(limits)

    def _forget(self, model: Model, began_at: float) -> None:
        with self._lock:
            self._models.pop(model.id, None)
            self._write(model.id, lambda table: table.forget_older(model.id, began_at))

    def _record_limit(self, new: LimitRow) -> None:
        become = partial(merged_limit, new=new)
        with self._lock:
            self._limits[new.scope] = become(self._limits.get(new.scope))
            self._write(new.scope, lambda table: table.change_limit(new.scope, become))

    def _record_model(self, model: Model, verdict: Verdict, cooldown: Cooldown, *, began_at: float, now: float) -> None:
        digest = model.digest if verdict.blame is Blame.MODEL_GONE else None
        new = FailureRow(model.id, verdict.blame.value, 0, now, now, verdict.reason, digest)
        become = partial(merged, new=new, cooldown=cooldown, began_at=began_at)
        with self._lock:
            self._models[model.id] = become(self._models.get(model.id))
            self._write(model.id, lambda table: table.change(model.id, become))

    def _write(self, about: str, write: Callable[[FailureTable], Write]) -> None:
        """Queue the write of a change. Called under the lock of that change: a reload must see both or neither."""
        if self._shared is not None:
            self._learned.add(about)
            self._shared.writes.put(write(self._shared.table), about=about)

    # Taking over what all know, in the background

    def _reload(self, shared: Shared) -> None:
        """Take over what the tables hold, but keep what was learned here and may be missing there.

        That is what was not written yet when the reading began, and what was learned since then. When it is written the
        revision moves, so it is read with the next look. Raises StorageUnavailable.
        """
        with self._lock:
            self._learned = shared.writes.unmade()
        models, limits = shared.table.load(), shared.table.limits()
        now = self._clock()
        with self._lock:
            self._models = _taken_over({row.model: row for row in models}, self._models, self._learned, now)
            self._limits = _taken_over({row.scope: row for row in limits}, self._limits, self._learned, now)
        quiet = now - QUIET_SECONDS
        if any(row.until <= now and row.failed_at < quiet for row in models):
            shared.writes.put(shared.table.forget_past(ended_by=now, failed_before=quiet))


def is_outdated(row: FailureRow, model: Model) -> bool:
    """True if the failure was about an earlier catalogue record of the model."""
    return bool(row.record_digest) and row.record_digest != model.digest


def _taken_over(read: dict[str, Row], own: dict[str, Row], learned: set[str], now: float) -> dict[str, Row]:
    found = {key: row for key, old in read.items() if key not in learned and (row := believed(old, now)) is not None}
    return found | {key: row for key, row in own.items() if key in learned}
