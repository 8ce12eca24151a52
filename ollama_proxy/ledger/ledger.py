"""The ledger of a process: records what requests used, and answers what all processes recorded.

A request costs making its record and putting it into a list; the rest is done in the background, for many at once. With
the database away records wait, and when too many do, new ones are dropped and counted (docs/contract.md, "Ledger").
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

from ollama_proxy.ledger.record import RequestRecord, Step, is_recorded, record_of
from ollama_proxy.ledger.under_way import UnderWay
from ollama_proxy.ledger.usage import failed, hour_of, used
from ollama_proxy.observation import Observation, Outcome
from ollama_proxy.openrouter.errors.failure import Verdict
from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.in_flight_table import InFlight
from ollama_proxy.storage.ledger_table import OTHERS, HourlyFailures, HourlyUsage, LedgerTable, UsageOver, UsageTotals
from ollama_proxy.storage.tables import storable
from ollama_proxy.storage.write_behind import Write

#: The most records that wait to be written: some megabytes.
MOST_WAITING = 10_000

#: The most callers that are counted by name in one hour. A caller may be an address, and there are many of these.
MOST_CALLERS_AN_HOUR = 200

#: The most characters of an error text, and of a caller's name.
_LONGEST = 300


class Ledger:
    """One for each process: an Observer, joined with the others in `create_app`."""

    def __init__(
        self,
        table: LedgerTable,
        *,
        batches: Batches,
        under_way: UnderWay,
        answered: Callable[[], None],
        served: Callable[[Observation], None] = lambda _: None,
        keeps_log: bool = True,
        on_warning: Callable[[str], object] | None = None,
        on_lost: Callable[[int], object] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`answered` is called when a model has answered, `served` with each request of a known client. `keeps_log`
        False: only sums are kept. `on_lost` is called with the number of records that are lost.
        """
        self._table, self._batches, self._under_way = table, batches, under_way
        self._answered, self._served = answered, served
        self._keeps_log, self._on_warning, self._on_lost = keeps_log, on_warning, on_lost
        self._clock, self._monotonic = clock, monotonic
        self._records: deque[RequestRecord] = deque()
        self._failures: deque[tuple[int, str, str]] = deque()
        self._callers = _Callers()
        #: What the last write took, until it is committed.
        self._taken = 0
        #: How many records were lost since the start: too many waited, or the database refused them.
        self.dropped = 0
        self._has_warned = False
        #: How many records this process has written.
        self.recorded = 0

    # Recording. None of these waits or raises.

    def began(self, observation: Observation) -> None:
        """Note that the request is under way."""
        self._under_way.began(observation)

    def answering(self, observation: Observation) -> None:
        """Do nothing: a request is recorded when it ends."""

    def ended(self, observation: Observation) -> None:
        """Record the request, if it is one that asks a model."""
        self._under_way.ended(observation)
        if observation.client:
            self._served(observation)
        if not is_recorded(observation):
            return
        if observation.exchange is not None and observation.exchange.model is not None:
            self._answered()
        if len(self._records) + self._taken >= MOST_WAITING:
            self._drop(1)
            return
        seconds = self._monotonic() - observation.began
        self._records.append(record_of(observation, ended_at=self._clock(), seconds=seconds))
        self._batches.wanted()

    def failed(self, model: str, verdict: Verdict) -> None:
        """Count a failed attempt with `model`."""
        if len(self._failures) < MOST_WAITING:
            self._failures.append((hour_of(self._clock()), model, verdict.blame.value))
            self._batches.wanted()

    def _drop(self, count: int) -> None:
        self.dropped += count
        if self._on_lost is not None:
            self._on_lost(count)
        if not self._has_warned and self._on_warning is not None:
            self._on_warning("too many records wait for the database: the ledger is no longer complete")
        self._has_warned = True

    # Writing (a `batches.Source`)

    @property
    def waits(self) -> bool:
        return bool(self._records or self._failures)

    def take(self) -> Write | None:
        records = [self._records.popleft() for _ in range(len(self._records))]
        failures = [self._failures.popleft() for _ in range(len(self._failures))]
        self._taken = len(records)
        if not records and not failures:
            return None
        return self._table.record(
            [_columns(record) for record in records] if self._keeps_log else [],
            usage=lambda stored: used(records, counted_as=self._callers.of_write(stored)),
            failures=failed(failures),
        )

    def settled(self, *, made: bool) -> None:
        taken, self._taken = self._taken, 0
        if made:
            self.recorded += taken
            self._has_warned = False
        elif taken:
            self._drop(taken)

    # Reports, of all processes. Those that read or clear raise StorageUnavailable.

    @property
    def has_log(self) -> bool:
        """False if REQUEST_LOG_DAYS is 0: there are sums, but no log."""
        return self._keeps_log

    def newest(
        self,
        limit: int,
        *,
        before: float | None = None,
        failed_only: bool = False,
        caller: str | None = None,
        model: str | Collection[str] | None = None,
    ) -> list[RequestRecord]:
        """Return at most `limit` requests that have ended, the newest first.

        With `before` (UTC epoch seconds) only those that ended before it: the `ended_at` of the last one is the next
        page's `before`. `failed_only`: those without a whole answer for which the request is not to blame (FAILED and
        BROKEN). `model` is the id that answered, or the name that was asked for;
        or several of these, of which one will do.
        """
        models = (model,) if isinstance(model, str) else model or ()
        rows = self._table.newest(limit, before=before, failed_only=failed_only, caller=caller, models=models)
        return [_record(row) for row in rows]

    def find(self, beginning: str, *, caller: str | None = None) -> RequestRecord | None:
        """Return the newest request, of `caller` or of anybody, whose id begins so; None if there is none."""
        row = self._table.find(beginning, caller=caller)
        return None if row is None else _record(row)

    def usage(self, since: float, *, caller: str | None = None) -> list[HourlyUsage]:
        """Return what was used in the hours that end after `since` (UTC epoch seconds), oldest first."""
        return self._table.usage(since, caller=caller)

    def usage_totals(self, since: float, most: int, *, caller: str | None = None) -> UsageTotals:
        """Return the sums of these hours: of all, and of the `most` callers and models with the most requests.

        With `caller` only what that one used.
        """
        return self._table.usage_totals(since, most, caller=caller)

    def usage_over(self, since: float, step: int, most: int) -> UsageOver:
        """Return the sums by span of `step` seconds, by caller, by model, and the failed attempts by blame."""
        return self._table.usage_over(since, step, most)

    def failures(self, since: float) -> list[HourlyFailures]:
        """Return how many attempts failed in the hours that end after `since`, oldest first."""
        return self._table.failures(since)

    def in_flight(self) -> list[InFlight]:
        """Return what is under way in all processes, at most 100 of each, the longest under way first.

        What other processes have under way is some seconds old; in the first seconds after a minute without a look it
        is missing.
        """
        return self._under_way.everywhere(self._clock())

    def clear(self, caller: str | None = None, *, usage: bool = False) -> int:
        """Remove the log of `caller`, or all of it; with `usage` the hourly sums too. Returns how many requests it had.

        What ended in the last seconds may not be written yet, and then it stays.
        """
        return self._table.clear(caller, usage=usage)


class _Callers:
    """Which callers are counted by name in which hour. Only used while a write is made."""

    def __init__(self) -> None:
        #: By the hour: those of the last write's newest hour, and of those that the present write has met.
        self._named: dict[int, set[str]] = {}

    def of_write(self, stored: Callable[[int], set[str]]) -> Callable[[int, str], str]:
        """Return a function for one write that returns, of an hour and a caller, the caller, or OTHERS if so many have
        been counted already. `stored` reads those of an hour: it is asked once for each hour, and only for a caller
        that is new to this process while there is room for one.
        """
        newest = max(self._named, default=0)
        self._named = {hour: named for hour, named in self._named.items() if hour == newest}
        has_asked: set[int] = set()

        def counted_as(hour: int, caller: str) -> str:
            named = self._named.setdefault(hour, set())
            if caller in named:
                return caller
            if len(named) < MOST_CALLERS_AN_HOUR and hour not in has_asked:
                # Other processes may have named more meanwhile.
                has_asked.add(hour)
                named |= stored(hour)
            if caller not in named:
                if len(named) >= MOST_CALLERS_AN_HOUR:
                    return OTHERS
                named.add(caller)
            return caller

        return counted_as


def _columns(record: RequestRecord) -> tuple[object, ...]:
    """Return the values of the log's columns, in their order."""
    return (
        record.id,
        record.ended_at,
        storable(record.caller, _LONGEST),
        record.api,
        record.route,
        record.asked,
        record.model,
        orjson.dumps([(one.model, one.reason, round(one.seconds, 3)) for one in record.chain]).decode(),
        record.free_attempts,
        record.first_token_seconds,
        record.seconds,
        record.prompt_tokens,
        record.completion_tokens,
        record.cost,
        record.status,
        record.outcome.value,
        int(record.streamed),
        storable(record.error, _LONGEST),
    )


def _record(row: Mapping[str, Any]) -> RequestRecord:
    values = dict(row)
    values["chain"] = tuple(Step(*one) for one in orjson.loads(values["chain"]))
    values["streamed"], values["outcome"] = bool(values["streamed"]), Outcome(values["outcome"])
    return RequestRecord(**values)
