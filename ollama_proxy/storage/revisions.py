"""Tells processes that share a database of each other's changes: a number for each kind of shared state.

Whoever changes such state raises its number in the same transaction (`moved`). Each process reads all numbers with one
SELECT, at most once a second and only when a request comes, and reloads what has moved (`Revisions`). So a request
makes no query of its own. Knows nothing of what the numbers stand for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sqlalchemy import BigInteger, Connection, Table, select
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.background import Background
from ollama_proxy.storage.database import REST_SECONDS, Database, StorageUnavailable, upsert
from ollama_proxy.storage.tables import Base


class Revision(Base):
    """How often the shared state `name` has changed. Other processes look at it."""

    __tablename__ = "revisions"

    name: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)


REVISIONS = cast(Table, Revision.__table__)

#: Numbers older than this (seconds) are read again by the request that finds them so.
FRESH_SECONDS = 1.0

#: Looks begin so many seconds apart at least, also for requests that need to know what was written before they came.
AT_ONCE_SECONDS = 0.05

#: The longest that a request waits for that, in seconds.
PATIENCE = 0.25


def moved(connection: Connection, name: str) -> None:
    """Raise the number of `name`, because this transaction changes what it stands for.

    Call it before the first change. In PostgreSQL it locks the number's row until the transaction ends, so transactions
    that change the same kind of state run one after the other, as all that write do in SQLite.
    """
    insert = upsert(connection, REVISIONS).values(name=name, revision=1)
    raised = {"revision": REVISIONS.c.revision + 1}
    connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=raised))


@dataclass(slots=True)
class _Subscriber:
    """A part of the process that has a copy of `name`'s state; `revision` is its copy's, None before the first."""

    name: str
    reload: Callable[[], None]
    at_least_every: float | None
    revision: int | None = None
    loaded_at: float = float("-inf")
    has_warned: bool = False

    def is_due(self, revision: int, now: float) -> bool:
        late = self.at_least_every is not None and now - self.loaded_at >= self.at_least_every
        return late or revision != self.revision


class Revisions:
    """Reads the numbers for this process, and tells subscribers of changes. One for each process."""

    def __init__(
        self,
        database: Database,
        *,
        on_warning: Callable[[str], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_warning` gets one line when a reload fails by a mistake in the program; the database reports itself."""
        self._database = database
        self._on_warning = on_warning
        self._monotonic = monotonic
        self._subscribers: list[_Subscriber] = []
        self._read_at = self._rest_until = float("-inf")
        self._lock = threading.Lock()  # guards the two below; never held over a statement
        self._looking: Background[None] | None = None
        self._looking_since = float("-inf")

    def subscribe(self, name: str, reload: Callable[[], None], *, at_least_every: float | None = None) -> None:
        """Have `reload` called, in the background, at the first look and whenever `name` has moved.

        With `at_least_every` it is also called when its last call is so many seconds ago: for state that somebody may
        change without raising the number. If `reload` raises, it is called again later.
        """
        self._subscribers.append(_Subscriber(name, reload, at_least_every))

    def freshen(self) -> None:
        """Look whether anything has moved, if the last look is older than a second. Called by each request.

        One look runs at a time. Requests wait for it until a quarter of a second after its start at most, so one that
        hangs does not delay all that come meanwhile.
        """
        if self._monotonic() - self._read_at > FRESH_SECONDS:
            self._wait_for_look()

    def freshen_since(self, since: float) -> None:
        """Look whether anything has moved, unless a look has begun after `since`, in seconds of the monotonic clock.

        Give it the time at which a request came: it then knows all that was written before. It waits for a look that
        is under way and for one more, a quarter of a second for each at most. Looks begin AT_ONCE_SECONDS apart,
        whoever asks, so a flood of such requests makes twenty small queries a second.
        """
        for _ in range(2):
            if self._read_at >= since:
                return
            self._wait_for_look()

    def _wait_for_look(self) -> None:
        if self._monotonic() < self._rest_until:
            return
        with self._lock:
            if self._looking is None:
                self._looking_since = time.monotonic()
                self._looking = Background(self._look, discard=lambda _: None)
            looking = self._looking
        patience = self._looking_since + PATIENCE - time.monotonic()
        if patience > 0:
            looking.wait(patience)

    # In the background, one at a time

    def _look(self) -> None:
        if (pause := self._read_at + AT_ONCE_SECONDS - self._monotonic()) > 0:
            time.sleep(min(pause, AT_ONCE_SECONDS))  # whoever comes meanwhile joins this look
        # The time before the reading counts: what is committed during it may be missing.
        began = self._monotonic()
        try:
            revisions = self._read()
            for subscriber in self._subscribers:
                revision = revisions.get(subscriber.name, 0)
                if subscriber.is_due(revision, began) and self._reloaded(subscriber):
                    subscriber.revision, subscriber.loaded_at = revision, began
            self._read_at = began
        except StorageUnavailable:
            self._rest_until = self._monotonic() + REST_SECONDS
        finally:
            with self._lock:
                self._looking = None

    def _reloaded(self, subscriber: _Subscriber) -> bool:
        try:
            subscriber.reload()
        except StorageUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a mistake in one part must not keep the others from the news
            if not subscriber.has_warned and self._on_warning is not None:
                self._on_warning(f"{subscriber.name} could not be reloaded: {type(error).__name__}")
            subscriber.has_warned = True
            return False
        subscriber.has_warned = False
        return True

    def _read(self) -> dict[str, int]:
        query = select(REVISIONS.c.name, REVISIONS.c.revision)
        rows = self._database.run(lambda connection: connection.execute(query).all())
        return {row.name: row.revision for row in rows}
