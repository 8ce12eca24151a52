"""What keys use is counted once, whatever happens: windows, reservations, settlements, and a database that is away."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from gevent import GreenletExit
from sqlalchemy import Connection, event, select

from ollama_proxy.access.allowance import Spent
from ollama_proxy.access.keys import Key, Limits
from ollama_proxy.errors import KeyLimitReached, Unavailable
from ollama_proxy.ledger.cost_lookup import ASK_AGAIN_AFTER, CostLookup
from ollama_proxy.ledger.key_counting import ASK_AFTER, LEASE, LONGEST_RENEWED, RENEW_AFTER, KeyCounting
from ollama_proxy.ledger.key_windows import windows_at
from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.database import Database, StorageUnavailable
from ollama_proxy.storage.key_usage_table import AWAITED, RESERVATIONS, USE, KeyUsageTable
from ollama_proxy.storage.write_behind import Write, WriteBehind
from tests.postgres import postgres_url
from tests.storage_databases import database

__all__ = ["database", "postgres_url"]

NOON = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC).timestamp()
CAP = 1000


class Clock:
    """The clock of a process. Sleeping passes the time, and lets `meanwhile` happen."""

    def __init__(self) -> None:
        self.now = NOON
        self.meanwhile: Any = None

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.meanwhile is not None:
            self.meanwhile()


class Process:
    """The counting of one process. What it has to write is written by `write`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock, self.lost = database, clock, 0
        self.table = KeyUsageTable(database)
        self.answers: dict[str, int | None] = {}
        self.asked: list[str] = []
        self.lookup = CostLookup(self.table, self._cost, clock=clock.time)
        self.writes = WriteBehind(database)
        never = Batches(self.writes, name="never", within=1e9)
        self.counting = KeyCounting(
            self.table,
            soon=never,
            with_ledger=never,
            on_lost=self._count_lost,
            on_awaited=self.lookup.awaited,
            clock=clock,
        )

    def _cost(self, generation: str) -> int | None:
        self.asked.append(generation)
        return self.answers.get(generation)

    def _count_lost(self, number: int) -> None:
        self.lost += number

    def taken(self) -> list[Write]:
        return [write for one in (self.counting.limited, self.counting.unlimited) if (write := one.take())]

    def write(self) -> None:
        """Write what waits."""
        for write in self.taken():
            self.database.run(write, write=True)

    def used(self, period: str = "d2026-11-24", key: int = 1) -> tuple[int, int, int, int]:
        """Requests, free requests, millionths of dollars and how many of them are estimated."""
        found = self.table.counts([key], [period]).get((key, period))
        return (0, 0, 0, 0) if found is None else (found.requests, found.free_requests, found.microusd, found.estimated)

    def reserved(self) -> int:
        return len(self.database.run(lambda connection: connection.execute(select(RESERVATIONS)).all()))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(database: Database, clock: Clock) -> Process:
    return Process(database, clock)


def key(**limits: int) -> Key:
    return Key("anna", id=1, limits=Limits(**limits))


DOLLARS = key(microusd_per_day=CAP)


def refused(process: Process, asked: Key, **how: Any) -> str:
    with pytest.raises(KeyLimitReached) as caught:
        process.counting.admit(asked, **{"microusd": 100, "free": False, **how})
    return caught.value.message


def test_reserved_then_settled(process: Process) -> None:
    """Ten of a tenth are all that is let through; when they were cheaper, the next ones are."""
    held = [process.counting.admit(DOLLARS, microusd=CAP // 10, free=False) for _ in range(10)]
    assert held[-1].headers == {"X-Key-Remaining-Usd": "0.000000"}
    assert "still under way" in refused(process, DOLLARS)
    for one in held:
        one.settle(Spent(microusd=7, tokens_in=3, tokens_out=4))
        one.settle(Spent(microusd=7))
    process.write()
    assert process.used() == process.used("m2026-11") == (10, 0, 70, 0)
    assert process.reserved() == 0
    assert process.counting.admit(DOLLARS, microusd=930, free=False).headers == {"X-Key-Remaining-Usd": "0.000000"}
    assert "limit of $0.001 a day" in refused(process, DOLLARS, microusd=931)


def test_many_at_once_in_two_processes(database: Database, clock: Clock) -> None:
    """Nobody decides about a key while another does."""
    processes = [Process(database, clock), Process(Database(database.url), clock)]

    def admitted(number: int) -> bool:
        try:
            processes[number % 2].counting.admit(DOLLARS, microusd=CAP // 10, free=False)
        except KeyLimitReached:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(admitted, range(64))) == 10


def test_a_settlement_is_waited_for(process: Process, clock: Clock) -> None:
    """A client asks again as soon as it has its answer: what its last request reserved is about to be settled."""
    held = process.counting.admit(key(parallel=1), microusd=0, free=False)
    held.settle(Spent())
    clock.meanwhile = process.write
    process.counting.admit(key(parallel=1), microusd=0, free=False)


@pytest.mark.parametrize(
    ("limits", "how", "said"),
    [
        ({"per_minute": 2}, {"microusd": 0}, "2 requests a minute"),
        ({"parallel": 2}, {"microusd": 0}, "2 requests at a time"),
        ({"free_per_day": 2}, {"microusd": 0, "free": True}, "2 free requests a day"),
        ({"microusd_per_day": 200}, {"microusd": 100}, "a day"),
        ({"microusd_per_month": 200}, {"microusd": 100}, "a month"),
    ],
)
def test_each_limit(process: Process, limits: dict[str, int], how: dict[str, Any], said: str) -> None:
    for _ in range(2):
        process.counting.admit(key(**limits), **{"free": False, **how})
    assert said in refused(process, key(**limits), **how)
    process.counting.admit(Key("other", id=2, limits=Limits(**limits)), **{"free": False, **how})


def test_over_midnight_nothing_is_reset(process: Process, clock: Clock) -> None:
    """A request counts in the day in which it began; the new day has a row of its own, the month goes on."""
    clock.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()
    both = key(microusd_per_day=100, microusd_per_month=150)
    old = process.counting.admit(both, microusd=100, free=False)
    assert "under way" in refused(process, both, microusd=1)
    clock.now += 2
    new = process.counting.admit(both, microusd=100, free=False)
    old.settle(Spent(microusd=90))
    new.settle(Spent(microusd=50))
    process.write()
    assert process.used("d2026-11-30")[2] == process.used("m2026-11")[2] == 90
    assert process.used("d2026-12-01")[2] == process.used("m2026-12")[2] == 50
    clock.now += 86_400
    process.counting.admit(both, microusd=100, free=False)
    assert "a month" in refused(process, both, microusd=1)


def test_a_changed_cap_counts_at_once(process: Process) -> None:
    process.counting.admit(DOLLARS, microusd=CAP, free=False).settle(Spent(microusd=CAP))
    process.write()
    assert "is reached" in refused(process, DOLLARS, microusd=1)
    process.counting.admit(key(microusd_per_day=CAP + 1), microusd=1, free=False)


def test_further_free_attempts_are_settled(process: Process) -> None:
    """One is reserved: the attempts of one request are at most MAX_ATTEMPTS - 1 over the limit."""
    free = key(free_per_day=2)
    process.counting.admit(free, microusd=0, free=True).settle(Spent(free_requests=5))
    process.write()
    assert process.used()[1] == 5
    assert "2 free requests" in refused(process, free, microusd=0, free=True)
    process.counting.admit(free, microusd=0, free=False)


def test_a_killed_process_blocks_nobody_for_long(database: Database, clock: Clock) -> None:
    Process(database, clock).counting.admit(DOLLARS, microusd=CAP, free=False)
    other = Process(database, clock)
    assert "under way" in refused(other, DOLLARS)
    clock.now += LEASE
    other.counting.admit(DOLLARS, microusd=CAP, free=False)


def test_a_long_request_keeps_its_reservation(process: Process, clock: Clock) -> None:
    held = process.counting.admit(DOLLARS, microusd=CAP, free=False)
    for _ in range(10):
        clock.now += RENEW_AFTER
        process.counting.renew_if_due()
    assert "under way" in refused(process, DOLLARS)
    held.settle(Spent(microusd=5))
    process.write()
    assert (process.used()[2], process.reserved()) == (5, 0)


def test_one_that_nobody_settles_is_not_renewed_for_ever(process: Process, clock: Clock) -> None:
    held = process.counting.admit(DOLLARS, microusd=CAP, free=False)
    for _ in range(int((LONGEST_RENEWED + LEASE) / RENEW_AFTER)):
        clock.now += RENEW_AFTER
        process.counting.renew_if_due()
    process.counting.admit(DOLLARS, microusd=CAP, free=False).settle(Spent())
    held.settle(Spent(microusd=5))
    process.write()
    assert (process.used()[2], process.reserved()) == (5, 0), "if it ends all the same, it is counted"


def test_one_that_ends_after_its_reservation_is_counted_all_the_same(process: Process, clock: Clock) -> None:
    held = process.counting.admit(DOLLARS, microusd=CAP, free=False)
    clock.now += 10 * LEASE
    held.settle(Spent(microusd=5))
    process.write()
    assert process.used()[2] == 5


def test_a_write_that_is_made_twice_counts_once(process: Process) -> None:
    """So it happens if the connection breaks between the commit and its acknowledgement."""
    process.counting.admit(DOLLARS, microusd=9, free=False).settle(Spent(microusd=9))
    [write] = process.taken()
    for _ in range(2):
        process.database.run(write, write=True)
    assert process.used()[:3] == (1, 0, 9)


def statements(database: Database) -> Iterator[list[str]]:
    """What is said to the database."""
    said: list[str] = []
    database.run(lambda connection: None)
    engine = database._current().engine

    def heard(*given: Any) -> None:
        if not given[2].startswith("BEGIN"):
            said.append(given[2])

    event.listen(engine, "before_cursor_execute", heard)
    yield said


def test_how_many_statements(process: Process) -> None:
    """None for a key without limits; one transaction before and one after for others."""
    [said] = statements(process.database)
    process.counting.admit(key(), microusd=5, free=True).settle(Spent(microusd=5))
    assert said == []
    begun: list[Connection] = []
    event.listen(process.database._current().engine, "begin", begun.append)
    held = process.counting.admit(key(parallel=5, microusd_per_day=10), microusd=5, free=True)
    assert len(begun) == 1
    before = len(said)
    assert before == (2 if process.database.dialect == "sqlite" else 3), said
    held.settle(Spent(microusd=5))
    process.counting.unlimited.take()
    process.write()
    assert (len(begun), len(said) - before) == (2, 2)


def test_a_key_without_limits_is_counted_with_the_ledger(process: Process) -> None:
    for _ in range(3):
        process.counting.admit(key(), microusd=5, free=True).settle(Spent(microusd=5, free_requests=1))
    assert process.counting.limited.take() is None
    process.write()
    assert process.used() == process.used("m2026-11") == (3, 3, 15, 0)


# The database is away


class Away:
    """A table whose database is away while `is_away`."""

    def __init__(self, table: KeyUsageTable, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away, self.asked = True, 0
        reserve = table.reserve

        def reserving(*given: Any, **named: Any) -> Any:
            self.asked += 1
            if self.is_away:
                raise StorageUnavailable("away")
            return reserve(*given, **named)

        monkeypatch.setattr(table, "reserve", reserving)


def test_without_a_database(process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What costs is refused, what costs nothing goes on; it is counted when the database is back, and only once."""
    away = Away(process.table, monkeypatch)
    capped = key(microusd_per_day=CAP, free_per_day=9)
    with pytest.raises(Unavailable, match="limit in dollars, and the database that counts what it spends is away"):
        process.counting.admit(capped, microusd=1, free=False)
    held = process.counting.admit(capped, microusd=0, free=True)
    assert away.asked == 1, "it is left alone for a while"
    process.counting.admit(key(free_per_day=9), microusd=5, free=False).settle(Spent(microusd=5))
    held.settle(Spent(free_requests=1))
    [write] = process.taken()
    for _ in range(2):
        process.database.run(write, write=True)
    assert process.used() == (2, 1, 5, 0)
    away.is_away = False
    for _ in range(3):  # who asks meanwhile does not make it longer
        with pytest.raises(Unavailable):
            process.counting.admit(capped, microusd=1, free=False)
        clock.now += 1
    process.counting.admit(capped, microusd=1, free=False)
    assert away.asked == 2


def test_parallel_requests_without_a_database(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    Away(process.table, monkeypatch)
    held = process.counting.admit(key(parallel=1), microusd=0, free=True)
    assert "at a time" in refused(process, key(parallel=1), microusd=0, free=True)
    process.counting.admit(Key("b", id=2, limits=Limits(parallel=1)), microusd=0, free=True)
    held.settle(Spent())
    process.counting.admit(key(parallel=1), microusd=0, free=True)


def test_a_reservation_that_was_committed_unheard_is_not_counted_twice(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = process.table.reserve

    def reserving(*given: Any, **named: Any) -> Any:
        reserve(*given, **named)
        raise StorageUnavailable("the connection broke behind the commit")

    monkeypatch.setattr(process.table, "reserve", reserving)
    process.counting.admit(key(free_per_day=1), microusd=0, free=True).settle(Spent(free_requests=1))
    [write] = process.taken()
    for _ in range(2):
        process.database.run(write, write=True)
    monkeypatch.undo()
    assert process.used()[:2] == (1, 1)
    assert process.table.standing(1, windows_at(NOON), NOON).under_way == 0


def test_a_process_that_ends_while_it_reserves(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = process.table.reserve

    def reserving(*given: Any, **named: Any) -> Any:
        reserve(*given, **named)
        raise GreenletExit

    monkeypatch.setattr(process.table, "reserve", reserving)
    with pytest.raises(GreenletExit):
        process.counting.admit(DOLLARS, microusd=CAP, free=False)
    process.write()
    assert process.reserved() == 0


def test_too_many_settlements_wait(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ollama_proxy.ledger.key_counting.MOST_WAITING", 3)
    for _ in range(5):
        process.counting.admit(key(), microusd=0, free=True).settle(Spent())
    assert process.lost == 2
    process.write()
    assert process.used()[0] == 3


# Costs that are not known at the end


def awaited(process: Process) -> int:
    return len(process.database.run(lambda connection: connection.execute(select(AWAITED)).all()))


@pytest.mark.parametrize(
    ("answers", "looks", "used"),
    [
        ([80], 1, (80, 0)),
        ([0], 1, (0, 0)),
        ([None, 130], 2, (130, 0)),
        ([None, None], 2, (100, 100)),
    ],
    ids=["known at the first look", "it was nothing", "at the second", "never: it stays an estimate"],
)
def test_a_cost_is_asked_for_by_the_clock(
    process: Process, clock: Clock, answers: list[int | None], looks: int, used: tuple[int, int]
) -> None:
    process.lookup.look_if_due()
    held = process.counting.admit(DOLLARS, microusd=300, free=False)
    held.settle(Spent(microusd=100, estimated=100, generation="gen-1"))
    process.write()
    assert process.used()[2:] == (100, 100)
    process.lookup.look_if_due()
    assert process.asked == []
    for wait, answer in zip(itertools.chain([ASK_AFTER], itertools.repeat(ASK_AGAIN_AFTER)), answers, strict=False):
        process.answers["gen-1"] = answer
        clock.now += wait
        process.lookup.look_if_due()
    clock.now += 10 * ASK_AGAIN_AFTER
    process.lookup.look_if_due()
    assert process.asked == ["gen-1"] * looks
    assert process.used()[2:] == process.used("m2026-11")[2:] == used
    assert awaited(process) == 0


def test_only_what_was_guessed_is_corrected(process: Process, clock: Clock) -> None:
    process.lookup.look_if_due()
    held = process.counting.admit(DOLLARS, microusd=300, free=False)
    held.settle(Spent(microusd=250, estimated=50, generation="gen-1"))
    process.write()
    assert process.used()[2:] == (250, 50)
    process.answers["gen-1"] = 10
    clock.now += ASK_AFTER
    process.lookup.look_if_due()
    assert process.used()[2:] == process.used("m2026-11")[2:] == (210, 0)


def test_costs_of_a_key_without_limits_are_asked_for_too(process: Process, clock: Clock) -> None:
    """Each of its own, also of two at once, and if the write is made twice: nothing else in that write is lost."""
    process.lookup.look_if_due()
    for number in range(3):
        spent = Spent(microusd=100, estimated=100, generation=f"gen-{number}")
        process.counting.admit(key(), microusd=0, free=False).settle(spent)
        if number:
            [write] = process.taken()
            for _ in range(number):
                process.database.run(write, write=True)
    process.answers = {f"gen-{number}": 30 for number in range(3)}
    clock.now += ASK_AFTER
    process.lookup.look_if_due()
    assert sorted(process.asked) == ["gen-0", "gen-1", "gen-2"]
    assert process.used()[2:] == (90 + 100, 100), "what was counted twice stays an estimate"
    assert awaited(process) == 0


def test_another_process_asks_for_what_a_dead_one_waited_for(database: Database, clock: Clock) -> None:
    dead = Process(database, clock)
    dead.counting.admit(DOLLARS, microusd=300, free=False).settle(
        Spent(microusd=100, estimated=100, generation="gen-1")
    )
    dead.write()
    clock.now += ASK_AFTER
    two = [Process(database, clock), Process(database, clock)]
    for one in two:
        one.answers["gen-1"] = 40
        one.lookup.look_if_due()
    assert two[0].used()[2:] == (40, 0), "corrected once"


def test_nothing_is_asked_of_the_database_while_nothing_is_awaited(process: Process, clock: Clock) -> None:
    process.lookup.look_if_due()
    [said] = statements(process.database)
    for _ in range(5):
        clock.now += 3600
        process.lookup.look_if_due()
        process.counting.renew_if_due()
    assert said == []


def test_old_windows_are_forgotten(process: Process, database: Database) -> None:
    process.counting.admit(key(per_minute=3), microusd=0, free=False).settle(Spent())
    process.counting.admit(key(per_minute=3), microusd=0, free=False)
    process.write()
    process.table.forget(ended_by=NOON, minutes_before="t2026-11-24T12:00", days_before="d2026-11-24")
    periods = select(USE.c.period).order_by(USE.c.period)
    kept = database.run(lambda connection: list(connection.execute(periods).scalars()))
    assert kept == ["d2026-11-24", "m2026-11", "t2026-11-24T12:00"]
    assert process.reserved() == 1
    process.table.forget(ended_by=NOON + LEASE, minutes_before="t2026-11-24T12:01", days_before="d2026-11-25")
    assert database.run(lambda connection: list(connection.execute(periods).scalars())) == ["m2026-11"]
    assert process.reserved() == 0
