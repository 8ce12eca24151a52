"""Runs one blocking call so that its caller can wait a little, do something else, and wait again.

It is needed to send a heartbeat to a client while OpenRouter has not yet sent its headers. Under gevent the call runs
in a greenlet, elsewhere (the development server) in a thread.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class _Runner(Protocol):
    def join(self, timeout: float | None = None) -> Any: ...


class Background(Generic[T]):
    """A blocking call that is started at once. If it raises, `result` raises the same."""

    def __init__(self, call: Callable[[], T], *, discard: Callable[[T], None]) -> None:
        """`discard` gets the result of a call that was cancelled before it ended."""
        self._call = call
        self._discard = discard
        self._done = False
        self._cancelled = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._runner = _start(self._run)

    def _run(self) -> None:
        try:
            self._value = self._call()
        except Exception as error:  # noqa: BLE001 - it is raised again in `result`
            self._error = error
        self._done = True
        if self._cancelled and self._value is not None:
            self._discard(self._value)

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds. Returns True when the call has ended."""
        if not self._done:
            self._runner.join(timeout)
        return self._done

    def result(self) -> T:
        """Return what the call returned, or raise what it raised. Use it only after `wait` returned True."""
        if self._error is not None:
            raise self._error
        assert self._value is not None
        return self._value

    def cancel(self) -> None:
        """Give up the result. A greenlet is ended; a thread runs on, and its result is discarded."""
        self._cancelled = True
        if self._done:
            if self._value is not None:
                self._discard(self._value)
        elif (kill := getattr(self._runner, "kill", None)) is not None:
            kill(block=False)


def _start(run: Callable[[], None]) -> _Runner:
    # Only a gevent that is fully loaded can have patched this process; another thread may still be importing it.
    is_patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    if is_patched is not None and is_patched("threading"):
        return sys.modules["gevent"].spawn(run)  # type: ignore[no-any-return]
    thread = threading.Thread(target=run, name="upstream-call", daemon=True)
    thread.start()
    return thread
