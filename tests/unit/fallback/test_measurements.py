"""What processes share of what they measure: an injected clock, both databases, and one that can be taken away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from ollama_proxy.fallback.measurements import (
    FORGET_AFTER,
    MOST_WAITING,
    PROBE_AFTER,
    PROBE_FAILING_AFTER,
    SHORTEST_PATIENCE,
    UNMEASURED_PATIENCE,
    WRITE_WITHIN,
    Measurements,
    SharedScores,
    forget,
    stored,
)
from ollama_proxy.fallback.samples import CLOCKS_DIFFER, NOTHING, badness
from ollama_proxy.storage.database import REST_SECONDS, Database
from ollama_proxy.storage.revisions import Revisions
from ollama_proxy.storage.score_table import ScoreTable
from ollama_proxy.storage.write_behind import WriteBehind
from tests.postgres import postgres_url
from tests.servers import wait_for
from tests.storage_databases import ScriptedDatabase, database
from tests.unit.fallback.failures import Clock

__all__ = ["database", "postgres_url"]

SLOW = 10.0
A, B = "a/a:free", "b/b:free"


class Process:
    """The parts of one process that learn together through a database."""

    def __init__(self, url: Any, clock: Clock) -> None:
        self.clock = clock
        self.database = ScriptedDatabase(url)
        self.writes = WriteBehind(self.database, monotonic=clock)
        self.revisions = Revisions(self.database, monotonic=clock)
        queue = self.writes.queue("scores", within=WRITE_WITHIN)
        shared = SharedScores(ScoreTable(self.database), queue, self.revisions)
        self.measured = Measurements(SLOW, shared, clock=clock)

    def request(self) -> None:
        """What a request does at its beginning, once everything that looked has ended."""
        self.revisions.freshen()
        wait_for(lambda: self.revisions._looking is None, what="the look ends")

    def write(self) -> None:
        """What waits is written, as after half a minute."""
        assert self.writes.flush(10)


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Processes:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._url = database._url
        self._clock = clock
        self.table = ScoreTable(database)
        self.made: list[Process] = []

    def __call__(self) -> Process:
        self.made.append(Process(self._url, self._clock))
        return self.made[-1]


@pytest.fixture
def process(database: Database, clock: Clock) -> Iterator[Processes]:
    made = Processes(database, clock)
    yield made
    clock.now += REST_SECONDS
    for one in made.made:
        one.database.away = False
        one.database.goes_on.set()
        one.writes.flush(10)
        one.database.dispose()


def test_the_healthy_path_makes_no_query_and_no_write(process: Processes, clock: Clock) -> None:
    one = process()
    one.request()
    one.database.take()
    for _ in range(250):
        clock.now += 0.1
        one.request()
        one.measured.answered(A, clock.now, first_token=1, tokens=100, seconds=2)
        one.measured.patience(A, clock.now)
    # Only the look at the numbers, once a second, which was there before there were scores.
    assert one.database.take() == ["read"] * 22
    one.write()
    assert one.database.take() == ["write"]


def test_two_processes_learn_together(process: Processes, clock: Clock) -> None:
    one, other = process(), process()
    for _ in range(3):
        one.measured.answered(A, clock.now, first_token=2, tokens=100, seconds=4)
        other.measured.failed(A, clock.now)
    one.write()
    other.write()
    clock.now += 1.5
    for each in (one, other):
        each.request()
        known = each.measured.of(A)
        assert (known.ok, known.failed) == (pytest.approx(3, rel=0.01), pytest.approx(3, rel=0.01))
        assert len(known.recent) == 6
    assert one.measured.of(A).speed == 25


def test_what_is_not_written_yet_is_not_lost_by_a_reload(process: Processes, clock: Clock) -> None:
    one, other = process(), process()
    one.request()
    one.measured.answered(A, clock.now, first_token=2)
    other.measured.failed(B, clock.now)
    other.write()
    clock.now += 1.5
    one.request()
    assert one.measured.of(A).ok == pytest.approx(1, rel=0.01)
    assert one.measured.of(B).failed == pytest.approx(1, rel=0.01)
    one.write()
    clock.now += 1.5
    one.request()
    assert one.measured.of(A).ok == pytest.approx(1, rel=0.01), "counted once, not twice"


def test_a_restart_keeps_what_was_learned(process: Processes, clock: Clock) -> None:
    old = process()
    for _ in range(5):
        old.measured.failed(A, clock.now)
    old.write()
    new = process()
    assert new.measured.of(A) == NOTHING
    new.request()
    assert badness(new.measured.of(A), clock.now, SLOW)
    assert new.measured.version > 0


def test_many_samples_are_one_write_of_many_rows(process: Processes, clock: Clock) -> None:
    one = process()
    for number in range(200):
        one.measured.answered(f"m/{number % 17}:free", clock.now, first_token=1)
    assert one.database.take() == []
    one.write()
    assert one.database.take() == ["write"]
    assert len(process.table.load()) == 17


def test_the_next_samples_have_a_write_of_their_own(process: Processes, clock: Clock) -> None:
    one = process()
    for _ in range(3):
        one.measured.answered(A, clock.now, first_token=1)
        one.write()
    assert one.database.take() == ["write"] * 3
    assert process.table.load()[A].ok == 3


def test_with_the_database_away_it_goes_on_by_itself(process: Processes, clock: Clock) -> None:
    one = process()
    one.request()
    one.database.away = True
    one.measured.answered(A, clock.now, first_token=1)
    assert not one.writes.flush(0.2)
    clock.now += 5
    one.request()
    assert one.measured.of(A).ok == 1
    one.database.away = False
    clock.now += REST_SECONDS
    wait_for(lambda: one.writes.flush(1), what="it is written")
    assert process.table.load()[A].ok == pytest.approx(1)


def test_of_very_many_samples_the_latest_are_written(process: Processes, clock: Clock) -> None:
    one = process()
    for number in range(MOST_WAITING + 500):
        one.measured.answered(A if number < 500 else B, clock.now, first_token=1)
    one.write()
    assert set(process.table.load()) == {B}


def test_what_was_forgotten_by_hand_stays_forgotten(process: Processes, clock: Clock) -> None:
    one = process()
    one.measured.failed(A, clock.now)
    one.measured.failed(B, clock.now)
    one.write()
    one.measured.failed(A, clock.now)  # it has not been written when somebody clears
    clock.now += 1
    assert forget(process.table, clock.now, A) == 1
    clock.now += 1
    one.write()
    one.request()
    assert one.measured.of(A).failed == 0
    assert one.measured.of(B).failed == pytest.approx(1, rel=0.01)
    one.measured.failed(B, clock.now)
    clock.now += 1
    assert forget(process.table, clock.now) == 1
    clock.now += 1
    one.write()
    one.request()
    assert {model for model, known in one.measured.known.items() if known.counted} == set()
    one.measured.answered(B, clock.now, first_token=1)
    one.write()
    assert stored(process.table, clock.now)[B].ok == 1


def test_rows_that_mean_nothing_any_more_are_dropped(process: Processes, clock: Clock) -> None:
    one = process()
    one.measured.failed(A, clock.now)
    one.write()
    clock.now += FORGET_AFTER + 1
    one.measured.failed(B, clock.now)
    one.write()
    assert set(process.table.load()) == {B}


def test_a_clock_that_is_days_ahead_is_not_believed(process: Processes, clock: Clock) -> None:
    ahead = process()
    ahead.measured.failed(A, clock.now + CLOCKS_DIFFER + 60)
    ahead.write()
    assert stored(process.table, clock.now) in ({}, {A: NOTHING})


def test_rows_that_nobody_can_read_are_as_if_they_were_not_there(process: Processes, clock: Clock) -> None:
    one = process()
    one.measured.answered(A, clock.now, first_token=1)
    one.write()
    update = text("UPDATE model_scores SET recent = :nonsense")
    for nonsense in ("", "[1]", '{"a": 1}', "[[1, 2]]", '[["x", 1, 2]]'):
        values = {"nonsense": nonsense}
        Database.run(one.database, lambda connection, given=values: connection.execute(update, given), write=True)
        assert (process.table.load()[A].recent, process.table.load()[A].ok) == ((), 1)


# Without a database


def test_patience() -> None:
    measured = Measurements(SLOW)
    assert measured.patience(A, 100.0) == UNMEASURED_PATIENCE
    assert measured.patience(A, 100.0, waits=True) == UNMEASURED_PATIENCE
    for first in (1.0, 4.0, 6.0):
        measured.answered(A, 100.0, first_token=first)
    assert measured.patience(A, 100.0) == measured.patience(A, 100.0, waits=True) == 12
    for _ in range(15):
        measured.answered(A, 101.0, first_token=0.5)
    assert measured.patience(A, 101.0) == SHORTEST_PATIENCE


@pytest.mark.parametrize(("first", "seconds"), [(9.0, 27.0), (2.0, UNMEASURED_PATIENCE)])
def test_few_and_old_answers_make_patient_where_quality_is_waited_for(first: float, seconds: float) -> None:
    measured = Measurements(SLOW)
    measured.answered(A, 100.0, first_token=first)
    measured.failed(A, 101.0, waited=16.0)
    for now in (102.0, 100.0 + 5 * 3600):
        assert measured.patience(A, now, waits=True) == seconds
        assert measured.patience(A, now) == UNMEASURED_PATIENCE


@pytest.mark.parametrize(("waits", "after"), [(False, PROBE_AFTER), (True, PROBE_FAILING_AFTER)])
def test_a_probe_is_due_some_time_after_the_last_sample_and_once(waits: bool, after: float) -> None:
    measured = Measurements(SLOW)
    for _ in range(5):
        measured.failed(A, 1000.0)
    assert not measured.is_probe_due(A, 1000.0 + after - 1, waits=waits)
    assert measured.is_probe_due(A, 1000.0 + after, waits=waits)
    measured.probing(A, 1000.0 + after)
    assert not measured.is_probe_due(A, 1000.0 + after + 1, waits=waits)


@pytest.mark.parametrize(("first", "anew"), [(2.0, True), (None, True), (12.0, False)])
def test_a_quick_answer_to_a_probe_is_judged_anew(first: float | None, anew: bool) -> None:
    measured = Measurements(SLOW)
    for _ in range(6):
        measured.failed(A, 1000.0)
    measured.answered(A, 1001.0, first_token=first, probe=True)
    assert (measured.of(A).failed == 0) is anew


def test_few_tokens_say_nothing_about_speed() -> None:
    measured = Measurements(SLOW)
    measured.answered(A, 1000.0, first_token=1, tokens=5, seconds=0.001)
    measured.answered(A, 1000.0, first_token=None, tokens=500, seconds=3)
    assert (measured.of(A).speed, measured.of(A).ok) == (None, 2)
