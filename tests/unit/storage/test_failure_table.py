"""The statements of the failure memory: that every change is atomic and tells the others, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, text

from ollama_proxy.fallback.cooldown import Cooldown, merged_limit
from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.failure_table import NAME, FailureRow, FailureTable, LimitRow
from ollama_proxy.storage.migrate import upgrade
from ollama_proxy.storage.revisions import REVISIONS
from ollama_proxy.storage.write_behind import Write
from tests.postgres import new_database, postgres_url
from tests.storage_databases import database, record_failure
from tests.version_1_0_0 import FAIL

__all__ = ["database", "postgres_url"]

NOW = 1_800_000_000.0
DAY = 86_400.0
MODEL = "deepseek/deepseek-chat:free"


@pytest.fixture
def failures(database: Database) -> FailureTable:
    return FailureTable(database)


def revision(database: Database) -> int:
    """How often the failures have changed."""
    query = select(REVISIONS.c.revision).where(REVISIONS.c.name == NAME)
    return database.run(lambda connection: connection.execute(query).scalar()) or 0


def fail(database: Database, began: float, now: float, **more: Any) -> FailureRow:
    """A failure of an attempt from NOW + began to NOW + now."""
    return record_failure(database, MODEL, began_at=NOW + began, now=NOW + now, **more)


def test_a_row_becomes_what_the_function_makes_of_it(database: Database, failures: FailureTable) -> None:
    seen: list[FailureRow | None] = []
    first = FailureRow(MODEL, "gone", 3, NOW, NOW + DAY, "404", "digest")
    second = replace(first, count=4, record_digest=None)
    for become in (first, second):
        write = failures.change(MODEL, lambda old, row=become: (seen.append(old), row)[1])  # type: ignore[misc]
        assert database.run(write, write=True) == become
        assert failures.load() == [become]
    assert seen == [None, first]


def test_fifty_parallel_failures_count_as_one(database: Database, failures: FailureTable) -> None:
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda i: fail(database, -1 - i / 100, i / 100), range(50)))
    [row] = failures.load()
    assert row.count == 1
    assert row.until == pytest.approx(NOW + 300.49)


def test_no_counted_failure_is_lost_between_threads(database: Database, failures: FailureTable) -> None:
    # Every attempt begins after every failure before it, whatever the order they arrive in.
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda _: fail(database, 1, 0), range(50)))
    assert failures.load()[0].count == 50


def test_no_counted_failure_is_lost_beside_a_server_of_version_1_0_0(
    database: Database, failures: FailureTable
) -> None:
    """Which counts with one statement, knows no revision, and forgets a model after a success."""
    old = {"model": MODEL, "now": NOW}

    def both(number: int) -> None:
        if number % 2:
            fail(database, 1, 0)
        else:
            database.run(lambda connection: connection.execute(text(FAIL), old), write=True)

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(both, range(60)))
    assert failures.load()[0].count == 60


def test_a_row_that_a_server_of_version_1_0_0_makes_meanwhile_is_not_overwritten(postgres_url: str) -> None:
    """Not in SQLite: there the other one waits."""
    found = Database(sqlalchemy_url(new_database(postgres_url), ""))
    upgrade(found.url)
    seen: list[FailureRow | None] = []

    def become(old: FailureRow | None) -> FailureRow:
        seen.append(old)
        if old is None:
            values = {"model": MODEL, "now": NOW}
            Database(found.url).run(lambda connection: connection.execute(text(FAIL), values), write=True)
        return FailureRow(MODEL, "b", 1 if old is None else old.count + 1, NOW, NOW, "r", None)

    found.run(FailureTable(found).change(MODEL, become), write=True)
    assert [old and old.count for old in seen] == [None, 1]
    assert [row.count for row in FailureTable(found).load()] == [2]
    found.dispose()


def test_two_transactions_with_the_same_rows_in_other_orders_do_not_lock_each_other_out(
    database: Database, failures: FailureTable
) -> None:
    def counted(old: FailureRow | None, model: str) -> FailureRow:
        return FailureRow(model, "b", 1, NOW, NOW, "r", None) if old is None else replace(old, count=old.count + 1)

    def change(models: list[str]) -> None:
        writes = [failures.change(model, partial(counted, model=model)) for model in models]
        database.run(lambda connection: [write(connection) for write in writes], write=True)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, [["a", "b"], ["b", "a"]] * 20))
    assert [(row.model, row.count) for row in failures.load()] == [("a", 40), ("b", 40)]


@pytest.mark.parametrize(
    ("began", "cleared"),
    [
        pytest.param(10, True, id="a success that began after the failure clears it"),
        pytest.param(0, False, id="at the same instant it does not"),
        pytest.param(-10, False, id="a success that began before the failure proves nothing"),
    ],
)
def test_success_clears_only_older_failures(
    database: Database, failures: FailureTable, began: float, cleared: bool
) -> None:
    fail(database, -1, 0)
    database.run(failures.forget_older(MODEL, NOW + began), write=True)
    assert bool(failures.load()) is not cleared


def test_success_of_another_model_clears_nothing(database: Database, failures: FailureTable) -> None:
    fail(database, -1, 0)
    database.run(failures.forget_older("a/b", NOW + 10), write=True)
    assert len(failures.load()) == 1


@pytest.mark.parametrize(("which", "left"), [pytest.param("a", ["b"], id="one"), pytest.param(None, [], id="all")])
def test_clear_by_hand(database: Database, failures: FailureTable, which: str | None, left: list[str]) -> None:
    for model in ("a", "b"):
        record_failure(database, model, began_at=NOW, now=NOW)
    assert failures.clear(which) == 2 - len(left)
    assert [row.model for row in failures.load()] == left
    assert failures.clear("never seen") == 0


@pytest.mark.parametrize(
    ("seconds", "later", "kept"),
    [
        pytest.param(300, 2 * DAY, False, id="over and older than a day: dropped"),
        pytest.param(300, DAY / 2, True, id="over, but its count still matters"),
        pytest.param(DAY, DAY - 1, True, id="still cooling down"),
    ],
)
def test_forget_past(database: Database, failures: FailureTable, seconds: float, later: float, kept: bool) -> None:
    fail(database, -1, 0, cooldown=Cooldown(seconds))
    database.run(failures.forget_past(ended_by=NOW + later, failed_before=NOW + later - DAY), write=True)
    assert bool(failures.load()) is kept


def limit(database: Database, until: float, now: float, reason: str = "free-models-per-day") -> Any:
    new = LimitRow("free", NOW + until, reason, reason, NOW + now, 429)
    return database.run(FailureTable(database).change_limit("free", lambda old: merged_limit(old, new)), write=True)


def test_the_later_deadline_of_a_limit_wins(database: Database, failures: FailureTable) -> None:
    first = limit(database, 3600, 0)
    row = limit(database, 60, 5, "per-minute")
    assert (row.until, row.reason, row.message, row.updated_at) == (first.until, first.reason, first.message, NOW + 5)
    row = limit(database, 7200, 6, "again")
    assert (row.until, row.reason, row.status) == (NOW + 7200, "again", 429)
    assert failures.limits() == [row]


def test_limits_are_kept_and_cleared_by_scope(database: Database, failures: FailureTable) -> None:
    limit(database, 60, 0)
    stealth = LimitRow("stealth", NOW, "r", "m", NOW, 429)
    database.run(failures.change_limit("stealth", lambda _: stealth), write=True)
    assert [row.scope for row in failures.limits()] == ["free", "stealth"]
    assert failures.clear_limit("free") == 1
    assert [row.scope for row in failures.limits()] == ["stealth"]
    assert failures.clear_limit() == 1


def test_upstream_words_that_no_database_holds_are_made_harmless(database: Database, failures: FailureTable) -> None:
    fail(database, -1, 0, reason="bad \0 and \ud800 " + "x" * 5000)
    [row] = failures.load()
    assert row.reason.startswith("bad  and ? xxx")
    assert len(row.reason) <= 1000


# What the others are told

CHANGES: dict[str, Callable[[FailureTable], Write]] = {
    "a failure": lambda table: table.change(MODEL, lambda old: FailureRow(MODEL, "b", 1, NOW, NOW, "r", None)),
    "a limit": lambda table: table.change_limit("free", lambda old: LimitRow("free", NOW, "r", "m", NOW, 429)),
    "a success": lambda table: table.forget_older(MODEL, NOW),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_raises_the_revision_in_its_own_transaction(
    database: Database, failures: FailureTable, change: Callable[[FailureTable], Write]
) -> None:
    def broken_off(connection: Any) -> None:
        change(failures)(connection)
        raise LookupError

    database.run(change(failures), write=True)
    assert revision(database) == 1
    with pytest.raises(LookupError):
        database.run(broken_off, write=True)
    assert revision(database) == 1
    database.run(change(failures), write=True)
    assert revision(database) == 2


@pytest.mark.parametrize("clear", ["clear", "clear_limit"])
def test_clearing_by_hand_raises_the_revision(database: Database, failures: FailureTable, clear: str) -> None:
    getattr(failures, clear)()
    assert revision(database) == 1


def test_dropping_what_means_nothing_tells_nobody(database: Database, failures: FailureTable) -> None:
    database.run(failures.forget_past(ended_by=NOW, failed_before=NOW), write=True)
    assert revision(database) == 0
