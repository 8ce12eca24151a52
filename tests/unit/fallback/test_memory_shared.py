"""What processes share of their memory of failures: an injected clock, and a database that can be taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from ollama_proxy.fallback.memory import RELOAD_SECONDS, FailureMemory, Shared
from ollama_proxy.openrouter.errors.failure import Blame
from ollama_proxy.storage.database import REST_SECONDS, Database, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureRow, FailureTable, LimitRow
from ollama_proxy.storage.migrate import upgrade
from ollama_proxy.storage.revisions import Revisions
from ollama_proxy.storage.write_behind import WriteBehind
from tests.postgres import postgres_url
from tests.servers import wait_for
from tests.storage_databases import ScriptedDatabase, database
from tests.unit.fallback.failures import DAY, MINUTE, SETTINGS, START, A, B, Clock, fail, left
from tests.version_1_0_0 import FAIL, LIMIT

__all__ = ["database", "postgres_url"]


class SlowTable(FailureTable):
    """A table that lets something happen after it was read and before anybody has what was read."""

    meanwhile: Callable[[], None] | None = None

    def load(self) -> list[FailureRow]:
        found = super().load()
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            meanwhile()
        return found


class Process:
    """The parts of one process that share through a database; the memory is one of them."""

    def __init__(self, url: str, clock: Clock, monotonic: Clock) -> None:
        self.database = ScriptedDatabase(url)
        self.table = FailureTable(Database(url))  # for looking at it without being counted
        self.writes = WriteBehind(self.database, monotonic=monotonic)
        self.revisions = Revisions(self.database, monotonic=monotonic)
        self.read_table = SlowTable(self.database)
        queue = self.writes.queue("failures")
        self.memory = FailureMemory(SETTINGS, Shared(self.read_table, queue, self.revisions), clock=clock)

    def request(self) -> None:
        """What a request does at its beginning; and waits for the look to end, which a request does not."""
        self.memory.freshen()
        self.settle()

    def settle(self) -> None:
        """All that can be written is written, and nothing is being read."""
        wait_for(lambda: self.revisions._looking is None, what="the look ends")
        if not self.database.away:
            assert self.writes.flush(10)

    def statement(self, statement: str, **values: Any) -> None:
        """What somebody else does to the database."""
        Database.run(self.database, lambda connection: connection.execute(text(statement), values), write=True)


class Processes:
    """Makes processes that share one database."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url, self._clock = url, clock
        self.made: list[Process] = []

    def __call__(self, *, monotonic: Clock | None = None) -> Process:
        self.made.append(Process(self._url, self._clock, monotonic or self._clock))
        return self.made[-1]

    def end(self) -> None:
        """What still waits must not be written into the next test."""
        self._clock.now += REST_SECONDS
        for one in self.made:
            one.database.away = False
            one.database.goes_on.set()
            one.settle()
            one.database.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = sqlalchemy_url("", tmp_path_factory.mktemp("memory"))
    upgrade(url)
    return url


@pytest.fixture
def process(sqlite: str, clock: Clock) -> Iterator[Processes]:
    """Processes that share an empty SQLite database."""
    empty = FailureTable(Database(sqlite))
    empty.clear()
    empty.clear_limit()
    made = Processes(sqlite, clock)
    yield made
    made.end()


def test_a_healthy_process_writes_nothing_and_asks_once_a_second(process: Processes, clock: Clock) -> None:
    one = process()
    one.request()
    assert one.database.take() == ["read"] * 3  # the numbers, and for the first time both tables
    for tenth in range(1, 45):
        clock.at(tenth / 10)
        one.request()
        one.memory.cooling(A, clock.now)
        one.memory.limit(clock.now, free=True)
        one.memory.succeeded(A, began_at=clock.now)
    assert one.database.take() == ["read"] * 4


def test_what_one_learns_the_others_know_within_a_second(process: Processes, clock: Clock) -> None:
    one, other = process(), process()
    other.request()
    fail(one.memory, clock, 0)
    fail(one.memory, clock, 0, Blame.ACCOUNT_LIMIT, retry_in=100)
    one.settle()
    clock.at(1.25)
    other.request()
    assert left(other.memory, clock) == 5 * MINUTE - 1.25
    assert other.memory.limit(clock.now, free=True) is not None
    clock.at(400)
    other.memory.succeeded(A, began_at=clock.now)
    other.settle()
    clock.at(401.25)
    one.request()
    assert list(one.memory.rows()) == []


def test_what_a_server_of_version_1_0_0_learns_the_others_know_within_five_seconds(
    process: Processes, clock: Clock
) -> None:
    """It does not raise the revision."""
    one = process()
    one.request()
    one.statement(FAIL, model=A.id, now=clock.at(0.5))
    one.statement(LIMIT, now=clock.now)
    clock.at(1.25)
    one.request()
    assert one.memory.is_clear
    clock.at(RELOAD_SECONDS)
    one.request()
    assert left(one.memory, clock) == 5 * MINUTE - 4.5
    assert one.memory.limit(clock.now, free=True) is not None


def test_parallel_failures_of_all_processes_count_as_one(process: Processes, clock: Clock) -> None:
    processes = [process() for _ in range(5)]
    for number in range(50):
        fail(processes[number % 5].memory, clock, number / 100, began=-1)
    for one in processes:
        one.settle()
    assert [row.count for row in processes[0].table.load()] == [1]


def test_cleared_by_hand_means_forgotten_within_a_second(process: Processes, clock: Clock) -> None:
    one = process()
    fail(one.memory, clock, 0)
    one.request()
    one.table.clear()
    clock.at(1.25)
    one.request()
    assert left(one.memory, clock) is None


def test_a_failure_met_and_written_while_the_tables_are_read_is_not_lost(process: Processes, clock: Clock) -> None:
    one = process()

    def meanwhile() -> None:
        fail(one.memory, clock, 0.5)
        assert one.writes.flush(10)

    one.read_table.meanwhile = meanwhile
    one.request()
    assert left(one.memory, clock) == 5 * MINUTE


def test_a_success_met_and_written_while_the_tables_are_read_is_not_lost(process: Processes, clock: Clock) -> None:
    one = process()
    fail(one.memory, clock, 0)
    one.request()

    def meanwhile() -> None:
        one.memory.succeeded(A, began_at=clock.now)
        assert one.writes.flush(10)

    clock.at(RELOAD_SECONDS)
    one.read_table.meanwhile = meanwhile
    one.request()
    assert left(one.memory, clock) is None


def test_what_was_kept_from_a_reading_is_read_with_the_next_one(process: Processes, clock: Clock) -> None:
    """Another process may have more to say of the same model."""
    one, other = process(), process()

    def meanwhile() -> None:
        fail(one.memory, clock, 0, Blame.MODEL_RATE_LIMIT)
        assert one.writes.flush(10)
        fail(other.memory, clock, 0.5, Blame.MODEL_GONE)
        other.settle()

    one.read_table.meanwhile = meanwhile
    one.request()
    assert left(one.memory, clock) == MINUTE - 0.5
    clock.at(1.75)
    one.request()
    assert left(one.memory, clock) == DAY - 1.25


def test_what_cannot_be_written_yet_is_not_forgotten_when_the_tables_are_read(process: Processes, clock: Clock) -> None:
    """A database that is full or read-only can still be read."""
    one, other = process(), process()
    one.database.away = True
    fail(one.memory, clock, 0)
    wait_for(lambda: one.database.take(), what="the write fails")
    one.database.away = False
    fail(other.memory, clock, 1, model=B)
    other.settle()
    one.memory.freshen()
    wait_for(lambda: left(one.memory, clock, B), what="the tables are read")
    assert left(one.memory, clock) == 5 * MINUTE - 1


# Without the database


def test_a_lost_database_leaves_memory_to_go_on_and_gets_what_it_missed(process: Processes, clock: Clock) -> None:
    one = process()
    one.database.away = True
    one.request()
    fail(one.memory, clock, 1)
    fail(one.memory, clock, 1.5, Blame.ACCOUNT_LIMIT, retry_in=600)
    fail(one.memory, clock, 400, model=B)
    one.memory.succeeded(B, began_at=START + 500)
    fail(one.memory, clock, 600)
    one.request()
    assert left(one.memory, clock) == 10 * MINUTE
    assert left(one.memory, clock, B) is None
    one.database.away = False
    clock.at(600 + REST_SECONDS + 0.1)
    one.request()
    assert [(row.model, row.count, row.until) for row in one.table.load()] == [(A.id, 2, START + 600 + 10 * MINUTE)]
    assert [row.scope for row in one.table.limits()] == ["free"]


def test_what_means_nothing_any_more_is_dropped(process: Processes, clock: Clock) -> None:
    one = process()
    fail(one.memory, clock, 0)
    one.settle()
    clock.at(2 * DAY)
    one.request()
    assert one.table.load() == []


def test_rows_from_the_tables_are_taken_over_as_they_are(process: Processes, clock: Clock) -> None:
    one = process()
    row = FailureRow(B.id, "model gone", 0, START, START + DAY, "404", "other")
    limit = LimitRow("account", START + 9, "r", "m", START, 502)
    for write in (one.table.change(B.id, lambda _: row), one.table.change_limit("account", lambda _: limit)):
        one.database.run(write, write=True)
    one.request()
    assert list(one.memory.rows()) == [row]
    assert left(one.memory, clock, B) is None  # another record than the one it was gone with
    assert one.memory.limit(START, free=False) == limit


# Clocks that were wrong


YEAR = 365 * DAY
WRONG = FailureRow(A.id, "model failing", 3, START + YEAR, START + YEAR + 300, "502", None)
WRONG_LIMIT = LimitRow("free", START + YEAR + 60, "day", "message", START + YEAR, 429)


@pytest.fixture
def shared(database: Database, clock: Clock) -> Iterator[Processes]:
    """Processes that share an empty database, once SQLite, once PostgreSQL."""
    made = Processes(database.url, clock)
    yield made
    made.end()


def written(process: Process, row: FailureRow, limit: LimitRow) -> None:
    """As the clock of another machine has it."""
    for write in (process.table.change(row.model, lambda _: row), process.table.change_limit("free", lambda _: limit)):
        process.database.run(write, write=True)


@pytest.mark.parametrize(
    ("ahead", "seconds"),
    [
        pytest.param(0, DAY, id="the right clock: a day"),
        pytest.param(1800, DAY, id="half an hour ahead: a day, no longer"),
        pytest.param(-1800, DAY - 1800, id="half an hour behind"),
        pytest.param(2 * 3600, None, id="two hours ahead: not believed"),
        pytest.param(YEAR, None, id="a year ahead: not believed"),
        pytest.param(-YEAR, None, id="a year behind: over"),
    ],
)
def test_nothing_that_is_read_reaches_further_than_a_day(
    shared: Processes, clock: Clock, ahead: float, seconds: float | None
) -> None:
    one = shared()
    until = START + ahead + DAY
    row = replace(WRONG, failed_at=START + ahead, until=until)
    written(one, row, replace(WRONG_LIMIT, updated_at=START + ahead, until=until))
    one.request()
    assert left(one.memory, clock) == seconds
    limit = one.memory.limit(clock.now, free=True)
    assert (None if limit is None else limit.until - clock.now) == seconds


def test_what_a_wrong_clock_wrote_keeps_no_new_failure_from_counting(shared: Processes, clock: Clock) -> None:
    one, other = shared(), shared()
    written(one, WRONG, WRONG_LIMIT)
    one.request()
    fail(one.memory, clock, 0)
    fail(one.memory, clock, 0, Blame.ACCOUNT_LIMIT, retry_in=60)
    one.settle()
    clock.at(1.25)
    for process in (one, other):
        process.request()
        assert left(process.memory, clock) == 5 * MINUTE - 1.25
        limit = process.memory.limit(clock.now, free=True)
        assert limit is not None
        assert limit.until == START + 60
    one.memory.succeeded(A, began_at=clock.now)
    one.settle()
    assert one.table.load() == []


def test_a_process_whose_own_clock_is_put_right_forgets_what_it_wrote(shared: Processes, clock: Clock) -> None:
    monotonic = Clock()  # which nobody puts right
    one = shared(monotonic=monotonic)
    fail(one.memory, clock, YEAR)
    fail(one.memory, clock, YEAR, Blame.ACCOUNT_LIMIT, retry_in=3600)
    one.request()
    assert not one.memory.is_clear
    clock.at(0)
    monotonic.at(RELOAD_SECONDS)
    one.request()
    assert one.memory.is_clear


def test_a_process_with_a_wrong_clock_harms_no_row_of_the_others(shared: Processes, clock: Clock) -> None:
    one = shared()
    fail(one.memory, clock, 0)
    fail(one.memory, clock, 0, Blame.ACCOUNT_LIMIT, retry_in=3600)
    one.settle()
    clock.at(-YEAR)
    behind = shared()
    behind.request()
    assert behind.memory.is_clear
    behind.settle()
    clock.at(0)
    assert left(one.memory, clock) == 5 * MINUTE
    assert len(one.table.load()) == len(one.table.limits()) == 1


# What is forgotten by hand


def test_what_is_forgotten_here_is_forgotten_everywhere(shared: Processes, clock: Clock) -> None:
    one, other = shared(), shared()
    fail(one.memory, clock, 0)
    fail(one.memory, clock, 0, Blame.ACCOUNT_LIMIT, retry_in=600)
    one.settle()
    clock.at(2)
    other.request()
    assert other.memory.clear(A.id) == 1
    assert left(other.memory, clock) is None, "at once"
    assert other.memory.limit(clock.now, free=True) is not None, "a model is no limit"
    other.settle()
    clock.at(4)
    one.request()
    assert left(one.memory, clock) is None
    assert one.memory.clear() == 1
    assert one.memory.limit(clock.now, free=True) is None
    one.settle()
    assert one.table.limits() == []
    assert one.memory.clear() == 0


def test_nothing_that_is_forgotten_comes_back_with_a_reload(shared: Processes, clock: Clock) -> None:
    """Its failure may be written, and be read again, before the forgetting is written."""
    one = shared()
    fail(one.memory, clock, 0)
    one.settle()
    clock.at(2)
    one.request()
    one.database.away = True
    assert one.memory.clear() == 1
    clock.at(10)
    one.request()
    assert left(one.memory, clock) is None
    one.database.away = False
    clock.at(20)
    one.settle()
    assert one.table.load() == []


def test_what_this_process_has_not_read_yet_is_forgotten_too(shared: Processes, clock: Clock) -> None:
    one, other = shared(), shared()
    other.request()
    fail(one.memory, clock, 0)
    one.settle()
    other.memory.clear()
    other.settle()
    assert one.table.load() == []
