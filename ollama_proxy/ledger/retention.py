"""Removes what is too old or too much, one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

from ollama_proxy.ledger.key_windows import day_name, minute_name
from ollama_proxy.ledger.quota import day_of
from ollama_proxy.storage.in_flight_table import InFlightTable
from ollama_proxy.storage.key_usage_table import KeyUsageTable
from ollama_proxy.storage.leases import Leases
from ollama_proxy.storage.ledger_table import LedgerTable
from ollama_proxy.storage.quota_table import DAY, QuotaTable

#: The log has the newest so many rows, and what this process has added since the last trimming.
MOST_LOGGED = 5_000
_ADDED = 1_000

#: Seconds between two trimmings without much traffic.
_EVERY = 600.0
#: Seconds that a trimming may take.
_LEASE = 30.0

USAGE_DAYS = 90
#: Days of which it is kept what each key used; months are kept for ever.
KEY_DAYS = 400


class Retention:
    """Trims the ledger's tables. One for each process."""

    def __init__(
        self,
        table: LedgerTable,
        *,
        quota: QuotaTable,
        in_flight: InFlightTable,
        key_usage: KeyUsageTable,
        leases: Leases,
        holder: Callable[[], str],
        log_days: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`log_days` is how long a request stays in the log; 0: no log is kept. `holder` names this process."""
        self._table, self._quota, self._in_flight, self._key_usage = table, quota, in_flight, key_usage
        self._leases, self._holder, self._log_days = leases, holder, log_days
        self._monotonic = monotonic
        self._next_at = float("-inf")
        self._recorded = 0

    def trim_if_due(self, now: float, *, recorded: int) -> bool:
        """Trim if it is due at `now`; `recorded` is how many requests this process has recorded since its start.

        Returns True if this process has trimmed. Raises StorageUnavailable.
        """
        # Not by the clock of the day: once it had been too far ahead, nothing would be trimmed for as long.
        monotonic = self._monotonic()
        if monotonic < self._next_at and recorded - self._recorded < _ADDED:
            return False
        self._next_at, self._recorded = monotonic + _EVERY, recorded
        holder = self._holder()
        if not self._leases.acquire("trim", holder, now=now, seconds=_LEASE):
            return False
        try:
            self._trim(now)
        finally:
            self._leases.release("trim", holder)
        return True

    def _trim(self, now: float) -> None:
        self._table.trim(
            newest=MOST_LOGGED if self._log_days else 0,
            ended_after=now - self._log_days * DAY,
            hours_after=now - USAGE_DAYS * DAY,
        )
        self._in_flight.forget_dead(now)
        self._quota.forget_before(day_of(now) - DAY)
        self._key_usage.forget(
            ended_by=now - DAY, minutes_before=minute_name(now - DAY), days_before=day_name(now - KEY_DAYS * DAY)
        )
        self._leases.forget_ended(now - DAY)
