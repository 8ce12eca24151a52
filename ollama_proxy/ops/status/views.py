"""Where a report looks: into the process that serves, or into the database that a stopped server left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from ollama_proxy.access.keys import Key
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.scope import scope_of
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.fallback.cooldown import all_believed
from ollama_proxy.fallback.measurements import stored
from ollama_proxy.fallback.memory import is_outdated
from ollama_proxy.fallback.samples import Measured
from ollama_proxy.ledger.quota import Quota
from ollama_proxy.ledger.quota_keeper import DAILY_LIMIT
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage import migrate
from ollama_proxy.storage.failure_table import FailureRow, LimitRow


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is remembered: failures by the model's id, past cooldowns too; and the account's limits."""

    failures: Mapping[str, FailureRow]
    limits: Sequence[LimitRow]

    def holding(self, now: float) -> list[LimitRow]:
        """The limits that hold at `now`, the longest first."""
        return sorted((row for row in self.limits if row.until > now), key=lambda row: -row.until)


class View(Protocol):
    """What the parts of a report are made from; `now` is UTC epoch seconds. Made for one report, then thrown away."""

    runtime: Runtime
    now: float
    #: Whether this is the process that serves.
    is_live: bool
    #: The only caller whose requests may be seen; None: those of all.
    only: str | None

    @property
    def has_tables(self) -> bool:
        """Whether the database has any tables yet. May raise StorageUnavailable."""
        ...

    @property
    def remembered(self) -> Remembered:
        """The failures and limits. May raise StorageUnavailable."""
        ...

    @property
    def measured(self) -> Mapping[str, Measured]:
        """What was measured of models, by id. May raise StorageUnavailable."""
        ...

    @property
    def catalog(self) -> Catalog | None:
        """The model list, None while there is none."""
        ...

    @property
    def quota(self) -> Quota:
        """What is left of the account. May raise StorageUnavailable."""
        ...


class LiveView:
    """The process that serves: what it remembers and lists, at most a second old. Makes no query."""

    is_live = True
    has_tables = True

    def __init__(self, runtime: Runtime, now: float, key: Key | None = None) -> None:
        """`key` is the key of whoever asks: one that is no admin's sees its own part of everything."""
        self.runtime, self.now = runtime, now
        self._key = None if key is None or key.admin else key
        self.only = None if self._key is None else self._key.name

    @cached_property
    def remembered(self) -> Remembered:
        """This process's copy. With the database away, what this process has learned."""
        memory = self.runtime.backend.memory
        memory.freshen()
        failures, limits = all_believed(memory.rows(), self.now), all_believed(memory.limits(), self.now)
        return Remembered({row.model: row for row in sorted(failures, key=lambda row: row.model)}, limits)

    @cached_property
    def measured(self) -> Mapping[str, Measured]:
        """What this process knows, at most a second old."""
        self.runtime.revisions.freshen()
        return self.runtime.backend.chooser.measured.known

    @cached_property
    def catalog(self) -> Catalog | None:
        """The list that requests use, as far as the key may see it."""
        found, key = self.runtime.backend.keeper.current(), self._key
        if found is None or key is None:
            return found
        return found.within(scope_of(key.models, free_only=key.free_only))

    @cached_property
    def quota(self) -> Quota:
        """As it is known now. For a minute from now on it is kept fresh, because somebody looks."""
        self.runtime.quota.looked()
        return self.runtime.quota.now()


class StoredView:
    """The database, where no server answers. Every read may raise StorageUnavailable."""

    is_live = False
    only: str | None = None

    def __init__(self, runtime: Runtime, now: float) -> None:
        self.runtime, self.now = runtime, now

    @cached_property
    def remembered(self) -> Remembered:
        """What the tables hold; nothing before the first migration."""
        if not self.has_tables:
            return Remembered({}, [])
        table = self.runtime.failures
        failures, limits = all_believed(table.load(), self.now), all_believed(table.limits(), self.now)
        return Remembered({row.model: row for row in failures}, limits)

    @cached_property
    def has_tables(self) -> bool:
        """Whether the database has any tables yet."""
        return migrate.current(self.runtime.database) is not None

    @cached_property
    def measured(self) -> Mapping[str, Measured]:
        """What the table holds; nothing before the first migration."""
        return stored(self.runtime.scores, self.now) if self.has_tables else {}

    @cached_property
    def catalog(self) -> Catalog | None:
        """The stored list: nothing is fetched for a report."""
        if self.runtime.backend.keeper.current() is None and self.has_tables:
            self.runtime.backend.keeper.load_stored()
        return self.runtime.backend.keeper.current()

    @cached_property
    def quota(self) -> Quota:
        """What the servers on this database knew last."""
        if not self.has_tables:
            return Quota()
        self.runtime.quota.load()
        quota = self.runtime.quota.now()
        if any(row.reason == DAILY_LIMIT for row in self.remembered.holding(self.now)):
            used = max(quota.free_used, quota.free_limit or 0)
            return replace(quota, free_left=0, free_used=used)
        return quota


def is_cooling(row: FailureRow, model: Model | None, now: float) -> bool:
    """Whether a model is left out at `now` for what is remembered of it; `model` is None if it is not in the list."""
    return row.until > now and (model is None or not is_outdated(row, model))
