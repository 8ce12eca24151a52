"""The stored model list and its lease, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from ollama_proxy.storage.catalog_table import CatalogTable, StoredCatalog
from ollama_proxy.storage.database import Database, StorageUnavailable
from tests.postgres import postgres_url
from tests.storage_databases import database

__all__ = ["database", "postgres_url"]

NOW = 1_800_000_000.0


@pytest.fixture
def catalog(database: Database) -> CatalogTable:
    return CatalogTable(database)


def test_nothing_saved_is_none(catalog: CatalogTable) -> None:
    assert catalog.load() is None
    assert catalog.revision() == 0


def test_a_lease_alone_is_no_copy(catalog: CatalogTable) -> None:
    assert catalog.acquire_lease("a", NOW, 60)
    assert catalog.load() is None
    assert catalog.revision() == 0


def test_what_is_saved_comes_back_in_order_and_unchanged(catalog: CatalogTable) -> None:
    chat = [
        {"id": "z/last", "name": "é \u2028 \ud800 \0", "pricing": {"prompt": "0.0000001"}, "big": 2**70, "none": None},
        {"id": "a/first", "created": 1.5},
    ]
    embeddings = [{"id": "e/mbed"}, {"id": "a/first", "kind": "in both lists"}]
    assert catalog.save(chat, embeddings, fetched_at=NOW, source="/models/user") == 1
    assert catalog.load() == StoredCatalog(chat, embeddings, NOW, "/models/user", 1)
    assert catalog.revision() == 1


def test_a_save_replaces_all(catalog: CatalogTable) -> None:
    catalog.save([{"id": "a"}, {"id": "b", "v": 1}, {"id": "c"}], [{"id": "e"}], fetched_at=NOW, source="/models")
    new = [{"id": "c"}, {"id": "b", "v": 2}, {"id": "d"}]
    assert catalog.save(new, [], fetched_at=NOW + 1, source="/models") == 2
    assert catalog.load() == StoredCatalog(new, [], NOW + 1, "/models", 2)


def test_an_id_that_leaves_one_list_stays_in_the_other(catalog: CatalogTable) -> None:
    catalog.save([{"id": "a"}], [{"id": "a"}], fetched_at=NOW, source="/models")
    catalog.save([], [{"id": "a"}], fetched_at=NOW, source="/models")
    assert catalog.load() == StoredCatalog([], [{"id": "a"}], NOW, "/models", 2)


def test_of_two_records_with_one_id_the_first_stays(catalog: CatalogTable) -> None:
    catalog.save([{"id": "a", "v": 1}, {"id": "a", "v": 2}], [], fetched_at=NOW, source="/models")
    stored = catalog.load()
    assert stored is not None
    assert stored.chat == [{"id": "a", "v": 1}]


def test_rows_that_did_not_change_are_not_written(catalog: CatalogTable, database: Database) -> None:
    records = [{"id": str(i), "v": 0} for i in range(50)]
    catalog.save(records, [], fetched_at=NOW, source="/models")
    written: list[object] = []

    def note(conn: object, cursor: object, statement: str, parameters: object, context: object, many: bool) -> None:
        if statement.startswith("INSERT INTO catalog_models"):
            written.append(parameters)

    engine = database.run(lambda connection: connection.engine)
    event.listen(engine, "before_cursor_execute", note)
    catalog.save(records, [], fetched_at=NOW, source="/models")
    assert written == []
    catalog.save([{**records[0], "v": 1}, *records[1:]], [], fetched_at=NOW, source="/models")
    assert len(written) == 1
    assert '"v":1' in str(written[0])
    assert '"v":0' not in str(written[0])


def test_a_save_that_fails_leaves_the_last_good_copy(catalog: CatalogTable) -> None:
    catalog.save([{"id": "a"}], [], fetched_at=NOW, source="/models")
    with pytest.raises(StorageUnavailable):
        catalog.save([{"id": "b"}, {"id": "no database holds \ud800"}], [], fetched_at=NOW + 1, source="/models")
    assert catalog.load() == StoredCatalog([{"id": "a"}], [], NOW, "/models", 1)


def test_lease(catalog: CatalogTable) -> None:
    assert catalog.acquire_lease("a", NOW, 60), "the first one gets it"
    assert not catalog.acquire_lease("b", NOW + 59, 60), "another waits while it lasts"
    assert catalog.acquire_lease("a", NOW + 59, 60), "the holder renews it"
    assert not catalog.acquire_lease("b", NOW + 61, 60), "the renewed one lasts longer"
    assert catalog.acquire_lease("b", NOW + 119, 60), "one that ran out can be taken"
    catalog.release_lease("a")
    assert not catalog.acquire_lease("a", NOW + 120, 60), "who lost it cannot give it back"
    catalog.release_lease("b")
    assert catalog.acquire_lease("a", NOW + 120, 60), "one that was given back can be taken at once"


@pytest.mark.parametrize(
    ("ahead", "taken"),
    [
        pytest.param(0, False, id="the same clock: it holds"),
        pytest.param(30, False, id="half a minute ahead: clocks differ, it holds"),
        pytest.param(3600, True, id="an hour ahead: not believed"),
        pytest.param(365 * 86_400, True, id="a year ahead: not believed"),
    ],
)
def test_a_lease_of_a_clock_that_was_ahead(catalog: CatalogTable, ahead: float, taken: bool) -> None:
    assert catalog.acquire_lease("a", NOW + ahead, 60)
    assert catalog.acquire_lease("b", NOW, 60) is taken
    assert catalog.acquire_lease("c", NOW + 60 + ahead * (not taken), 60), "no longer than clocks may differ"


def test_a_save_keeps_the_lease_and_a_lease_keeps_the_copy(catalog: CatalogTable) -> None:
    catalog.acquire_lease("a", NOW, 60)
    catalog.save([{"id": "a"}], [], fetched_at=NOW, source="/models")
    assert not catalog.acquire_lease("b", NOW, 60)
    catalog.release_lease("a")
    assert catalog.acquire_lease("b", NOW, 60)
    assert catalog.revision() == 1


def test_only_one_of_many_gets_the_lease(catalog: CatalogTable) -> None:
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda i: catalog.acquire_lease(f"p{i}", NOW, 60), range(16)))
    assert got.count(True) == 1


def test_parallel_saves_each_count_and_leave_one_whole_list(catalog: CatalogTable) -> None:
    lists = [[{"id": f"{n}/{i}"} for i in range(20)] for n in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda records: catalog.save(records, [], fetched_at=NOW, source="/models"), lists))
    stored = catalog.load()
    assert stored is not None
    assert stored.revision == 6
    assert stored.chat in lists
