"""Collects what several parts of a process have to write into one write every two seconds.

There is at most one such write at a time in a process. It takes what waits when it is made, so all that came meanwhile
shares a few statements. While the database is away, the parts go on collecting, each up to its own bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sqlalchemy import Connection

from ollama_proxy.storage.write_behind import Write, WriteBehind

#: Seconds from the first thing that waits to the write of all of them.
WITHIN = 2.0


class Source(Protocol):
    """A part of the process that has something to write."""

    def take(self) -> Write | None:
        """Hand over what waits, as a Write; None if nothing does.

        With SQLite this is called in a native thread, inside a transaction: it uses no lock and nothing of gevent.
        """

    def settled(self, *, made: bool) -> None:
        """What was handed over last is committed, or, if not `made`, it is lost. Called in the process's own thread."""

    @property
    def waits(self) -> bool:
        """There is something to hand over."""


class Batches:
    """The writes of these parts in one process."""

    def __init__(
        self,
        writes: WriteBehind,
        *,
        name: str = "ledger",
        within: float | None = None,
        on_warning: Callable[[str], object] | None = None,
    ) -> None:
        """`name` is the queue's, `within` the seconds until a write begins (None: WITHIN). `on_warning` gets one line,
        once, when a part fails by a mistake in the program: the others go on.
        """
        self._on_warning, self._has_warned = on_warning, False
        self._queue = writes.queue(name, within=WITHIN if within is None else within)
        self._sources: Sequence[Source] = ()
        self._is_wanted = False

    def of(self, *sources: Source) -> None:
        """Name the parts, in the order of their statements: the same in all processes that share a database."""
        self._sources = sources

    def wanted(self) -> None:
        """Something waits: have it written soon. Costs nothing while a write is on its way already."""
        if not self._is_wanted:
            self._is_wanted = True
            self._queue.put(_Batch(self._sources), ended=self._ended)

    def _ended(self, made: bool) -> None:
        # Whatever happens here, the next write must be wanted again: else nothing is ever written any more.
        self._is_wanted = False
        for source in self._sources:
            try:
                source.settled(made=made)
            except Exception as error:  # noqa: BLE001 - a mistake in one part must not keep the others from the news
                self._warn(f"{type(source).__name__} could not note its write: {type(error).__name__}")
        if any(source.waits for source in self._sources):
            self.wanted()

    def _warn(self, text: str) -> None:
        if not self._has_warned and self._on_warning is not None:
            self._on_warning(text)
        self._has_warned = True


class _Batch:
    """One write. If it is made a second time, it makes the same statements again, with what it had taken."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._writes: list[Write] | None = None

    def __call__(self, connection: Connection) -> None:
        if self._writes is None:
            self._writes = [write for source in self._sources if (write := source.take()) is not None]
        for write in self._writes:
            write(connection)
