"""Giving others their turn while data comes without a pause.

A read that finds data waiting does not switch to another greenlet: an upstream that sends as fast as it can would hold
all other clients of the process until it stops.
"""

from __future__ import annotations

import time

#: Bytes of reads after which others get their turn; each read counts `_READ` bytes more, for the work it makes.
TURN = 64 * 1024
_READ = 1024

#: Seconds. Under gevent a sleep of 0 only lets those run that are ready already, fifty times over, before anybody looks
#: at the sockets; the shortest real sleep waits for one look at them. It costs 4 µs, a sleep of 0 three.
_SHORTEST_SLEEP = 1e-9


def give_turn() -> None:
    """Let others run: all that are ready, and those whose data has arrived."""
    time.sleep(_SHORTEST_SLEEP)


class FairReads:
    """Counts the reads of one connection and gives others their turn in time."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = TURN

    def took(self, size: int) -> None:
        """A read brought `size` bytes."""
        self._left -= size + _READ
        if self._left <= 0:
            self._left = TURN
            give_turn()
