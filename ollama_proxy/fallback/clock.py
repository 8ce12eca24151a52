"""The time that an exchange lives by. The module `time` is the real one; tests and the bench bring their own."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The part of the module `time` that exchanges and attempts use. All in seconds, but for `monotonic_ns`."""

    def time(self) -> float:
        """UTC epoch seconds."""

    def monotonic(self) -> float:
        """Seconds on a clock that is never set."""

    def monotonic_ns(self) -> int:
        """The same in nanoseconds."""

    def sleep(self, seconds: float, /) -> None:
        """Return after so many seconds."""
