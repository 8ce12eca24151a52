"""Asks OpenRouter what answers cost that did not come to their end, and corrects the estimates.

Five minutes after the end of such a request, and once more ten minutes later: OpenRouter knows it late. What waits is
in the database, so a restart forgets nothing (docs/contract.md, "Keys: limits";
https://openrouter.ai/docs/api-reference/get-a-generation).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ollama_proxy.money import micro
from ollama_proxy.openrouter.answers.chunks import cost_of
from ollama_proxy.openrouter.http.client import Client, UpstreamError
from ollama_proxy.storage.key_usage_table import Awaited, KeyUsageTable

#: How often a cost is asked for, and the seconds between.
MOST_LOOKS = 2
ASK_AGAIN_AFTER = 600.0

#: Costs that are asked for at one look, and the seconds after which it ends: others wait for the thread.
MOST_AT_ONCE = 200
_LONGEST_LOOK = 10.0
#: Seconds until the next look if this one has not reached all.
_SOON = 1.0

_OK = 200


def ask_cost(client: Client) -> Callable[[str], int | None]:
    """Return a function that asks for the cost of an answer by its id: millionths of a dollar, None if not known."""

    def ask(generation: str) -> int | None:
        try:
            status, document = client.generation(generation)
        except UpstreamError:
            return None
        data = document.get("data") if isinstance(document, dict) else None
        if status != _OK or not isinstance(data, dict):
            return None
        cost = cost_of({"cost": data.get("total_cost")})
        return None if cost is None else micro(cost)

    return ask


class CostLookup:
    """One for each process. It looks into the database once at its start, and then only when something is due."""

    def __init__(
        self, table: KeyUsageTable, ask: Callable[[str], int | None], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._table, self._ask, self._clock = table, ask, clock
        self._next_at: float | None = 0.0

    def awaited(self, due: float) -> None:
        """A cost is to be asked for at `due`."""
        if self._next_at is None or due < self._next_at:
            self._next_at = due

    def look_if_due(self) -> None:
        """Ask for what is due. Raises StorageUnavailable."""
        now = self._clock()
        if self._next_at is None or now < self._next_at:
            return
        self._next_at = now + _SOON
        due, following = self._table.awaited(now, MOST_AT_ONCE)
        ends = self._clock() + _LONGEST_LOOK
        for done, one in enumerate(due, start=1):
            self._look(one, now)
            if done == MOST_AT_ONCE or self._clock() > ends:
                return
        # What is not known yet is asked for again; of a look that found nothing there is nothing to ask for either.
        times = [at for at in (following, now + ASK_AGAIN_AFTER if due else None) if at is not None]
        self._next_at = min(times) if times else None

    def _look(self, one: Awaited, now: float) -> None:
        microusd = self._ask(one.generation)
        if microusd is None and one.looked + 1 < MOST_LOOKS:
            self._table.await_longer(one.id, now + ASK_AGAIN_AFTER)
        else:
            self._table.correct(one.id, microusd)
