"""Notices when a client leaves while its answer is still being made.

Without this a request learns of it only at its next write; with a model that thinks for a minute that is a minute too
late. It knows gevent and gunicorn's `gunicorn.socket`, and nothing of what the request does.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import gevent.socket

_READ = 1


class ClientGone(gevent.GreenletExit):  # type: ignore[misc]
    """The client has closed its connection: there is no one to answer, and nothing upstream is to blame."""


class DisconnectWatch:
    """Calls `on_gone()` once, from the event loop, when the peer of `sock` (a gevent socket) closes or resets.

    If bytes arrive instead, they are the client's next request. The watch then ends, because the end of the stream
    cannot be seen behind them. It costs an event loop watcher and no greenlet. Stop it before the answer ends, or it
    would act on the connection's next request. `on_gone` must not block.
    """

    def __init__(self, sock: Any, on_gone: Callable[[], None]) -> None:
        self._socket = sock._sock  # the plain socket inside gevent's: the event loop must never wait in recv
        self._on_gone = on_gone
        self._watcher = gevent.get_hub().loop.io(sock.fileno(), _READ)
        self._watcher.start(self._look)

    def stop(self) -> None:
        """End the watch. It may be called any number of times."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()

    def _look(self) -> None:
        if self._watcher is None:
            return
        try:
            data = self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.stop()
        if not data:
            self._on_gone()


def watch_client(environ: Mapping[str, Any]) -> DisconnectWatch | None:
    """Watch the client of a request whose body has been read: when it leaves, ClientGone is raised in this greenlet.

    Returns None where there is nothing to watch (the development server, a test client).
    """
    sock = environ.get("gunicorn.socket")
    if not isinstance(sock, gevent.socket.socket) or sock.fileno() < 0:
        return None
    serving = gevent.getcurrent()
    return DisconnectWatch(sock, lambda: gevent.kill(serving, ClientGone()))
