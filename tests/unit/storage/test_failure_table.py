"""The failure memory: its arithmetic, and that every change is atomic, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ollama_proxy.storage.database import Database
from ollama_proxy.storage.failure_table import FailureRow, FailureTable
from tests.postgres import postgres_url
from tests.storage_databases import database

__all__ = ["database", "postgres_url"]

NOW = 1_800_000_000.0
DAY = 86_400.0
MODEL = "deepseek/deepseek-chat:free"


@pytest.fixture
def failures(database: Database) -> FailureTable:
    return FailureTable(database)


def fail(table: FailureTable, began: float, now: float, **more: Any) -> FailureRow:
    """A failure of an attempt from NOW + began to NOW + now."""
    given: dict[str, Any] = {"blame": "failing", "reason": "502", "base_seconds": 300, "multiply": True} | more
    return table.record(MODEL, began_at=NOW + began, now=NOW + now, **given)


# Each step: (began, now, more) -> (count, until - NOW, failed_at - NOW) of the row afterwards.
STORIES: dict[str, list[tuple[tuple[float, float, dict[str, Any]], tuple[int, float, float]]]] = {
    "the first failure cools down for the base time": [((-1, 0, {}), (1, 300, 0))],
    "each later failure adds one base time, at most five": [
        ((-1, 0, {}), (1, 300, 0)),
        ((400, 401, {}), (2, 1001, 401)),
        ((1100, 1101, {}), (3, 2001, 1101)),
        ((2100, 2101, {}), (4, 3301, 2101)),
        ((3400, 3401, {}), (5, 4901, 3401)),
        ((5000, 5001, {}), (6, 6501, 5001)),
    ],
    "a rate limit cools down for the base time each time and is not counted": [
        ((-1, 0, {"multiply": False, "base_seconds": 60}), (0, 60, 0)),
        ((100, 101, {"multiply": False, "base_seconds": 60}), (0, 161, 101)),
    ],
    "rate limits between failures leave the count as it is": [
        ((-1, 0, {}), (1, 300, 0)),
        ((400, 401, {"multiply": False, "base_seconds": 60}), (1, 461, 401)),
        ((500, 501, {}), (2, 1101, 501)),
    ],
    "the first failure counts even if its attempt began before a rate limit was met": [
        ((1, 2, {"multiply": False, "base_seconds": 60}), (0, 62, 2)),
        ((-1, 3, {}), (1, 303, 2)),
        ((-1, 4, {}), (1, 304, 2)),
    ],
    "a rate limit after a quiet day ends the count": [
        ((-1, 0, {}), (1, 300, 0)),
        ((1 + DAY, 2 + DAY, {"multiply": False, "base_seconds": 60}), (0, 62 + DAY, 2 + DAY)),
    ],
    "an attempt that began before the last counted failure is not counted": [
        ((-5, 0, {}), (1, 300, 0)),
        ((-4, 10, {}), (1, 310, 0)),
        ((0, 20, {}), (1, 320, 0)),
        ((0.5, 30, {}), (2, 630, 30)),
    ],
    "Retry-After beyond the cooldown wins": [((-1, 0, {"until_at_least": NOW + 7200}), (1, 7200, 0))],
    "Retry-After below the cooldown does not shorten it": [((-1, 0, {"until_at_least": NOW + 2}), (1, 300, 0))],
    "Retry-After counts for a later failure too": [
        ((-1, 0, {}), (1, 300, 0)),
        ((400, 401, {"until_at_least": NOW + 9000}), (2, 9000, 401)),
    ],
    "a known later deadline stays": [
        ((-1, 0, {"base_seconds": DAY, "multiply": False}), (0, DAY, 0)),
        ((10, 11, {"base_seconds": 60, "multiply": False}), (0, DAY, 11)),
    ],
    "a quiet day ends the count": [
        ((-1, 0, {}), (1, 300, 0)),
        ((400, 401, {}), (2, 1001, 401)),
        ((401 + DAY, 402 + DAY, {}), (1, 702 + DAY, 402 + DAY)),
    ],
    "exactly a day is not yet more than a day": [
        ((-1, 0, {}), (1, 300, 0)),
        ((DAY - 1, DAY, {}), (2, DAY + 600, DAY)),
    ],
    "a clock put back never moves the last failure back": [
        ((-1, 0, {}), (1, 300, 0)),
        ((1, -100, {}), (2, 500, 0)),
    ],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_cooldown_arithmetic(failures: FailureTable, story: list[Any]) -> None:
    for (began, now, more), (count, until, failed_at) in story:
        row = fail(failures, began, now, **more)
        assert (row.count, row.until - NOW, row.failed_at - NOW) == (count, until, failed_at)
        assert failures.load() == [row]


def test_the_deadline_that_wins_keeps_its_blame_reason_and_record(failures: FailureTable) -> None:
    gone = fail(failures, -1, 0, blame="gone", reason="404", base_seconds=DAY, multiply=False, record_digest="d1")
    row = fail(failures, 1, 2, blame="rate limit", reason="429", base_seconds=60, multiply=False)
    assert (row.blame, row.reason, row.record_digest, row.until) == ("gone", "404", "d1", gone.until)
    row = fail(failures, 3, 4, blame="failing", reason="502", base_seconds=2 * DAY, multiply=False)
    assert (row.blame, row.reason, row.record_digest) == ("failing", "502", None)


def test_fifty_parallel_failures_count_as_one(failures: FailureTable) -> None:
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda i: fail(failures, -1 - i / 100, i / 100), range(50)))
    [row] = failures.load()
    assert row.count == 1
    assert row.until == pytest.approx(NOW + 300.49)


def test_no_counted_failure_is_lost_between_threads(failures: FailureTable) -> None:
    # Every attempt begins after every failure before it, whatever the order they arrive in.
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda _: fail(failures, 1, 0), range(50)))
    assert failures.load()[0].count == 50


@pytest.mark.parametrize(
    ("began", "cleared"),
    [
        pytest.param(10, True, id="a success that began after the failure clears it"),
        pytest.param(0, False, id="at the same instant it does not"),
        pytest.param(-10, False, id="a success that began before the failure proves nothing"),
    ],
)
def test_success_clears_only_older_failures(failures: FailureTable, began: float, cleared: bool) -> None:
    fail(failures, -1, 0)
    assert failures.clear_if_older(MODEL, NOW + began) is cleared
    assert bool(failures.load()) is not cleared


def test_success_of_another_model_clears_nothing(failures: FailureTable) -> None:
    fail(failures, -1, 0)
    assert failures.clear_if_older("a/b", NOW + 10) is False
    assert len(failures.load()) == 1


def test_after_a_success_the_count_starts_again(failures: FailureTable) -> None:
    fail(failures, -1, 0)
    fail(failures, 1, 2)
    assert failures.clear_if_older(MODEL, NOW + 10)
    assert fail(failures, 20, 21).count == 1


@pytest.mark.parametrize(("which", "left"), [pytest.param("a", ["b"], id="one"), pytest.param(None, [], id="all")])
def test_clear_by_hand(failures: FailureTable, which: str | None, left: list[str]) -> None:
    for model in ("a", "b"):
        failures.record(model, blame="x", reason="y", began_at=NOW, now=NOW, base_seconds=1)
    assert failures.clear(which) == 2 - len(left)
    assert [row.model for row in failures.load()] == left
    assert failures.clear("never seen") == 0


@pytest.mark.parametrize(
    ("base", "later", "kept"),
    [
        pytest.param(300, 2 * DAY, False, id="over and older than a day: dropped"),
        pytest.param(300, DAY / 2, True, id="over, but its count still matters"),
        pytest.param(3 * DAY, 2 * DAY, True, id="old, but still cooling down"),
    ],
)
def test_prune(failures: FailureTable, base: float, later: float, kept: bool) -> None:
    fail(failures, -1, 0, base_seconds=base)
    assert failures.prune(NOW + later) == (not kept)
    assert bool(failures.load()) is kept


def limit(table: FailureTable, until: float, now: float, reason: str = "free-models-per-day") -> Any:
    return table.record_limit("free", until=NOW + until, reason=reason, message=reason, status=429, now=NOW + now)


def test_the_later_deadline_of_a_limit_wins(failures: FailureTable) -> None:
    first = limit(failures, 3600, 0)
    row = limit(failures, 60, 5, "per-minute")
    assert (row.until, row.reason, row.message, row.updated_at) == (first.until, first.reason, first.message, NOW + 5)
    row = limit(failures, 7200, 6, "again")
    assert (row.until, row.reason, row.status) == (NOW + 7200, "again", 429)
    assert failures.limits() == [row]


def test_limits_are_kept_and_cleared_by_scope(failures: FailureTable) -> None:
    limit(failures, 60, 0)
    failures.record_limit("stealth", until=NOW, reason="r", message="m", status=429, now=NOW)
    assert [row.scope for row in failures.limits()] == ["free", "stealth"]
    assert failures.clear_limit("free") == 1
    assert [row.scope for row in failures.limits()] == ["stealth"]
    assert failures.clear_limit() == 1


def test_upstream_words_that_no_database_holds_are_made_harmless(failures: FailureTable) -> None:
    row = fail(failures, -1, 0, reason="bad \0 and \ud800 " + "x" * 5000)
    assert row.reason.startswith("bad  and ? xxx")
    assert len(row.reason) <= 1000
    assert failures.load() == [row]
