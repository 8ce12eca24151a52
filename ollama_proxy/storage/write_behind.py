"""Makes writes in the background, so that no request waits for the database.

There is one `WriteBehind` in a process. Each writer has its own queue in it, so a busy writer cannot push out another's
writes. Knows nothing of what is written: a write is a function of a connection.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection

from ollama_proxy.background import Background
from ollama_proxy.storage.database import REST_SECONDS, Database, StatementRefused, StorageUnavailable

#: Runs statements on the connection, inside a transaction that it shares with other writes. In rare cases it is run
#: twice: when the connection breaks after the commit and before its acknowledgement. One write of many rows is quicker
#: than many writes of one row.
Write: TypeAlias = Callable[[Connection], object]

#: The most writes in one transaction. In SQLite no other process can write while it runs.
MOST_IN_BATCH = 200


@dataclass(frozen=True, slots=True)
class _Waiting:
    write: Write
    about: str
    since: float
    ended: Callable[[bool], None] | None


class WriteQueue:
    """The queue of one writer. Made by `WriteBehind.queue`."""

    def __init__(self, owner: WriteBehind, name: str, *, within: float, most: int, is_frequent: bool) -> None:
        self.name = name
        self._is_frequent = is_frequent
        #: How many writes were lost: because too many waited, or because the database refused what they hold.
        self.dropped = 0
        self._owner = owner
        self._within = within
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._being_made: list[_Waiting] = []

    def put(self, write: Write, *, about: str = "", ended: Callable[[bool], None] | None = None) -> None:
        """Have `write` made in the background, in the order of the calls. Never waits for the database, never raises.

        `about` is the caller's name for what the write changes, see `unmade`. If too many writes wait, the oldest one
        is dropped. `ended` is called in the background once the write is committed (True) or dropped (False); it may
        put another one.
        """
        self._owner._put(self, write, about, ended)

    def unmade(self) -> set[str]:
        """Return the `about` of all writes that are not committed yet."""
        with self._owner._lock:
            return {waiting.about for waiting in (*self._being_made, *self._waiting)}

    @property
    def waiting(self) -> int:
        """How many writes are not committed yet."""
        return len(self._waiting) + len(self._being_made)

    # The rest is called by WriteBehind, under its lock.

    def _due_at(self) -> float | None:
        return self._waiting[0].since + self._within if self._waiting else None

    def _take(self, most: int) -> list[_Waiting]:
        self._being_made = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        return self._being_made

    def _give_back(self) -> None:
        self._waiting.extendleft(reversed(self._being_made))
        self._being_made = []

    def _trim(self) -> list[_Waiting]:
        """Drop the oldest ones above the limit, and return them."""
        lost = [self._waiting.popleft() for _ in range(len(self._waiting) - self._most)]
        if lost:
            self._lost(len(lost))
        return lost

    def _lost(self, number: int) -> None:
        self.dropped += number
        self._owner._on_lost(self.name, number)


def _nobody(name: str, number: int) -> None:
    pass


class WriteBehind:
    """Makes the queued writes of a process, one transaction at a time.

    Writes that wait at the same time share a transaction. While the database is away they go on waiting; it is tried
    again every `REST_SECONDS`, whether requests come or not. If the database refuses what one write holds, those of its
    transaction are made one by one, and only the refused one is dropped.
    """

    def __init__(
        self,
        database: Database,
        *,
        on_warning: Callable[[str], None] | None = None,
        on_lost: Callable[[str, int], None] = _nobody,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_warning` gets a line when a write is lost; then no more until nothing waits any longer. `on_lost` gets
        the queue's name and how many writes of it are lost, each time; it must neither raise nor wait.
        """
        self._database = database
        self._on_warning = on_warning
        self._on_lost = on_lost
        self._monotonic = monotonic
        self._queues: list[WriteQueue] = []
        self._lock = threading.Lock()  # guards the queues and the three below; never held over a statement
        self._running: Background[None] | None = None
        self._hurry = False
        self._has_warned = False
        self._rest_until = float("-inf")
        self._changed = threading.Event()

    def queue(self, name: str, *, within: float = 0.0, most: int = 1000, is_frequent: bool = False) -> WriteQueue:
        """Make a queue for one writer. Its writes are begun `within` seconds after `put`; at most `most` wait.

        One that `is_frequent` takes no writes of others along: they would be made as often.

        Inside a transaction the queues' writes follow each other in the order in which the queues were made. It must be
        the same in all processes that share a PostgreSQL, or two of them could wait for each other's row locks.
        """
        made = WriteQueue(self, name, within=within, most=most, is_frequent=is_frequent)
        with self._lock:
            self._queues.append(made)
        return made

    def dropped(self) -> dict[str, int]:
        """Return how many writes were lost since the start, by the queue's name."""
        return {queue.name: queue.dropped for queue in self._queues}

    def flush(self, patience: float) -> bool:
        """Make what waits now, for the end of a process. Returns True if all is made within `patience` seconds."""
        with self._lock:
            running = self._running
            self._hurry = running is not None
        if running is None:
            return True
        self._changed.set()
        return running.wait(patience) and not any(queue.waiting for queue in self._queues)

    def _put(self, queue: WriteQueue, write: Write, about: str, ended: Callable[[bool], None] | None) -> None:
        with self._lock:
            was_due_at = queue._due_at()
            queue._waiting.append(_Waiting(write, about, self._monotonic(), ended))
            lost = queue._trim()
            if self._running is None:
                self._running = Background(self._work, discard=lambda _: None)
        if was_due_at is None:
            self._changed.set()
        self._tell_lost([(queue, one) for one in lost])

    # In the background, while anything waits

    def _work(self) -> None:
        try:
            while (pause := self._pause()) is not None:
                if pause > 0:
                    self._changed.wait(pause)
                    self._changed.clear()
                else:
                    self._make_batch()
        except BaseException:
            # A greenlet that is killed, or a mistake made here: the next write starts anew.
            with self._lock:
                self._running = None
            raise

    def _pause(self) -> float | None:
        """Return the seconds until a batch is due. None ends the work: nothing waits."""
        with self._lock:
            due = [at for queue in self._queues if (at := queue._due_at()) is not None]
            if not due:
                self._running, self._hurry, self._has_warned = None, False, False
                return None
            soonest = float("-inf") if self._hurry else min(due)
            return max(soonest, self._rest_until) - self._monotonic()

    def _make_batch(self) -> None:
        batch = self._take_batch()
        try:
            if not self._make(batch):
                for one in batch:
                    self._make([one])
        except StorageUnavailable:
            self._rest_until = self._monotonic() + REST_SECONDS
        finally:
            with self._lock:
                for queue in self._queues:
                    queue._give_back()
                lost = [(queue, one) for queue in self._queues for one in queue._trim()]
            self._tell_lost(lost)

    def _take_batch(self) -> list[tuple[WriteQueue, _Waiting]]:
        with self._lock:
            left, now = MOST_IN_BATCH, self._monotonic()
            due = [queue for queue in self._queues if (at := queue._due_at()) is not None and at <= now]
            alone = bool(due) and not self._hurry and all(queue._is_frequent for queue in due)
            for queue in due if alone else self._queues:
                left -= len(queue._take(left))
            return [(queue, waiting) for queue in self._queues for waiting in queue._being_made]

    def _make(self, batch: list[tuple[WriteQueue, _Waiting]]) -> bool:
        """Make `batch` as one transaction. Returns False if one of several writes is refused, and nothing is made then.

        A single write that is refused is dropped. Raises StorageUnavailable if the database is away.
        """
        try:
            self._database.run(lambda connection: [one.write(connection) for _, one in batch], write=True)
        except Exception as error:
            if isinstance(error, StorageUnavailable) and not isinstance(error, StatementRefused):
                raise
            if len(batch) > 1:
                return False
            [(queue, _)] = batch
            queue._lost(1)
            # Not the error's own text: it may repeat what was to be written.
            self._warn(f"a write of {queue.name} is lost: {type(error.__cause__ or error).__name__}")
            made = False
        else:
            made = True
        with self._lock:
            for queue, one in batch:
                queue._being_made.remove(one)
        for _, one in batch:
            if one.ended is not None:
                one.ended(made)
        return True

    def _tell_lost(self, lost: list[tuple[WriteQueue, _Waiting]]) -> None:
        if not lost:
            return
        names = dict.fromkeys(queue.name for queue, _ in lost)
        self._warn(f"too many writes wait for the database: the oldest are lost ({', '.join(names)})")
        for _, one in lost:
            if one.ended is not None:
                one.ended(False)

    def _warn(self, text: str) -> None:
        if not self._has_warned and self._on_warning is not None:
            self._on_warning(text)
        self._has_warned = True
