"""What a process remembers of failures and shares through the table: an injected clock, a scripted table."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ollama_proxy.catalog.records import Model
from ollama_proxy.config import Settings
from ollama_proxy.fallback.memory import DATABASE_REST, LOAD_PATIENCE, FailureMemory
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.storage.database import Database, StorageUnavailable, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureRow, FailureTable, LimitRow
from ollama_proxy.storage.migrate import upgrade
from tests.servers import wait_for
from tests.unit.catalog.free_models import model

START = 1_800_000_000.0
MINUTE, DAY = 60.0, 86_400.0
A = model("a/one:free")
B = model("b/two:free")
SETTINGS = Settings(failure_cooldown_minutes=5, ratelimit_cooldown_minutes=1)


class Clock:
    """Seconds since START that pass only when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def at(self, seconds: float) -> float:
        self.now = START + seconds
        return self.now


class ScriptedTable:
    """The real table, in SQLite, that counts its statements and can be taken away or held up."""

    def __init__(self, table: FailureTable) -> None:
        self._table = table
        self.statements: list[str] = []
        self.away = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def statement(*args: Any, **kwargs: Any) -> Any:
            self.statements.append(name)
            self.goes_on.wait(10)
            if self.away:
                raise StorageUnavailable("away")
            return getattr(self._table, name)(*args, **kwargs)

        return statement

    def take(self) -> list[str]:
        """The statements since the last look."""
        taken, self.statements = self.statements, []
        return taken


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailureTable]:
    url = sqlalchemy_url("", tmp_path_factory.mktemp("memory"))
    upgrade(url)
    database = Database(url)
    yield FailureTable(database)
    database.dispose()


@pytest.fixture
def table(shared: FailureTable) -> ScriptedTable:
    shared.clear()
    shared.clear_limit()
    return ScriptedTable(shared)


def memory_of(table: Any, clock: Clock) -> FailureMemory:
    return FailureMemory(SETTINGS, table, clock=clock, monotonic=clock)


@pytest.fixture
def alone(clock: Clock) -> FailureMemory:
    """A memory without a database."""
    return memory_of(None, clock)


def verdict(blame: Blame = Blame.MODEL_FAILING, *, reason: str = "why", retry_at: float | None = None) -> Verdict:
    return Verdict(blame, 502, "message", reason, retry_at)


def fail(memory: FailureMemory, clock: Clock, at: float, blame: Blame = Blame.MODEL_FAILING, **more: Any) -> None:
    """A failure of A, after an attempt of one second, with its time to retry `retry_in` seconds after it."""
    began = more.pop("began", at - 1)
    which = more.pop("model", A)
    retry_in = more.pop("retry_in", None)
    clock.at(at)
    retry_at = None if retry_in is None else START + at + retry_in
    memory.failed(which, verdict(blame, retry_at=retry_at, **more), began_at=START + began)


def left(memory: FailureMemory, clock: Clock, which: Model = A) -> float | None:
    """Seconds that `which` still cools down."""
    cooling = memory.cooling(which, clock.now)
    return None if cooling is None else cooling.until - clock.now


# The arithmetic, as far as it is about this module


@pytest.mark.parametrize(
    ("blame", "retry_in", "seconds"),
    [
        pytest.param(Blame.MODEL_RATE_LIMIT, None, MINUTE, id="rate limit"),
        pytest.param(Blame.MODEL_RATE_LIMIT, 5, MINUTE, id="rate limit: at least the cooldown"),
        pytest.param(Blame.MODEL_RATE_LIMIT, 600, 600, id="rate limit: until Retry-After"),
        pytest.param(Blame.MODEL_FAILING, None, 5 * MINUTE, id="failing"),
        pytest.param(Blame.MODEL_GONE, None, DAY, id="gone"),
        pytest.param(Blame.PRIVACY, None, DAY, id="privacy"),
        pytest.param(Blame.CAPABILITY, None, None, id="capability"),
        pytest.param(Blame.MODERATION, None, None, id="moderation"),
        pytest.param(Blame.REQUEST, None, None, id="request"),
        pytest.param(Blame.NETWORK, None, None, id="network"),
        pytest.param(Blame.ACCOUNT, None, None, id="account"),
        pytest.param(Blame.ACCOUNT_LIMIT, 600, None, id="account limit"),
    ],
)
def test_who_cools_down(
    alone: FailureMemory, clock: Clock, blame: Blame, retry_in: float | None, seconds: float | None
) -> None:
    fail(alone, clock, 0, blame, retry_in=retry_in)
    assert left(alone, clock) == seconds
    assert left(alone, clock, B) is None


def test_the_cooldown_grows_with_failures_and_ends(alone: FailureMemory, clock: Clock) -> None:
    at = 0.0
    for count in (1, 2, 3, 4, 5, 5):
        fail(alone, clock, at)
        assert left(alone, clock) == count * 5 * MINUTE
        at += count * 5 * MINUTE + 2
        clock.at(at - 2)
        assert left(alone, clock) is None


def test_rate_limits_do_not_make_later_failures_count_more(alone: FailureMemory, clock: Clock) -> None:
    for at in (0, 100, 200):
        fail(alone, clock, at, Blame.MODEL_RATE_LIMIT)
    fail(alone, clock, 300)
    assert left(alone, clock) == 5 * MINUTE


def test_parallel_failures_count_as_one(alone: FailureMemory, clock: Clock) -> None:
    for number in range(50):
        fail(alone, clock, number / 100, began=-1)
    assert left(alone, clock) == 5 * MINUTE
    assert [row.count for row in alone.rows()] == [1]


def test_the_later_deadline_wins_and_keeps_its_reason(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0, Blame.PRIVACY, reason="privacy")
    fail(alone, clock, 10, reason="502")
    cooling = alone.cooling(A, clock.now)
    assert cooling is not None
    assert (cooling.until, cooling.reason, cooling.blame) == (START + DAY, "privacy", "privacy")


@pytest.mark.parametrize(
    ("began", "cleared"),
    [
        pytest.param(11, True, id="began after the failure"),
        pytest.param(10, False, id="began at the same instant"),
        pytest.param(9, False, id="began before it"),
    ],
)
def test_a_success_clears_only_failures_older_than_its_start(
    alone: FailureMemory, clock: Clock, began: float, cleared: bool
) -> None:
    fail(alone, clock, 10)
    clock.at(20)
    alone.succeeded(A, began_at=START + began)
    assert (left(alone, clock) is None) is cleared


def test_after_a_success_the_count_starts_again(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0)
    fail(alone, clock, 400)
    alone.succeeded(A, began_at=START + 1100)
    fail(alone, clock, 1200)
    assert left(alone, clock) == 5 * MINUTE


def test_a_quiet_day_ends_the_count(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0)
    fail(alone, clock, 400)
    fail(alone, clock, 401 + DAY)
    assert left(alone, clock) == 5 * MINUTE


def test_a_gone_model_returns_when_its_own_record_changes(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0, Blame.MODEL_GONE)
    changed = model(A.id, context=4096)
    assert left(alone, clock) == DAY
    assert left(alone, clock, changed) is None
    # And from then on it is judged by what it does now.
    fail(alone, clock, 100, model=changed)
    assert left(alone, clock, changed) == 5 * MINUTE


def test_a_failing_model_does_not_return_with_a_new_record(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0)
    assert left(alone, clock, model(A.id, context=4096)) == 5 * MINUTE


# Limits of the account


@pytest.mark.parametrize(
    ("blame", "retry_in", "for_free", "for_paid"),
    [
        pytest.param(Blame.ACCOUNT_LIMIT, 600, 600, None, id="the free limit is about free models"),
        pytest.param(Blame.ACCOUNT, None, MINUTE, MINUTE, id="the account: everything, for a minute"),
        pytest.param(Blame.UNKNOWN_LIMIT, None, 30, 30, id="an unknown limit: everything, for half a minute"),
        pytest.param(Blame.STEALTH_LIMIT, 600, None, None, id="the stealth limit is no limit of the account"),
        pytest.param(Blame.MODEL_FAILING, None, None, None, id="a failing model is none"),
    ],
)
def test_limits(
    alone: FailureMemory,
    clock: Clock,
    blame: Blame,
    retry_in: float | None,
    for_free: float | None,
    for_paid: float | None,
) -> None:
    fail(alone, clock, 0, blame, retry_in=retry_in)
    for free, seconds in ((True, for_free), (False, for_paid)):
        row = alone.limit(clock.now, free=free)
        assert (None if row is None else row.until - clock.now) == seconds
        assert alone.limit(clock.now + 601, free=free) is None


def test_the_later_limit_wins(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0, Blame.ACCOUNT_LIMIT, retry_in=600, reason="day")
    fail(alone, clock, 1, Blame.ACCOUNT_LIMIT, retry_in=60, reason="minute")
    fail(alone, clock, 2, Blame.ACCOUNT, reason="key")
    row = alone.limit(clock.now, free=True)
    assert row is not None
    assert row.reason == "day"


def test_the_stealth_limit_closes_all_stealth_models_and_no_other(alone: FailureMemory, clock: Clock) -> None:
    one, other = model("stealth/one"), model("stealth/other")
    assert one.is_stealth
    fail(alone, clock, 0, Blame.STEALTH_LIMIT, model=one, retry_in=3600)
    assert (left(alone, clock, one), left(alone, clock, other), left(alone, clock)) == (3600, 3600, None)


# Sharing


def test_a_healthy_process_neither_writes_nor_asks_twice_a_second(table: ScriptedTable, clock: Clock) -> None:
    memory = memory_of(table, clock)
    for tenth in range(10):
        clock.at(tenth / 10)
        memory.freshen()
        memory.cooling(A, clock.now)
        memory.limit(clock.now, free=True)
        memory.succeeded(A, began_at=clock.now)
    assert table.take() == ["load", "limits"]
    clock.at(1.5)
    memory.freshen()
    assert table.take() == ["load", "limits"]


def test_what_one_learns_the_others_know(table: ScriptedTable, clock: Clock) -> None:
    one, other = memory_of(table, clock), memory_of(table, clock)
    fail(one, clock, 0)
    fail(one, clock, 1, Blame.ACCOUNT_LIMIT, retry_in=100)
    wait_for(lambda: "record_limit" in table.statements, what="both are written")
    clock.at(2)
    wait_for(lambda: (other.freshen(), other.limit(clock.now, free=True))[1], what="the other has read it")
    assert left(other, clock) == 5 * MINUTE - 2
    clock.at(400)
    other.succeeded(A, began_at=clock.now)
    wait_for(lambda: "clear_if_older" in table.statements, what="the success is written")
    clock.at(410)
    wait_for(lambda: (one.freshen(), not list(one.rows()))[1], what="the first has read it")


def test_parallel_failures_of_all_processes_count_as_one(table: ScriptedTable, clock: Clock) -> None:
    memories = [memory_of(table, clock) for _ in range(5)]
    for number in range(50):
        fail(memories[number % 5], clock, number / 100, began=-1)
    wait_for(lambda: table.statements.count("record") == 50, what="all are written")
    wait_for(lambda: [row.count for row in table._table.load()] == [1], what="one counted failure")


def test_cleared_by_hand_means_forgotten_within_a_second(table: ScriptedTable, clock: Clock) -> None:
    memory = memory_of(table, clock)
    fail(memory, clock, 0)
    wait_for(lambda: table._table.load(), what="written")
    table.clear()
    clock.at(5)
    wait_for(lambda: (memory.freshen(), left(memory, clock) is None)[1], what="read again")


def test_a_failure_met_while_the_table_is_read_is_not_lost(table: ScriptedTable, clock: Clock) -> None:
    memory = memory_of(table, clock)
    clock.at(0)
    table.goes_on.clear()
    memory.freshen()  # its patience ends, the reading goes on
    fail(memory, clock, 0.5)
    table.goes_on.set()
    wait_for(lambda: "record" in table.statements, what="written after the reading")
    assert left(memory, clock) == 5 * MINUTE


def test_a_table_that_hangs_delays_nobody_for_long_and_is_asked_once(table: ScriptedTable, clock: Clock) -> None:
    memory = memory_of(table, clock)
    table.goes_on.clear()
    started = threading.Event()

    def ask() -> None:
        started.set()
        memory.freshen()

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10 * LOAD_PATIENCE)
        assert not thread.is_alive()
    began = time.monotonic()
    for _ in range(20):
        memory.freshen()  # it hangs on: who comes now does not wait for it
    assert time.monotonic() - began < 10 * LOAD_PATIENCE
    fail(memory, clock, 1)
    memory.succeeded(B, began_at=clock.now)
    assert left(memory, clock) == 5 * MINUTE
    assert table.take() == ["load"]
    table.goes_on.set()


# Without the database


def test_a_lost_database_leaves_memory_to_go_on_and_gets_what_it_missed(table: ScriptedTable, clock: Clock) -> None:
    memory = memory_of(table, clock)
    table.away = True
    memory.freshen()
    wait_for(lambda: memory.degraded, what="it is noticed")
    fail(memory, clock, 1)
    fail(memory, clock, 1.5, Blame.ACCOUNT_LIMIT, retry_in=600)
    fail(memory, clock, 400, model=B)
    memory.succeeded(B, began_at=START + 500)
    fail(memory, clock, 600)
    assert left(memory, clock) == 10 * MINUTE
    assert left(memory, clock, B) is None
    table.away = False
    clock.at(600 + DATABASE_REST + 0.1)
    wait_for(lambda: (memory.freshen(), not memory.degraded)[1], what="it is back")
    assert [(row.model, row.count, row.until) for row in table._table.load()] == [(A.id, 2, START + 600 + 10 * MINUTE)]
    assert [row.scope for row in table._table.limits()] == ["free"]


def test_a_lost_database_is_left_alone_for_a_while(table: ScriptedTable, clock: Clock) -> None:
    memory = memory_of(table, clock)
    table.away = True
    memory.freshen()
    wait_for(lambda: memory.degraded, what="it is noticed")
    table.take()
    clock.at(DATABASE_REST - 0.1)
    memory.freshen()
    fail(memory, clock, DATABASE_REST - 0.1)
    assert table.take() == []
    clock.at(DATABASE_REST + 0.1)
    wait_for(lambda: (memory.freshen(), table.take())[1] == ["record"], what="it is tried again")


def test_what_means_nothing_any_more_is_dropped(table: ScriptedTable, clock: Clock) -> None:
    memory = memory_of(table, clock)
    fail(memory, clock, 0)
    wait_for(lambda: table._table.load(), what="written")
    clock.at(2 * DAY)
    wait_for(lambda: (memory.freshen(), not table._table.load())[1], what="pruned")


def test_without_a_table_nothing_is_asked(alone: FailureMemory, clock: Clock) -> None:
    alone.freshen()
    assert not alone.degraded
    assert list(alone.rows()) == []


def test_rows_from_the_table_are_taken_over_as_they_are(table: ScriptedTable, clock: Clock) -> None:
    table._table.record_limit("account", until=START + 9, reason="r", message="m", status=502, now=START)
    row = table._table.record(
        B.id, blame="model gone", reason="404", began_at=START - 1, now=START, base_seconds=DAY, record_digest="other"
    )
    memory = memory_of(table, clock)
    memory.freshen()
    wait_for(lambda: list(memory.rows()), what="read")
    assert list(memory.rows()) == [row]
    assert isinstance(row, FailureRow)
    assert left(memory, clock, B) is None  # another record than the one it was gone with
    assert memory.limit(START, free=False) == LimitRow("account", START + 9, "r", "m", START, 502)
