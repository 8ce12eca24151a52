"""Which requests are under way: in this process always, in all processes while somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

from ollama_proxy.ledger.record import ASKING_ROUTES
from ollama_proxy.observation import Observation
from ollama_proxy.storage.in_flight_table import EXPIRE, InFlight, InFlightTable
from ollama_proxy.storage.write_behind import Write

#: The most requests that a process tells others of.
MOST_TOLD = 100


class UnderWay:
    """The requests that are under way. One for each process."""

    def __init__(
        self,
        table: InFlightTable,
        *,
        process: Callable[[], str],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`process` returns the name of this process."""
        self._table, self._process = table, process
        self._clock, self._monotonic = clock, monotonic
        self._observations: dict[str, Observation] = {}
        self._to_tell: list[InFlight] | None = None
        self._has_told = False
        #: Of each process when it says that it wrote last, and when (monotonic) that was first seen here.
        self._seen: dict[str, tuple[float, float]] = {}

    def began(self, observation: Observation) -> None:
        """A request has begun."""
        self._observations[observation.request_id] = observation

    def ended(self, observation: Observation) -> None:
        """It has ended."""
        self._observations.pop(observation.request_id, None)

    @property
    def is_idle(self) -> bool:
        """Nothing is under way, and others know it."""
        return not self._observations and not self._has_told

    def here(self) -> list[InFlight]:
        """Return what is under way in this process and asks a model, the longest first, at most MOST_TOLD."""
        now, clock, process = self._monotonic(), self._clock(), self._process()
        asking = (one for one in list(self._observations.values()) if one.route in ASKING_ROUTES)
        return [self._row(one, process, now, clock) for one in islice(asking, MOST_TOLD)]

    def everywhere(self, now: float) -> list[InFlight]:
        """Return what is under way in all processes. Raises StorageUnavailable."""
        process = self._process()
        others = [row for row in self._still_written(self._table.load(now)) if row.process != process]
        return sorted([*self.here(), *others], key=lambda row: row.began_at)

    def _still_written(self, rows: list[InFlight]) -> list[InFlight]:
        """Return the rows of processes that have written since the last looks, by this process's own clock: the clock
        of another machine may be behind or ahead.
        """
        before, now = self._seen, self._monotonic()
        self._seen = {}
        for row in rows:
            seen = before.get(row.process)
            self._seen[row.process] = seen if seen is not None and seen[0] == row.seen_at else (row.seen_at, now)
        return [row for row in rows if now - self._seen[row.process][1] < EXPIRE]

    def _row(self, observation: Observation, process: str, now: float, clock: float) -> InFlight:
        exchange = observation.exchange
        return InFlight(
            process,
            observation.request_id,
            clock - (now - observation.began),
            clock,
            observation.caller,
            observation.api,
            observation.route,
            observation.asked,
            exchange.model.id if exchange is not None and exchange.model is not None else None,
            len(exchange.tried) if exchange is not None else 0,
            observation.streamed,
        )

    # Telling the others (a `batches.Source`)

    def tell(self, *, watched: bool) -> bool:
        """Have what is under way written if somebody looks. Returns True if there is anything to write."""
        rows = self.here() if watched else []
        self._to_tell = rows if rows or self._has_told else None
        return self.waits

    @property
    def waits(self) -> bool:
        return self._to_tell is not None

    def take(self) -> Write | None:
        rows, self._to_tell = self._to_tell, None
        if rows is None:
            return None
        self._has_told = bool(rows)
        return self._table.replace(self._process(), rows)

    def settled(self, *, made: bool) -> None:
        """Nothing follows: it is written anew each time."""
