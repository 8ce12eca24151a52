"""The ledger on both databases: what is recorded comes back, in batches, within its bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Connection

from ollama_proxy.ledger import ledger as module
from ollama_proxy.ledger.ledger import Ledger
from ollama_proxy.ledger.record import record_of
from ollama_proxy.ledger.retention import Retention
from ollama_proxy.ledger.under_way import MOST_TOLD, UnderWay
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.storage import ledger_table
from ollama_proxy.storage.batches import WITHIN, Batches
from ollama_proxy.storage.database import REST_SECONDS, Database, StorageUnavailable
from ollama_proxy.storage.in_flight_table import EXPIRE, InFlightTable
from ollama_proxy.storage.key_usage_table import KeyUsageTable
from ollama_proxy.storage.leases import CLOCKS_DIFFER, Leases
from ollama_proxy.storage.ledger_table import HOUR, OTHERS, HourlyFailures, HourlyUsage, LedgerTable
from ollama_proxy.storage.quota_table import DAY, QuotaTable
from ollama_proxy.storage.write_behind import WriteBehind
from tests.postgres import postgres_url
from tests.storage_databases import ScriptedDatabase, database
from tests.unit.ledger.observations import ended, exchange, tried

__all__ = ["database", "postgres_url"]

#: The begin of an hour.
NOW = 500_000.0 * HOUR


class Process:
    """A ledger as one process has it, with clocks that pass only when told to."""

    def __init__(self, database: Database, name: str = "one", **more: Any) -> None:
        self.now = NOW
        self.monotonic = 100.0
        self.warnings: list[str] = []
        self.answers = 0
        self.database = ScriptedDatabase(database.url)
        self.behind = WriteBehind(self.database, monotonic=lambda: self.monotonic)
        batches = Batches(self.behind)
        clocks: dict[str, Any] = {"clock": lambda: self.now, "monotonic": lambda: self.monotonic}
        self.under_way = UnderWay(InFlightTable(self.database), process=lambda: name, **clocks)
        self.ledger = Ledger(
            LedgerTable(self.database),
            batches=batches,
            under_way=self.under_way,
            answered=self.answered,
            on_warning=self.warnings.append,
            **clocks,
            **more,
        )
        batches.of(self.ledger, self.under_way)
        self.batches = batches

    def answered(self) -> None:
        self.answers += 1

    def end(self, request_id: str = "r1", **fields: Any) -> None:
        """A request has ended that took a second and a half."""
        observation = ended(request_id, began=self.monotonic - 1.5, **fields)
        self.ledger.began(observation)
        self.ledger.ended(observation)

    def written(self) -> None:
        """What waits is written."""
        assert self.behind.flush(10)


@pytest.fixture
def process(database: Database) -> Iterator[Process]:
    made = Process(database)
    yield made
    made.database.away = False
    made.monotonic += REST_SECONDS
    made.written()
    made.database.dispose()


def ids(process: Process, **which: Any) -> list[str]:
    return [record.id for record in process.ledger.newest(100, **which)]


def test_a_record_comes_back_as_it_was(process: Process) -> None:
    fields: dict[str, Any] = {
        "exchange": exchange(tried("a/one:free", "no first token", seconds=8.0), tried("b/two:free")),
        "cost": 0.25,
        "streamed": True,
        "error": "naïve\0 \ud800",
        "broken": True,
    }
    process.end("whole")
    process.now += 1
    process.end("broken", **fields)
    process.written()
    expected = record_of(ended("broken", **(fields | {"error": "naïve ?"})), ended_at=NOW + 1, seconds=1.5)
    assert process.ledger.newest(1) == [expected]
    assert ids(process) == ["broken", "whole"]


def test_the_requests_of_two_seconds_are_one_transaction(process: Process) -> None:
    process.database.take()
    for n in range(500):
        process.end(f"r{n}")
    assert process.database.take() == [], "none of them waits for the database"
    process.written()
    assert process.database.take() == ["write"]
    assert process.ledger.recorded == len(process.ledger.newest(1000)) == 500
    [usage] = process.ledger.usage(NOW)
    assert (usage.requests, usage.whole, usage.tokens_in, usage.tokens_out) == (500, 500, 5000, 10_000)


def test_they_wait_for_two_seconds(process: Process) -> None:
    """The write is due then, not at once: else each request would be a transaction."""
    process.end()
    queue = process.behind._queues[0]
    assert queue._due_at() == process.monotonic + WITHIN


def test_what_is_not_a_request_to_a_model_is_not_written(process: Process) -> None:
    process.end(route="/api/tags", exchange=None)
    process.end(route="", status=401, exchange=None)
    assert process.behind.flush(0)
    assert ids(process) == []


def test_a_page_of_the_log(process: Process) -> None:
    for n, fields in enumerate(
        (
            {"caller": "key 1"},
            {"status": 502, "exchange": exchange(tried("a/one:free", "HTTP 502"), answered=False)},
            {"exchange": exchange(tried("b/two:free")), "asked": "two"},
            {"broken": True},
            {"status": 400, "exchange": None},
        )
    ):
        process.now = NOW + n
        process.end(f"r{n}", **fields)
    process.written()
    assert ids(process) == ["r4", "r3", "r2", "r1", "r0"]
    assert [record.id for record in process.ledger.newest(2, before=NOW + 3)] == ["r2", "r1"]
    assert ids(process, failed_only=True) == ["r3", "r1"]
    assert ids(process, caller="key 1") == ["r0"]
    assert ids(process, model="b/two:free") == ids(process, model="two") == ["r2"]


def test_the_hours_sums(process: Process) -> None:
    process.end("1", cost=0.001)
    process.end("2", left=True, exchange=exchange(tried("a/one:free"), first_token_seconds=0.25))
    process.written()
    process.end("3", status=503, exchange=exchange(tried("a/one:free", "x"), tried("b", "y"), answered=False))
    process.end("4", status=400, exchange=None, prompt_tokens=None, completion_tokens=None)
    process.end("5", exchange=exchange(tried("a/one:free"), first_token_seconds=61.0), caller="key 1")
    process.now += HOUR
    process.end("6")
    process.written()
    nobody, one, key, later = process.ledger.usage(NOW)
    assert (nobody.model, nobody.requests, nobody.failed, nobody.refused, nobody.attempts) == ("", 2, 1, 1, 2)
    assert (one.model, one.requests, one.whole, one.left, one.microusd) == ("a/one:free", 2, 1, 1, 1000)
    assert list(one.first_token) == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], "0.25 s counts in the first column"
    assert (key.caller, list(key.first_token)[-1], key.free_attempts) == ("key 1", 1, 1)
    assert (later.hour, later.requests) == (int(NOW) + HOUR, 1)
    assert process.ledger.usage(NOW + HOUR) == [later]
    assert process.ledger.usage(NOW, caller="key 1") == [key]


def test_failed_attempts_by_what_is_to_blame(process: Process) -> None:
    rate, failing = (
        Verdict(blame, 429, "message", "reason") for blame in (Blame.MODEL_RATE_LIMIT, Blame.MODEL_FAILING)
    )
    process.ledger.failed("a", rate)
    process.ledger.failed("a", rate)
    process.written()
    process.ledger.failed("a", rate)
    process.ledger.failed("a", failing)
    process.written()
    hour = int(NOW)
    assert process.ledger.failures(NOW) == [
        HourlyFailures(hour, "a", "model failing", 1),
        HourlyFailures(hour, "a", "model rate limit", 3),
    ]


def test_an_answer_is_told(process: Process) -> None:
    process.end(status=400, exchange=None)
    process.end(status=502, exchange=exchange(tried("a", "x"), answered=False))
    assert process.answers == 0
    process.end()
    assert process.answers == 1


def test_two_processes_add_up(process: Process, database: Database) -> None:
    other = Process(database, "two")
    for n in range(3):
        process.end(f"a{n}")
        other.end(f"b{n}")
        process.written()
        other.written()
    [usage] = process.ledger.usage(NOW)
    assert usage.requests == 6
    assert len(ids(other)) == 6
    other.database.dispose()


def test_many_callers_share_one_row(process: Process, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CALLERS_AN_HOUR", 3)
    other = Process(database, "two")
    other.end("o1", caller="other 1")
    other.end("o2", caller="other 2")
    other.written()
    for n in range(4):
        process.end(f"r{n}", caller=f"10.0.0.{n}")
    process.written()
    process.end("o3", caller="other 2")
    process.written()
    assert {row.caller: row.requests for row in process.ledger.usage(NOW)} == {
        "10.0.0.0": 1,
        OTHERS: 3,
        "other 1": 1,
        "other 2": 2,
    }
    assert len({record.caller for record in process.ledger.newest(10)}) == 6, "the log names each"
    process.now += HOUR
    process.end("next", caller="10.0.0.3")
    process.written()
    assert [row.caller for row in process.ledger.usage(process.now)] == ["10.0.0.3"], "each hour begins anew"
    other.database.dispose()


def test_who_is_counted_by_name_is_read_once_a_write(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's write lock is held meanwhile: strangers must not make that long."""
    asked: list[int] = []

    def callers(connection: Connection, hour: int) -> set[str]:
        asked.append(hour)
        return read(connection, hour)

    read = ledger_table._callers
    monkeypatch.setattr(ledger_table, "_callers", callers)
    monkeypatch.setattr(module, "MOST_CALLERS_AN_HOUR", 10)
    for n in range(8):
        process.end(f"a{n}", caller=f"10.0.0.{n}")
    process.written()
    assert asked == [NOW]
    process.end("known", caller="10.0.0.1")
    process.written()
    assert asked == [NOW], "for a known caller nothing is read"
    for n in range(50):
        process.end(f"b{n}", caller=f"10.0.1.{n}")
    process.written()
    assert asked == [NOW, NOW]
    for n in range(50):
        process.end(f"c{n}", caller=f"10.0.2.{n}")
    process.written()
    assert asked == [NOW, NOW], "no room for one more: nothing to ask"
    for n in range(20):
        process.now = NOW + HOUR * (1 - n % 2)  # a clock that is set back and forth
        process.end(f"d{n}", caller=f"10.0.{n}.1")
    process.written()
    assert asked == [NOW, NOW, NOW + HOUR]
    counted = {(row.hour, row.caller): row.requests for row in process.ledger.usage(NOW)}
    assert (counted[NOW, OTHERS], len(counted)) == (48 + 50 + 9, 10 + 1 + 10)


def test_while_the_database_is_away_records_wait_and_then_are_dropped_and_counted(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    process.database.away = True
    process.end("r0")
    process.behind.flush(0.1)
    for n in range(1, 8):
        process.end(f"r{n}")
    assert process.ledger.dropped == 3
    assert process.warnings == ["too many records wait for the database: the ledger is no longer complete"]
    process.database.away = False
    process.monotonic += REST_SECONDS
    process.written()
    assert sorted(ids(process)) == ["r0", "r1", "r2", "r3", "r4"]
    process.end("r9")
    process.written()
    assert (len(ids(process)), process.ledger.dropped, process.ledger.recorded) == (6, 3, 6)


def test_a_batch_that_the_database_refuses_is_counted(process: Process) -> None:
    process.end("r1", prompt_tokens=2**63)
    process.written()
    assert (process.ledger.dropped, process.ledger.recorded) == (1, 0)
    process.end("r2")
    process.written()
    assert ids(process) == ["r2"]


def test_without_a_log_there_are_sums(database: Database) -> None:
    process = Process(database, keeps_log=False)
    process.end()
    process.written()
    assert (process.ledger.has_log, ids(process)) == (False, [])
    assert [row.requests for row in process.ledger.usage(NOW)] == [1]
    process.database.dispose()


def test_clear(process: Process) -> None:
    process.end("r1", caller="key 1")
    process.end("r2", caller="key 2")
    process.end("r3", caller="key 2")
    process.ledger.failed("a", Verdict(Blame.REQUEST, 400, "message", "reason"))
    process.written()
    assert process.ledger.clear("key 2") == 2
    assert ids(process) == ["r1"]
    assert len(process.ledger.usage(NOW)) == 2
    assert process.ledger.clear("key 1", usage=True) == 1
    assert [row.caller for row in process.ledger.usage(NOW)] == ["key 2"]
    assert process.ledger.clear(usage=True) == 0
    assert (process.ledger.usage(NOW), process.ledger.failures(NOW)) == ([], [])


def _row(caller: str) -> HourlyUsage:
    return HourlyUsage(int(NOW), caller, "a/model", requests=1)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("remove", ["clear", "trim"])
def test_removing_and_recording_do_not_wait_for_each_other(database: Database, remove: str) -> None:
    """In PostgreSQL each row is locked on its own. SQLite has one writer at a time."""
    table = LedgerTable(database)
    for caller in "ab":
        database.run(table.record([], usage=lambda _, c=caller: [_row(c)], failures=[]), write=True)  # type: ignore[misc]
    has_begun, ended = threading.Event(), threading.Event()

    def record(connection: Connection) -> None:
        table.record([], usage=lambda _: [_row("b")], failures=[])(connection)
        has_begun.set()
        waiting = sqlalchemy.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        until = time.monotonic() + 5
        while connection.scalar(waiting) == 0 and not ended.wait(0.01):
            assert time.monotonic() < until
        table.record([], usage=lambda _: [_row("a")], failures=[])(connection)

    def removed() -> None:
        assert has_begun.wait(5)
        try:
            if remove == "clear":
                table.clear(usage=True)
            else:
                table.trim(newest=0, ended_after=NOW, hours_after=NOW + HOUR)
        finally:
            ended.set()

    with ThreadPoolExecutor(2) as threads:
        for one in [threads.submit(database.run, record, write=True), threads.submit(removed)]:
            one.result(10)
    assert table.usage(NOW) == [], "what was recorded first is removed too"


def test_retention(process: Process, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from ollama_proxy.ledger import retention as limits

    monkeypatch.setattr(limits, "MOST_LOGGED", 3)
    monkeypatch.setattr(limits, "_ADDED", 4)
    leases = Leases(process.database)

    def retention(holder: str) -> Retention:
        return Retention(
            LedgerTable(process.database),
            quota=QuotaTable(process.database),
            in_flight=InFlightTable(process.database),
            key_usage=KeyUsageTable(process.database),
            leases=leases,
            holder=lambda: holder,
            log_days=7,
            monotonic=lambda: process.monotonic,
        )

    mine, others = retention("mine"), retention("others")
    process.now = NOW - 91 * DAY
    process.end("old")
    process.now = NOW - 8 * DAY
    process.end("week")
    for n in range(4):
        process.now = NOW + n
        process.end(f"r{n}")
    process.written()
    assert leases.acquire("trim", "somebody", now=NOW, seconds=10)
    assert not others.trim_if_due(NOW, recorded=6), "another process does it"
    leases.release("trim", "somebody")
    assert mine.trim_if_due(NOW + 10, recorded=6)
    assert ids(process) == ["r3", "r2", "r1"], "the newest"
    assert [row.hour for row in process.ledger.usage(0)] == [int(NOW) - 8 * DAY, int(NOW)], "90 days"
    assert not mine.trim_if_due(NOW + 20, recorded=9), "not with each batch"
    assert mine.trim_if_due(NOW + 20, recorded=10), "but before the log has grown much"
    process.monotonic += 700
    assert mine.trim_if_due(NOW - 700, recorded=10), "also if the clock was set back meanwhile"
    process.monotonic += 700
    process.database.take()
    assert mine.trim_if_due(NOW + 7 * DAY + 3, recorded=10)
    assert ids(process) == [], "after a week"


def test_what_is_under_way(process: Process, database: Database) -> None:
    other = Process(database, "two")
    mine, theirs = ended("mine", exchange=exchange(answered=False), began=97.0), ended("theirs", began=95.0)
    page = ended("page", route="/api/tags")
    process.ledger.began(mine)
    process.ledger.began(page)
    other.ledger.began(theirs)
    assert [one.id for one in process.ledger.in_flight()] == ["mine"]
    assert not other.under_way.tell(watched=False), "nobody looks: nothing is written"
    assert other.under_way.tell(watched=True)
    other.batches.wanted()
    other.written()
    first, second = process.ledger.in_flight()
    assert (first.id, first.process, first.began_at, first.model, first.attempts) == (
        "theirs",
        "two",
        NOW - 5,
        "a/one:free",
        1,
    )
    assert (second.id, second.model, second.attempts, second.began_at) == ("mine", None, 0, NOW - 3)
    process.now += EXPIRE
    assert [one.id for one in process.ledger.in_flight()] == ["theirs", "mine"], "the clock of a machine is ahead"
    process.now -= EXPIRE + CLOCKS_DIFFER
    assert [one.id for one in process.ledger.in_flight()] == ["mine", "theirs"], "or behind"
    process.now = NOW
    process.monotonic += EXPIRE
    assert [one.id for one in process.ledger.in_flight()] == ["mine"], "a process that says nothing more is dead"
    process.monotonic -= EXPIRE
    process.now += EXPIRE + CLOCKS_DIFFER
    assert [one.id for one in process.ledger.in_flight()] == ["mine"], "also if it was never seen here"
    process.now = NOW
    other.ledger.ended(theirs)
    assert not other.under_way.is_idle, "others believe that it is under way"
    assert other.under_way.tell(watched=False)
    other.batches.wanted()
    other.written()
    assert other.under_way.is_idle
    assert [one.id for one in process.ledger.in_flight()] == ["mine"]
    other.database.dispose()


def test_at_most_a_hundred_of_a_process_are_told(process: Process) -> None:
    for n in range(MOST_TOLD + 20):
        process.ledger.began(ended(f"r{n}"))
    assert len(process.ledger.in_flight()) == MOST_TOLD


def test_reports_say_that_the_database_is_away(process: Process) -> None:
    process.database.away = True
    for report in (lambda: process.ledger.newest(1), lambda: process.ledger.usage(0), process.ledger.in_flight):
        with pytest.raises(StorageUnavailable):
            report()
