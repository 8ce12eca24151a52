"""Taking turns: a connection that always has something to do lets the others run again and again.

A greenlet runs until it waits. One whose bytes are always there already (requests sent one behind the other, a body in
millions of small chunks) never waits, and nobody else is served. Knows gevent, and nothing of what the work is.
"""

from __future__ import annotations

import time

import gevent

#: How long a connection may work before it lets the others run: a short request takes a third of it.
SLICE_SECONDS = 0.001


def let_others_run() -> None:
    """Give everybody else a turn, those too who wait for a socket.

    Not with `gevent.sleep(0)`: the event loop looks for sockets only after a batch of fifty greenlets or more, this one
    among them. A timer, however short, makes it look each time.
    """
    gevent.sleep(1e-9)


class Turn:
    """One connection's claim on the processor. Call `offer` in every loop over what a client or upstream sends."""

    def __init__(self) -> None:
        self._loop = gevent.get_hub().loop
        self._seen = -1
        self._since = 0.0

    def offer(self) -> None:
        """Let the others run if this connection has worked for SLICE_SECONDS without having waited for anything.

        The event loop's counter tells whether it has waited: the loop only runs then. That costs a fifth of a
        microsecond. If the greenlet is killed in here, the kill is delivered where it waits next.
        """
        now = time.monotonic()
        if self._loop.iteration != self._seen:
            self._seen, self._since = self._loop.iteration, now
        elif now - self._since >= SLICE_SECONDS:
            try:
                let_others_run()
            except gevent.GreenletExit as end:
                # The work itself must see it, so that it can write a last line.
                self._loop.run_callback(gevent.getcurrent().throw, end)
