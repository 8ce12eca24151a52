"""What processes know of each other's changes: how often it is asked, who is told, and what a slow database delays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ollama_proxy.storage.database import REST_SECONDS, Database, StorageUnavailable, sqlalchemy_url
from ollama_proxy.storage.migrate import upgrade
from ollama_proxy.storage.revisions import AT_ONCE_SECONDS, PATIENCE, REVISIONS, Revisions, moved
from tests.postgres import postgres_url
from tests.servers import wait_for
from tests.storage_databases import ScriptedDatabase, database

__all__ = ["database", "postgres_url"]


class Clock:
    """Monotonic seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Part:
    """A part of the process that keeps a copy of something."""

    def __init__(self) -> None:
        self.reloads = 0
        self.error: Exception | None = None

    def reload(self) -> None:
        self.reloads += 1
        if self.error is not None:
            raise self.error


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = sqlalchemy_url("", tmp_path_factory.mktemp("revisions"))
    upgrade(made)
    return made


@pytest.fixture
def scripted(url: str) -> Iterator[ScriptedDatabase]:
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
def revisions(scripted: ScriptedDatabase, clock: Clock) -> Revisions:
    return Revisions(scripted, monotonic=clock)


def raise_number(scripted: ScriptedDatabase, name: str) -> None:
    """As another process does."""
    Database.run(scripted, lambda connection: moved(connection, name), write=True)


def look(revisions: Revisions) -> None:
    """As a request does; and waits for the end of it, which a request does not."""
    revisions.freshen()
    wait_for(lambda: revisions._looking is None, what="the look ends")


def test_it_asks_once_a_second_and_only_when_somebody_comes(
    revisions: Revisions, scripted: ScriptedDatabase, clock: Clock
) -> None:
    part = Part()
    revisions.subscribe("a", part.reload)
    for tenth in range(10):
        clock.now = tenth / 10
        look(revisions)
    assert (scripted.take(), part.reloads) == (["read"], 1)
    clock.now = 3600.0
    assert scripted.take() == []
    look(revisions)
    assert (scripted.take(), part.reloads) == (["read"], 1)


def test_a_request_can_know_all_that_was_written_before_it_came(
    revisions: Revisions, scripted: ScriptedDatabase, clock: Clock
) -> None:
    part = Part()
    revisions.subscribe("a", part.reload)
    clock.now = 5.0
    revisions.freshen_since(5.0)
    revisions.freshen_since(4.9)  # it came before the look that there was
    assert (scripted.take(), part.reloads) == (["read"], 1)
    raise_number(scripted, "a")
    clock.now = 5.2
    revisions.freshen()
    assert part.reloads == 1
    revisions.freshen_since(5.2)
    assert (scripted.take()[-1], part.reloads) == ("read", 2)


def test_a_look_that_began_too_early_is_not_enough(
    revisions: Revisions, scripted: ScriptedDatabase, clock: Clock
) -> None:
    scripted.goes_on.clear()
    with ThreadPoolExecutor(2) as threads:
        threads.submit(revisions.freshen)
        wait_for(lambda: scripted.transactions, what="the look has begun")
        clock.now = 0.9
        waiting = threads.submit(revisions.freshen_since, 0.5)
        scripted.goes_on.set()
        waiting.result()
    assert scripted.take() == ["read", "read"]


def test_a_flood_of_such_requests_makes_few_looks(scripted: ScriptedDatabase) -> None:
    revisions = Revisions(scripted)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: revisions.freshen_since(time.monotonic()), range(40)))
    seconds = time.monotonic() - began
    assert 0 < len(scripted.take()) <= 1 + seconds / AT_ONCE_SECONDS


def test_who_subscribed_to_what_has_moved_is_told_and_nobody_else(
    revisions: Revisions, scripted: ScriptedDatabase, clock: Clock
) -> None:
    a, b, both = Part(), Part(), Part()
    for name, part in (("a", a), ("b", b), ("a", both), ("b", both)):
        revisions.subscribe(name, part.reload)
    look(revisions)
    raise_number(scripted, "b")
    raise_number(scripted, "never heard of")
    clock.now = 2.0
    look(revisions)
    assert (a.reloads, b.reloads, both.reloads) == (1, 2, 3)
    clock.now = 4.0
    look(revisions)
    assert (a.reloads, b.reloads, both.reloads) == (1, 2, 3)


def test_a_number_that_went_back_has_moved_too(revisions: Revisions, scripted: ScriptedDatabase, clock: Clock) -> None:
    """An older copy of the database file was put in place."""
    part = Part()
    revisions.subscribe("a", part.reload)
    for _ in range(3):
        raise_number(scripted, "a")
    look(revisions)
    scripted.run(lambda connection: connection.execute(REVISIONS.update().values(revision=1)), write=True)
    clock.now = 2.0
    look(revisions)
    assert part.reloads == 2


def test_a_change_made_while_it_reads_is_seen_with_the_next_look(
    revisions: Revisions, scripted: ScriptedDatabase, clock: Clock
) -> None:
    """The copy is as old as the beginning of its reading, whatever time the reading took."""
    part = Part()
    revisions.subscribe("a", part.reload)
    scripted.goes_on.clear()
    revisions.freshen()  # its patience ends, the reading goes on
    clock.now = 0.9
    scripted.goes_on.set()
    wait_for(lambda: revisions._looking is None, what="the look ends")
    raise_number(scripted, "a")
    clock.now = 1.1
    look(revisions)
    assert part.reloads == 2


def test_a_copy_is_reloaded_after_a_while_without_any_word(revisions: Revisions, clock: Clock) -> None:
    part, other = Part(), Part()
    revisions.subscribe("a", part.reload, at_least_every=5)
    revisions.subscribe("a", other.reload)
    for second in range(11):
        clock.now = second * 1.01
        look(revisions)
    assert (part.reloads, other.reloads) == (3, 1)


def test_a_look_that_hangs_delays_nobody_for_long_and_is_the_only_one(
    revisions: Revisions, scripted: ScriptedDatabase
) -> None:
    scripted.goes_on.clear()
    threads = [threading.Thread(target=revisions.freshen) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10 * PATIENCE)
        assert not thread.is_alive()
    began = time.monotonic()
    for _ in range(20):
        revisions.freshen()  # it hangs on: who comes now does not wait for it
    assert time.monotonic() - began < 10 * PATIENCE
    assert scripted.take() == ["read"]


def test_a_request_that_comes_while_another_one_looks_waits_for_the_news(
    revisions: Revisions, scripted: ScriptedDatabase
) -> None:
    part = Part()
    revisions.subscribe("a", part.reload)
    scripted.goes_on.clear()
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(lambda: (revisions.freshen(), part.reloads)[1]) for _ in range(2)]
        wait_for(lambda: scripted.transactions, what="the look has begun")
        scripted.goes_on.set()
        assert [one.result() for one in waiting] == [1, 1]


def test_a_database_that_is_away_is_left_alone_for_a_while(
    revisions: Revisions, scripted: ScriptedDatabase, clock: Clock
) -> None:
    part = Part()
    revisions.subscribe("a", part.reload)
    scripted.away = True
    look(revisions)
    assert scripted.take() == ["read"]
    clock.now = REST_SECONDS - 0.1
    look(revisions)
    assert scripted.take() == []
    scripted.away = False
    clock.now = REST_SECONDS
    look(revisions)
    assert (scripted.take(), part.reloads) == (["read"], 1)


def test_a_reload_that_meets_a_database_gone_away_is_made_again(revisions: Revisions, clock: Clock) -> None:
    part = Part()
    part.error = StorageUnavailable("away")
    revisions.subscribe("a", part.reload)
    look(revisions)
    part.error = None
    clock.now = REST_SECONDS
    look(revisions)
    assert part.reloads == 2


def test_a_mistake_in_one_part_is_said_once_and_keeps_nobody_else_from_the_news(
    scripted: ScriptedDatabase, clock: Clock
) -> None:
    warnings: list[str] = []
    revisions = Revisions(scripted, on_warning=warnings.append, monotonic=clock)
    broken, part = Part(), Part()
    broken.error = ZeroDivisionError("a secret")
    revisions.subscribe("a", broken.reload)
    revisions.subscribe("b", part.reload)
    for second in range(3):
        clock.now = second * 1.01
        look(revisions)
    assert (broken.reloads, part.reloads) == (3, 1)
    assert warnings == ["a could not be reloaded: ZeroDivisionError"]


def test_parallel_changes_each_count(database: Database) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: database.run(lambda connection: moved(connection, "a"), write=True), range(40)))
    assert database.run(lambda connection: connection.execute(REVISIONS.select()).all()) == [("a", 40)]
