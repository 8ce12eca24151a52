"""The keeper, on an injected clock, with a table in memory that several keepers may share."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.catalog.filters import Filters
from ollama_proxy.catalog.keeper import MOST_RECORDS, CatalogKeeper, FetchedCatalog
from ollama_proxy.catalog.snapshot import NameKind
from ollama_proxy.config import Settings
from ollama_proxy.storage.catalog_table import StoredCatalog
from ollama_proxy.storage.database import StorageUnavailable
from tests.unit.catalog.personas import library, persona
from tests.unit.catalog.test_records import record
from tests.unit.catalog.test_snapshot import embedding

START = 1_000_000.0
TTL = 15 * 60.0


class Table:
    """What the table of the database does, in memory. `away` makes every call fail."""

    def __init__(self) -> None:
        self.stored: StoredCatalog | None = None
        self.lease: tuple[str, float] | None = None
        self.away = False

    def _check(self) -> None:
        if self.away:
            raise StorageUnavailable("away")

    def load(self) -> StoredCatalog | None:
        self._check()
        return self.stored

    def save(self, chat: Any, embeddings: Any, *, fetched_at: float, source: str) -> int:
        self._check()
        assert all(one["id"] for one in [*chat, *embeddings])
        revision = self.stored.revision + 1 if self.stored else 1
        self.stored = StoredCatalog(list(chat), list(embeddings), fetched_at, source, revision)
        return revision

    def revision(self) -> int:
        self._check()
        return self.stored.revision if self.stored else 0

    def acquire_lease(self, holder: str, now: float, seconds: float) -> bool:
        self._check()
        if self.lease is not None and self.lease[0] != holder and self.lease[1] > now:
            return False
        self.lease = (holder, now + seconds)
        return True

    def release_lease(self, holder: str) -> None:
        self._check()
        if self.lease is not None and self.lease[0] == holder:
            self.lease = None


class World:
    """A clock, an upstream and a table; `keeper()` makes one process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now, self.day = START, date(2026, 8, 22)
        self.table = Table()
        self.chat: Any = [record("acme/bolt:free"), record("acme/nut:free")]
        self.embeddings: Any = [embedding("acme/embed:free")]
        self.error: Exception | None = None
        self.fetches = 0
        self.events: list[tuple[str, Any]] = []

    def fetch(self) -> FetchedCatalog:
        self.fetches += 1
        if self.error is not None:
            raise self.error
        return FetchedCatalog(self.chat, self.embeddings, "/models")

    def keeper(self, **changes: Any) -> CatalogKeeper:
        options = {
            "fetch": self.fetch,
            "table": self.table,
            "filters": Filters.load(None, self.directory),
            "clock": lambda: self.now,
            "today": lambda: self.day,
            "on_event": lambda name, fields: self.events.append((name, fields)),
        }
        return CatalogKeeper(Settings(), **{**options, **changes})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def free(keeper: CatalogKeeper) -> list[str]:
    catalog = keeper.current()
    assert catalog is not None
    return [model.id for model in catalog.free]


BOTH = ["acme/bolt:free", "acme/nut:free"]


def test_the_first_refresh_gives_a_catalogue_and_stores_it(world: World) -> None:
    keeper = world.keeper()
    assert keeper.current() is None
    assert keeper.last_error
    assert keeper.wait_ready(0) is False
    assert keeper.refresh_if_due()
    assert free(keeper) == BOTH
    assert keeper.wait_ready(0)
    assert keeper.last_error is None
    assert world.table.stored
    assert world.table.stored.fetched_at == START
    assert world.table.lease is None, "given back"


def test_a_start_without_copy_and_network_says_why(world: World) -> None:
    world.error = OSError("OpenRouter cannot be reached:\n no route")
    keeper = world.keeper()
    assert keeper.load_stored() is False
    assert keeper.refresh_if_due() is False
    assert keeper.current() is None
    assert keeper.last_error == "OpenRouter cannot be reached: no route"
    assert world.table.lease is None, "given back after a failure too"


def test_a_start_without_network_serves_the_stored_copy(world: World) -> None:
    world.keeper().refresh_if_due()
    world.now += 86_400
    world.error = OSError("no route")
    later = world.keeper()
    assert later.load_stored()
    assert later.refresh_if_due() is False
    assert free(later) == BOTH
    assert later.last_error == "no route"


def test_it_refreshes_when_the_ttl_is_over_and_not_before(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.now += TTL - 1
    keeper.refresh_if_due()
    assert world.fetches == 1
    world.now += 1
    world.chat = [record("acme/nut:free"), record("acme/new:free")]
    assert keeper.refresh_if_due()
    assert free(keeper) == ["acme/new:free", "acme/nut:free"]
    name, fields = world.events[-1]
    assert name == "catalog.refreshed"
    assert (fields["joined"], fields["left"]) == (["acme/new:free"], ["acme/bolt:free"])


@pytest.mark.parametrize(("age", "fetches"), [(59, 0), (60, 1)])
def test_at_the_start_only_a_copy_of_the_last_minute_counts_as_fresh(world: World, age: float, fetches: int) -> None:
    world.keeper().refresh_if_due()
    world.now += age
    keeper = world.keeper()
    keeper.load_stored()
    keeper.refresh_if_due()
    assert world.fetches == 1 + fetches


def test_failed_refreshes_are_retried_later_and_later_up_to_the_ttl(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.now += TTL
    world.error = OSError("down")
    pauses = []
    for _ in range(10):
        before = world.fetches
        keeper.refresh_if_due()
        assert world.fetches == before + 1
        pause = world.events[-1][1]["retry_seconds"]
        pauses.append(pause)
        world.now += pause - 0.5
        keeper.refresh_if_due()
        assert world.fetches == before + 1, "not before its time"
        world.now += 0.5
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert free(keeper) == BOTH
    world.error = None
    assert keeper.refresh_if_due()
    assert keeper.last_error is None


@pytest.mark.parametrize(
    "chat", [[], None, {}, [{"id": None}], ["x"], [record("acme/x:batch")], [embedding("acme/embed")]]
)
def test_an_absurd_list_does_not_replace_a_good_copy(world: World, chat: Any) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.chat = chat
    world.now += TTL
    assert keeper.refresh_if_due() is False
    assert free(keeper) == BOTH
    assert "no models" in (keeper.last_error or "")
    assert world.table.stored
    assert len(world.table.stored.chat) == 2


def test_junk_records_are_neither_listed_nor_stored(world: World) -> None:
    world.chat = [*world.chat, "x", {"name": "no id"}, {"id": 3}]
    keeper = world.keeper()
    assert keeper.refresh_if_due()
    assert world.table.stored
    assert len(world.table.stored.chat) == 2


def test_of_an_endless_list_only_so_many_models_are_read(world: World) -> None:
    world.chat = [record(f"v/m{number}:free") for number in range(MOST_RECORDS + 1000)]
    keeper = world.keeper()
    assert keeper.refresh_if_due()
    catalog = keeper.current()
    assert catalog is not None
    assert world.table.stored
    assert len(world.table.stored.chat) == MOST_RECORDS


def test_embedding_models_stay_when_their_list_did_not_come(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.embeddings = None
    world.now += TTL
    assert keeper.refresh_if_due()
    catalog = keeper.current()
    assert catalog
    assert [model.id for model in catalog.embeddings] == ["acme/embed:free"]


def test_one_process_fetches_and_the_other_picks_it_up(world: World) -> None:
    first, second = world.keeper(), world.keeper()
    first.refresh_if_due()
    assert second.refresh_if_due(), "at its first look"
    assert world.fetches == 1
    world.now += TTL
    world.chat = [record("acme/new:free")]
    first.refresh_if_due()
    world.now += 5
    assert second.refresh_if_due()
    assert free(second) == ["acme/new:free"]
    assert world.fetches == 2


def test_a_process_waits_while_another_one_holds_the_lease(world: World) -> None:
    world.table.acquire_lease("another", world.now, 60)
    keeper = world.keeper()
    assert keeper.refresh_if_due() is False
    assert world.fetches == 0
    world.now += 60
    assert keeper.refresh_if_due(), "a dead holder's lease runs out"


def test_a_copy_stored_between_the_look_and_the_lease_is_not_fetched_again(world: World) -> None:
    first, second = world.keeper(), world.keeper()
    acquire = world.table.acquire_lease

    def slow(holder: str, now: float, seconds: float) -> bool:
        world.table.acquire_lease = acquire  # type: ignore[method-assign]
        assert first.refresh_if_due()
        return acquire(holder, now, seconds)

    world.table.acquire_lease = slow  # type: ignore[method-assign]
    assert second.refresh_if_due()
    assert world.fetches == 1
    assert free(second) == BOTH


@pytest.mark.parametrize("away", [True, False])
def test_without_a_database_it_works_from_memory(world: World, away: bool) -> None:
    world.table.away = True
    keeper = world.keeper() if away else world.keeper(table=None)
    assert keeper.load_stored() is False
    assert keeper.refresh_if_due()
    assert free(keeper) == BOTH
    world.now += TTL
    assert keeper.refresh_if_due()
    assert world.fetches == 2


def test_many_calls_for_a_refresh_make_one(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.now += 1
    for _ in range(5):
        keeper.request_refresh()
    assert keeper.refresh_if_due()
    assert keeper.refresh_if_due() is False
    assert world.fetches == 2
    world.now += 29
    keeper.request_refresh()
    assert keeper.refresh_if_due() is False, "at most one in 30 seconds"
    world.now += 1
    assert keeper.refresh_if_due(), "but it is not forgotten"
    assert world.fetches == 3


def test_a_call_for_a_refresh_is_met_by_another_process(world: World) -> None:
    first, second = world.keeper(), world.keeper()
    first.refresh_if_due()
    second.refresh_if_due()
    world.now += 10
    second.request_refresh()
    first.request_refresh()
    first.refresh_if_due()
    world.now += 1
    assert second.refresh_if_due()
    assert second.refresh_if_due() is False
    assert world.fetches == 2


def test_a_failed_forced_refresh_falls_back_to_the_retry_times(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.error = OSError("down")
    world.now += 1
    keeper.request_refresh()
    keeper.refresh_if_due()
    keeper.refresh_if_due()
    assert world.fetches == 2
    world.error = None
    world.now += 5
    assert keeper.refresh_if_due()


def test_a_forgotten_model_is_back_when_a_later_list_shows_it(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.now += 10
    keeper.forget("acme/bolt:free")
    assert free(keeper) == ["acme/nut:free"]
    (world.directory / "models-filter.txt").write_text("!other")
    world.now += 2
    assert free(keeper) == ["acme/nut:free"], "a rebuild does not bring it back"
    world.now += TTL
    keeper.refresh_if_due()
    assert free(keeper) == BOTH


def test_an_older_list_of_another_process_does_not_bring_a_forgotten_model_back(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.now += 10
    keeper.forget("acme/bolt:free")
    world.table.save(world.chat, [], fetched_at=world.now - 1, source="/models")
    assert keeper.refresh_if_due()
    assert free(keeper) == ["acme/nut:free"]


def test_filter_files_are_followed_and_looked_at_once_a_second(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    assert free(keeper) == BOTH
    (world.directory / "models-filter.txt").write_text("nut")
    world.now += 0.5
    assert free(keeper) == BOTH
    world.now += 0.5
    assert free(keeper) == ["acme/nut:free"]


def test_an_absurd_list_does_not_hide_a_change_of_the_filter(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.chat = []
    world.now += TTL
    (world.directory / "models-filter.txt").write_text("nut")
    keeper.refresh_if_due()
    assert free(keeper) == ["acme/nut:free"]


def test_an_expired_model_leaves_at_midnight_without_a_refresh(world: World) -> None:
    world.chat = [record("acme/bolt:free", expiration_date="2026-08-22"), record("acme/nut:free")]
    keeper = world.keeper()
    keeper.refresh_if_due()
    assert free(keeper) == BOTH
    world.day = date(2026, 8, 23)
    world.now += 1
    assert free(keeper) == ["acme/nut:free"]


def test_a_clock_that_is_put_back_does_not_stop_refreshes(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    world.now -= 86_400
    assert keeper.refresh_if_due()
    assert free(keeper) == BOTH


@pytest.mark.parametrize(
    ("ahead", "fetches"),
    [
        pytest.param(30, 0, id="clocks differ: the copy is as good as new"),
        pytest.param(3600, 1, id="an hour ahead: nobody knows how old it is, a new one is due"),
        pytest.param(365 * 86_400, 1, id="a year ahead: the same"),
    ],
)
def test_a_stored_copy_from_the_future(world: World, ahead: float, fetches: int) -> None:
    world.now += ahead
    world.keeper().refresh_if_due()
    world.now -= ahead
    later = world.keeper()
    assert later.load_stored()
    catalog = later.current()
    assert catalog is not None
    assert catalog.fetched_at == world.now, "no copy is newer than now"
    later.refresh_if_due()
    assert world.fetches == 1 + fetches
    world.now += TTL
    later.refresh_if_due()
    assert world.fetches == 2 + fetches, "and it goes on as ever"


def test_two_machines_whose_clocks_differ_do_not_fetch_in_turns(world: World) -> None:
    skew = 0.0
    right, ahead = world.keeper(), world.keeper(clock=lambda: world.now + skew)
    right.refresh_if_due()
    ahead.refresh_if_due()
    skew = 7200.0
    ahead.refresh_if_due()
    before = world.fetches
    for _ in range(int(TTL / 6)):
        world.now += 6
        right.refresh_if_due()
        ahead.refresh_if_due()
    assert world.fetches <= before + 2


def test_a_clock_put_back_lets_a_forgotten_model_return(world: World) -> None:
    keeper = world.keeper()
    world.now += 365 * 86_400
    keeper.refresh_if_due()
    keeper.forget("acme/bolt:free")
    world.now -= 365 * 86_400
    assert keeper.refresh_if_due()
    assert free(keeper) == BOTH


def test_current_is_the_same_object_between_changes(world: World) -> None:
    keeper = world.keeper()
    keeper.refresh_if_due()
    first = keeper.current()
    world.now += 60
    assert keeper.current() is first


def test_the_catalogue_follows_personas_and_keeps_them_over_a_refresh(world: World) -> None:
    there = library(persona("mario:latest", "acme/bolt:free"))
    keeper = world.keeper(personas=lambda: there)
    keeper.refresh_if_due()
    first = keeper.current()
    assert first.resolve("mario").model.id == "acme/bolt:free"
    assert keeper.current() is first
    there = library(persona("luigi:latest", "acme/nut:free"))
    second = keeper.current()
    assert second is not first
    assert first.resolve("luigi").kind is NameKind.UNKNOWN
    keeper.forget("acme/bolt:free")
    assert [keeper.current().resolve(name).persona is not None for name in ("mario", "luigi")] == [False, True]


def test_the_thread_loads_first_then_refreshes_and_outlives_mistakes(world: World) -> None:
    world.keeper().refresh_if_due()
    world.now += 120
    stop = threading.Event()
    seen: list[list[str]] = []

    def fetch() -> FetchedCatalog:
        seen.append(free(keeper))
        stop.set()
        return FetchedCatalog([record("acme/new:free")], [], "/models")

    def broken_then_held_then_free(_holder: str, _now: float, _seconds: float) -> bool:
        calls.append(1)
        keeper.request_refresh()  # so that the loop does not wait for its next second
        if len(calls) == 1:
            raise ZeroDivisionError("a mistake")
        return len(calls) > 2

    def hurrying_clock() -> float:
        world.now += 10
        return world.now

    calls: list[int] = []
    world.table.acquire_lease = broken_then_held_then_free  # type: ignore[method-assign]
    keeper = world.keeper(fetch=fetch, clock=hurrying_clock)
    keeper.run(stop)
    assert len(calls) == 3
    assert seen == [BOTH], "the stored copy was there before the fetch"
    assert free(keeper) == ["acme/new:free"]
    assert ("catalog.refresh_failed", {"error": "ZeroDivisionError: a mistake", "retry_seconds": 5}) in world.events


def test_without_any_copy_a_lease_is_not_waited_for_long(world: World) -> None:
    """Its holder may have died between the fetch and the save; a server without models is of no use."""
    world.table.acquire_lease("another", world.now, 90)
    keeper = world.keeper()
    assert not keeper.refresh_if_due()
    world.now += 4
    assert keeper.refresh_if_due()
    assert keeper.current() is not None
