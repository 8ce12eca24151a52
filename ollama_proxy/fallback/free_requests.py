"""Counts this process's free requests, so that fallback does not spend the account's per-minute limit by itself.

Who counts for all processes, by the day, is told of each attempt.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

WINDOW_SECONDS = 60.0


class FreeAttemptObserver(Protocol):
    """Told of each free attempt, for the count of the day (`ledger.quota_keeper`)."""

    def sent(self) -> None:
        """An attempt is being sent."""

    def not_counted(self) -> None:
        """It turns out to be one that OpenRouter does not count."""


class FreeRequestCount:
    """The free attempts of the last minute (docs/contract.md, "Failures").

    At the limit a request still gets its first attempt, because only OpenRouter knows the true count; further attempts
    for the same request wait for better days.
    """

    def __init__(
        self, limit: int, *, observer: FreeAttemptObserver | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`limit` attempts a minute; 0 for no limit."""
        self._observer = observer
        self._limit = limit
        self._clock = clock
        self._sent: deque[float] = deque(maxlen=limit or 1)

    def add(self) -> None:
        """One attempt is being sent."""
        if self._limit:
            self._sent.append(self._clock())
        if self._observer is not None:
            self._observer.sent()

    def not_counted(self) -> None:
        """One that was sent turns out to be one that OpenRouter does not count against the day.

        Of the minute nobody knows; it stays in that count.
        """
        if self._observer is not None:
            self._observer.not_counted()

    def exhausted(self) -> bool:
        """True when a further attempt of a request that already had one must not be made."""
        # Only the last `limit` attempts are kept: the limit is reached if the oldest of them is within the window.
        return 0 < self._limit == len(self._sent) and self._sent[0] > self._clock() - WINDOW_SECONDS
