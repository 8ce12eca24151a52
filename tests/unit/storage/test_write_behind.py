"""Writes behind the requests' backs: order, batches, bounds, and a database that goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from ollama_proxy.storage import write_behind as module
from ollama_proxy.storage.database import REST_SECONDS, Database, sqlalchemy_url
from ollama_proxy.storage.migrate import upgrade
from ollama_proxy.storage.revisions import REVISIONS
from ollama_proxy.storage.write_behind import Write, WriteBehind
from tests.servers import wait_for
from tests.storage_databases import ScriptedDatabase


class Clock:
    """Monotonic seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = sqlalchemy_url("", tmp_path_factory.mktemp("behind"))
    upgrade(made)
    return made


@pytest.fixture
def database(url: str) -> Iterator[ScriptedDatabase]:
    found = ScriptedDatabase(url)
    found.run(lambda connection: connection.execute(REVISIONS.delete()), write=True)
    found.take()
    yield found
    found.goes_on.set()
    found.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def behind(database: ScriptedDatabase, clock: Clock, warnings: list[str]) -> Iterator[WriteBehind]:
    made = WriteBehind(database, on_warning=warnings.append, monotonic=clock)
    yield made
    # What still waits must not be written into the next test.
    database.away = False
    database.goes_on.set()
    clock.now += REST_SECONDS
    assert made.flush(10)


def row(name: str, number: int = 1) -> Write:
    """Writes a row; a second one of the same name is refused by the table."""
    return lambda connection: connection.execute(REVISIONS.insert().values(name=name, revision=number))


def rows(database: ScriptedDatabase) -> list[str]:
    """The names written, in the order of the writes."""
    query = select(REVISIONS.c.name).order_by(REVISIONS.c.revision, REVISIONS.c.name)
    found = Database.run(database, lambda connection: connection.execute(query).all())
    return [name for (name,) in found]


def done(behind: WriteBehind) -> None:
    assert behind.flush(10)


def test_a_write_is_made_at_once_and_nothing_is_done_after_it(behind: WriteBehind, database: ScriptedDatabase) -> None:
    queue = behind.queue("one")
    queue.put(row("a"))
    wait_for(lambda: rows(database) == ["a"], what="it is written")
    wait_for(lambda: behind._running is None, what="the work ends")
    assert database.take() == ["write"]
    assert (queue.waiting, queue.dropped) == (0, 0)


def test_nobody_waits_for_a_write(behind: WriteBehind, database: ScriptedDatabase) -> None:
    database.goes_on.clear()
    queue = behind.queue("one")
    began = time.monotonic()
    for number in range(100):
        queue.put(row(f"{number:03}"))
    assert time.monotonic() - began < 1
    assert queue.waiting == 100
    database.goes_on.set()
    done(behind)
    assert len(rows(database)) == 100


def test_one_transaction_at_a_time_with_all_that_waits(behind: WriteBehind, database: ScriptedDatabase) -> None:
    database.goes_on.clear()
    queue = behind.queue("one")
    queue.put(row("first"))
    wait_for(lambda: database.transactions, what="the first one is held up")
    for number in range(50):
        queue.put(row(str(number)))
    assert database.transactions == ["write"]
    database.goes_on.set()
    done(behind)
    assert database.take() == ["write", "write"]
    assert len(rows(database)) == 51


def test_a_large_batch_is_several_transactions(
    behind: WriteBehind, database: ScriptedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_IN_BATCH", 10)
    queue, other = behind.queue("one", within=60), behind.queue("other", within=60)
    for number in range(14):
        queue.put(row(f"one {number}"))
        other.put(row(f"other {number}"))
    done(behind)
    assert database.take() == ["write"] * 3
    assert len(rows(database)) == 28


def test_writes_are_made_in_their_order(behind: WriteBehind, database: ScriptedDatabase) -> None:
    made: list[str] = []
    first, second = behind.queue("first", within=60), behind.queue("second", within=60)
    for number in range(3):
        second.put(lambda _, number=number: made.append(f"second {number}"))  # type: ignore[misc]
        first.put(lambda _, number=number: made.append(f"first {number}"))  # type: ignore[misc]
    done(behind)
    assert made == ["first 0", "first 1", "first 2", "second 0", "second 1", "second 2"]


def test_a_queue_that_may_wait_is_written_in_batches(
    behind: WriteBehind, database: ScriptedDatabase, clock: Clock
) -> None:
    ledger = behind.queue("ledger", within=2)
    ledger.put(row("a"))
    clock.now = 1.9
    ledger.put(row("b"))
    assert database.take() == []
    clock.now = 2.0
    # An event that wakes the work, as the passing of real time would.
    behind._changed.set()
    wait_for(lambda: rows(database) == ["a", "b"], what="the batch is written")
    assert database.take() == ["write"]


def test_it_is_written_by_itself_when_its_time_has_come(database: ScriptedDatabase) -> None:
    behind = WriteBehind(database)
    behind.queue("ledger", within=0.05).put(row("a"))
    wait_for(lambda: rows(database) == ["a"], what="written, though nothing else came")


class NotingEvent(threading.Event):
    """Tells when somebody begins to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_waited_for = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.is_waited_for.set()
        return super().wait(timeout)


def test_what_is_urgent_does_not_wait_for_a_batch(behind: WriteBehind, database: ScriptedDatabase) -> None:
    changed = behind._changed = NotingEvent()
    failures, ledger = behind.queue("failures"), behind.queue("ledger", within=3600)
    ledger.put(row("patient"))
    assert changed.is_waited_for.wait(10)
    failures.put(row("urgent"))
    wait_for(lambda: "urgent" in rows(database), what="written at once")


def test_what_has_not_been_made_is_known_by_name(behind: WriteBehind, database: ScriptedDatabase) -> None:
    queue = behind.queue("one")
    database.goes_on.clear()
    queue.put(row("a"), about="a")
    wait_for(lambda: database.transactions, what="it is being made")
    queue.put(row("b"), about="b")
    assert queue.unmade() == {"a", "b"}
    database.goes_on.set()
    done(behind)
    assert queue.unmade() == set()


# A database that is away


def test_while_the_database_is_away_it_is_left_alone_and_tried_again_by_itself(
    database: ScriptedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_SECONDS", 0.05)
    behind = WriteBehind(database)
    queue = behind.queue("one")
    database.away = True
    queue.put(row("a", 1))
    wait_for(lambda: len(database.transactions) >= 3, what="it is tried again")
    queue.put(row("b", 2))
    assert queue.waiting == 2
    database.away = False
    wait_for(lambda: rows(database) == ["a", "b"], what="written, in their order")
    assert queue.dropped == 0


def test_it_rests_whatever_is_put_meanwhile(behind: WriteBehind, database: ScriptedDatabase, clock: Clock) -> None:
    queue, other = behind.queue("one"), behind.queue("other")
    database.away = True
    queue.put(row("a"))
    wait_for(lambda: behind._rest_until == REST_SECONDS, what="it is noticed")
    database.take()
    clock.now = REST_SECONDS - 0.1
    for number in range(20):
        other.put(row(str(number)))
    assert behind.flush(0.1) is False
    assert database.take() == []
    database.away = False
    clock.now = REST_SECONDS
    done(behind)
    assert len(rows(database)) == 21


def test_of_too_many_the_oldest_are_dropped_and_counted_with_one_warning(
    behind: WriteBehind, database: ScriptedDatabase, clock: Clock, warnings: list[str]
) -> None:
    queue, busy = behind.queue("failures", most=5), behind.queue("ledger", most=3, within=60)
    database.away = True
    queue.put(row("0", 0))
    wait_for(lambda: behind._rest_until > 0, what="it is noticed")
    for number in range(1, 5):
        queue.put(row(str(number), number))
    for number in range(10, 20):
        busy.put(row(str(number), number))
    assert behind.dropped() == {"failures": 0, "ledger": 7}
    assert len(warnings) == 1
    assert "ledger" in warnings[0]
    database.away = False
    clock.now = REST_SECONDS
    done(behind)
    assert rows(database) == ["0", "1", "2", "3", "4", "17", "18", "19"], "a busy queue pushes out its own only"


def test_the_one_that_was_being_made_is_the_oldest(
    behind: WriteBehind, database: ScriptedDatabase, clock: Clock
) -> None:
    queue = behind.queue("one", most=2)
    database.goes_on.clear()
    database.away = True
    queue.put(row("a"))
    wait_for(lambda: database.transactions, what="it is being made")
    queue.put(row("b"))
    queue.put(row("c"))
    database.goes_on.set()
    wait_for(lambda: queue.waiting == 2, what="it was given back")
    assert queue.dropped == 1
    database.away = False
    clock.now = REST_SECONDS
    done(behind)
    assert rows(database) == ["b", "c"]


# Writes that can never be made


def mistake(_connection: Connection) -> None:
    raise ZeroDivisionError


BAD: dict[str, Callable[[], Any]] = {
    "a row that breaks the table's rule": lambda: row("good"),
    "a value that the database cannot hold": lambda: row("half of a pair \ud800"),
    "a mistake of the writer": lambda: mistake,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_write_that_cannot_be_made_is_dropped_alone(
    behind: WriteBehind, database: ScriptedDatabase, warnings: list[str], bad: Callable[[], Any]
) -> None:
    queue = behind.queue("one", within=60)
    for write in (row("good", 0), bad(), row("later")):
        queue.put(write)
    done(behind)
    assert rows(database) == ["good", "later"]
    assert (queue.dropped, queue.waiting) == (1, 0)
    assert len(warnings) == 1
    assert "pair" not in warnings[0], "a warning does not repeat what was to be written"
    assert database.take() == ["write"] * 4, "all together, then one by one; it did not rest"


def test_a_single_write_that_cannot_be_made_is_tried_once(behind: WriteBehind, database: ScriptedDatabase) -> None:
    behind.queue("one").put(mistake)
    wait_for(lambda: behind.dropped() == {"one": 1}, what="it is dropped")
    assert database.take() == ["write"]


# The end


def test_flush_writes_what_may_still_wait(behind: WriteBehind, database: ScriptedDatabase) -> None:
    assert behind.flush(0), "nothing waits"
    queue = behind.queue("ledger", within=3600)
    queue.put(row("a"))
    assert behind.flush(10)
    assert rows(database) == ["a"]
    queue.put(row("b"))
    assert queue.waiting == 1, "later writes may wait again"


def test_flush_does_not_wait_for_ever(behind: WriteBehind, database: ScriptedDatabase) -> None:
    database.goes_on.clear()
    behind.queue("one").put(row("a"))
    began = time.monotonic()
    assert behind.flush(0.05) is False
    assert time.monotonic() - began < 2


def test_many_threads_lose_nothing(database: ScriptedDatabase) -> None:
    behind = WriteBehind(database)
    queue = behind.queue("one", most=10_000)

    def put(start: int) -> None:
        for number in range(50):
            queue.put(row(f"{start} {number}"))
            if number % 10 == 0:
                time.sleep(0.001)  # lets the work come to its end now and then

    threads = [threading.Thread(target=put, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done(behind)
    assert len(rows(database)) == 400


def test_in_a_process_that_gevent_has_patched_nobody_waits(tmp_path: Path) -> None:
    from tests.unit.storage.test_gevent import gevent_process

    url = sqlalchemy_url("", tmp_path)
    upgrade(url)
    gevent_process(
        url,
        """
from ollama_proxy.storage.write_behind import WriteBehind
from ollama_proxy.storage.revisions import REVISIONS
database = Database(url)
behind = WriteBehind(database)
queue = behind.queue("one", within=0.2, most=10_000)
for number in range(2000):
    queue.put(lambda c, number=number: c.execute(REVISIONS.insert().values(name=str(number), revision=1)))
gevent.sleep(0.3)
assert behind.flush(10)
assert len(database.run(lambda c: c.execute(REVISIONS.select()).all())) == 2000
assert longest_pause() < 0.5, longest_pause()
""",
    )


class Ends:
    """What was told of writes that have ended, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []

    def of(self, name: str) -> Callable[[bool], None]:
        return lambda made: self.told.append((name, made))


def test_who_puts_a_write_is_told_how_it_ended(database: ScriptedDatabase, behind: WriteBehind) -> None:
    queue, ends = behind.queue("a"), Ends()
    queue.put(row("one"), ended=ends.of("one"))
    queue.put(row("one"), ended=ends.of("refused"))
    queue.put(row("two"), ended=ends.of("two"))
    assert behind.flush(10)
    assert sorted(ends.told) == [("one", True), ("refused", False), ("two", True)]


def test_it_is_told_of_a_write_that_is_pushed_out(
    database: ScriptedDatabase, behind: WriteBehind, clock: Clock
) -> None:
    queue, ends = behind.queue("a", most=1), Ends()
    database.away = True
    for name in ("one", "two", "three"):
        queue.put(row(name), ended=ends.of(name))
    wait_for(lambda: len(ends.told) == 2, what="two are lost")
    assert ends.told == [("one", False), ("two", False)]
    database.away = False
    clock.now += REST_SECONDS
    assert behind.flush(10)
    assert ends.told[2:] == [("three", True)]


def test_one_that_is_told_may_put_another(database: ScriptedDatabase, behind: WriteBehind) -> None:
    queue = behind.queue("a")
    queue.put(row("one", 1), ended=lambda made: queue.put(row("two", 2)))
    assert behind.flush(10)
    assert rows(database) == ["one", "two"]


def test_frequent_writes_take_no_others_along(behind: WriteBehind, database: ScriptedDatabase, clock: Clock) -> None:
    """Others would be made as often: they wait for their own time, and then take those along."""
    slow, frequent = behind.queue("slow", within=2), behind.queue("frequent", is_frequent=True)
    slow.put(row("slow", 1))
    frequent.put(row("frequent", 2))
    wait_for(lambda: rows(database) == ["frequent"], what="the frequent one is made")
    assert slow.waiting == 1
    clock.now += 2
    frequent.put(row("again", 3))
    wait_for(lambda: rows(database) == ["slow", "frequent", "again"], what="the other one is made in its time")
