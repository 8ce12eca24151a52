"""Which kinds of clients have been served, and when last, in all processes (docs/contract.md, "Ledger")."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ollama_proxy.observation import Observation
from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.clients_table import ClientsTable
from ollama_proxy.storage.write_behind import Write

#: Seconds in which a client is noted once at most by a process.
_EVERY: Final = 60.0

#: Statuses from here on say that a client was not served.
_REFUSED: Final = 400


class ClientsSeen:
    """One for each process; a `batches.Source`. It holds at most as many names as there are known clients."""

    def __init__(self, table: ClientsTable, batches: Batches, *, clock: Callable[[], float] = time.time) -> None:
        self._table, self._batches, self._clock = table, batches, clock
        self._noted: dict[str, float] = {}
        self._waiting: dict[str, float] = {}

    def served(self, observation: Observation) -> None:
        """Note the client of a request that has ended, if it is a known one and was served. Waits for nothing."""
        name, now = observation.client, self._clock()
        if not 0 < observation.status < _REFUSED or 0 <= now - self._noted.get(name, 0.0) < _EVERY:
            return
        self._noted[name] = self._waiting[name] = now
        self._batches.wanted()

    def last_seen(self) -> dict[str, float]:
        """Return when each was served last (UTC epoch seconds), by all processes. Raises StorageUnavailable."""
        return self._table.load()

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def take(self) -> Write | None:
        seen, self._waiting = self._waiting, {}
        return self._table.note(seen) if seen else None

    def settled(self, *, made: bool) -> None:
        """A lost note is made again by the client's next request, a minute later at most."""
