"""Says in the log when the day's free requests run out, and when a limit of the account begins and ends.

Of all processes that share a database one says it: whoever gets the lease of that name. Without a database each says it
for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from ollama_proxy.ledger.quota import WARN_AT, Quota
from ollama_proxy.openrouter.errors.retry_times import clock_time
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.failure_table import LimitRow
from ollama_proxy.storage.leases import Leases

#: What a limit of a scope closes.
_CLOSED = {"free": "free models", "stealth": "stealth models"}
#: Seconds after which nobody says any more that a limit has ended.
_STALE = 60.0


class Logger(Protocol):
    """The part of a logger that is needed."""

    def info(self, event: str) -> object: ...

    def warning(self, event: str) -> object: ...


class Announcer:
    """One for each process."""

    def __init__(
        self,
        *,
        quota: Callable[[], Quota],
        limits: Callable[[], Sequence[LimitRow]],
        leases: Leases,
        holder: Callable[[], str],
        log: Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`limits` returns what is remembered of the account's limits, past ones too."""
        self._quota, self._limits, self._leases, self._holder = quota, limits, leases, holder
        self._log, self._clock = log, clock
        self._warned_until = 0.0
        self._holding: dict[str, LimitRow] = {}
        #: The scopes whose limit this process has said the beginning of.
        self._said: set[str] = set()

    def look(self) -> None:
        """Say what is new since the last look. Raises nothing."""
        now = self._clock()
        self._look_at_quota(now)
        self._look_at_limits(now)

    def _look_at_quota(self, now: float) -> None:
        quota = self._quota()
        if now < self._warned_until or not quota.free_limit or quota.free_used < WARN_AT * quota.free_limit:
            return
        self._warned_until = quota.resets_at
        if self._is_mine("quota warning", now, quota.resets_at - now):
            self._log.warning(
                f"{quota.free_used} of today's {quota.free_limit} free requests are used; "
                f"{quota.free_left} are left until {clock_time(quota.resets_at)}"
            )

    def _look_at_limits(self, now: float) -> None:
        limits = {row.scope: row for row in self._limits() if row.until > now}
        before, self._holding = self._holding, limits
        for scope, row in limits.items():
            if scope not in before and self._is_mine(_begins(scope), now, row.until - now):
                self._said.add(scope)
                closed = _CLOSED.get(scope, "OpenRouter")
                self._log.warning(f"nothing is sent to {closed} until {clock_time(row.until)}: {row.reason}")
        for scope in self._said - limits.keys():
            self._forget(scope)
        for scope, row in before.items():
            if scope not in limits and self._is_mine(f"limit ends: {scope} {row.until:.0f}", now, _STALE):
                self._log.info(f"the limit has ended: {row.reason}")

    def _forget(self, scope: str) -> None:
        # A limit may end early, and a new one be met first by another process: that one has to say it.
        self._said.discard(scope)
        with suppress(StorageUnavailable):
            self._leases.release(_begins(scope), self._holder())

    def _is_mine(self, what: str, now: float, seconds: float) -> bool:
        """Return True if this process is the one that says `what`, and nobody says it again for so many seconds."""
        try:
            return self._leases.acquire(what, self._holder(), now=now, seconds=seconds)
        except StorageUnavailable:
            return True


def _begins(scope: str) -> str:
    return f"limit begins: {scope}"
