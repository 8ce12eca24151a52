"""Counts this process's free requests, so that fallback does not spend the account's per-minute limit by itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0


class FreeRequestCount:
    """The free attempts of the last minute (docs/contract.md, "Failures").

    At the limit a request still gets its first attempt, because only OpenRouter knows the true count; further attempts
    for the same request wait for better days.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` attempts a minute; 0 for no limit."""
        self._limit = limit
        self._clock = clock
        self._sent: deque[float] = deque(maxlen=limit or 1)

    def add(self) -> None:
        """One attempt is being sent."""
        if self._limit:
            self._sent.append(self._clock())

    def exhausted(self) -> bool:
        """True when a further attempt of a request that already had one must not be made."""
        # Only the last `limit` attempts are kept: the limit is reached if the oldest of them is within the window.
        return 0 < self._limit == len(self._sent) and self._sent[0] > self._clock() - WINDOW_SECONDS
