"""The listening socket of a worker, which says why it takes no more connections when it cannot."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from gevent.server import StreamServer

#: What `accept` fails with when something has run out (accept(2)).
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: So long nobody is taken after that; the connections that are there go on.
PAUSE_SECONDS = 0.1
#: The same is not said again for so long.
QUIET_SECONDS = 60.0


class Listener(StreamServer):  # type: ignore[misc]
    """A server whose `warn` is told, in one line, when files or connections have run out. Clients wait meanwhile."""

    def __init__(self, listener: Any, *, handle: Callable[..., Any], spawn: Any, warn: Callable[[str], Any]) -> None:
        super().__init__(listener, handle=handle, spawn=spawn)
        self._warn = warn
        self._quiet_until: dict[str, float] = {}

    def do_read(self) -> Any:
        """Accept a connection; None if there is none, or if it cannot be taken now."""
        try:
            return super().do_read()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self._tell(f"No more connections can be taken for now: {error.strerror} (see ulimit -n)")
            self.stop_accepting()
            self._timer = self.loop.timer(PAUSE_SECONDS)
            self._timer.start(self._start_accepting_if_started)
            return None

    def full(self) -> bool:
        """Whether as many connections are open as may be."""
        is_full = bool(super().full())
        if is_full:
            self._tell("No more connections are taken for now: WORKER_CONNECTIONS are open")
        return is_full

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until.get(text, 0.0):
            self._quiet_until[text] = now + QUIET_SECONDS
            self._warn(text)
