"""storage.key_table on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.ops.keys.management import DEFAULTS
from ollama_proxy.storage import key_table
from ollama_proxy.storage.database import Database, StorageUnavailable, sqlalchemy_url
from ollama_proxy.storage.key_table import Event, KeyTable, NameTaken, NoSuchKey, StoredKeys, TooManyKeys
from ollama_proxy.storage.revisions import Revisions
from tests.postgres import postgres_url
from tests.servers import wait_for
from tests.storage_databases import database

__all__ = ["database", "postgres_url"]


def values(name: str, **changes: Any) -> dict[str, Any]:
    made = {"name": name, "folded": name.casefold(), "sha256": f"hash of {name}", "prefix": "opk_", "created": 1.0}
    return {**DEFAULTS, **made, **changes}


def event(action: str = "added", key: str = "anna") -> Event:
    return Event(1.0, "boss", "10.0.0.1", action, key, "all\x00of it")


def test_keys_are_kept_by_name_and_required_from_the_first_one_on(database: Database) -> None:
    table = KeyTable(database)
    assert table.load() == StoredKeys((), None)
    table.add(values("ben"), event())
    table.add(values("Anna", microusd_per_month=2**40, expires=5.5, models="a\nb"), event())
    found = table.load()
    assert found.required is True
    assert [row.name for row in found.rows] == ["Anna", "ben"]
    assert (found.rows[0].microusd_per_month, found.rows[0].expires, found.rows[0].models) == (2**40, 5.5, "a\nb")
    with pytest.raises(NameTaken):
        table.add(values("ANNA", sha256="other"), event())
    table.remove("anna", event("removed"))
    table.remove("ben", event("removed"))
    assert table.load() == StoredKeys((), True), "the last one is gone, and keys stay required"
    table.require(event("not required"), required=False)
    assert table.load() == StoredKeys((), False)
    table.add(values("cleo"), event())
    assert table.load().required is True


def test_a_key_that_is_not_there_cannot_be_changed_and_leaves_no_event(database: Database) -> None:
    table = KeyTable(database)
    for change in (lambda: table.change("anna", {"disabled": 1}, event()), lambda: table.remove("anna", event())):
        with pytest.raises(NoSuchKey):
            change()
    assert table.events(10) == []


def test_an_id_is_never_given_twice(database: Database) -> None:
    table = KeyTable(database)
    ids = []
    for _ in range(3):
        table.add(values("anna"), event())
        ids.append(table.load().rows[0].id)
        table.remove("anna", event("removed"))
    assert len(set(ids)) == 3


def test_every_change_is_told_to_other_processes(database: Database) -> None:
    told: list[int] = []
    now = [0.0]
    revisions = Revisions(database, monotonic=lambda: now[0])
    revisions.subscribe(key_table.NAME, lambda: told.append(1))
    table = KeyTable(database)
    changes = (
        lambda: table.add(values("anna"), event()),
        lambda: table.change("anna", {"disabled": 1}, event()),
        lambda: table.remove("anna", event()),
        lambda: table.require(event(), required=False),
    )
    for number, change in enumerate(changes, 1):
        change()
        now[0] += 2
        revisions.freshen()
        wait_for(lambda n=number: len(told) == n, what="it is told")


def test_events_are_told_by_page_and_the_oldest_go(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_table, "MOST_EVENTS", 5)
    table = KeyTable(database)
    table.add(values("anna"), event())
    for number in range(9):
        table.change("anna", {"note": str(number)}, event(f"changed {number}"))
    first = table.events(3)
    assert [one.action for _, one in first] == ["changed 8", "changed 7", "changed 6"]
    assert [one.action for _, one in table.events(9, before=first[-1][0])] == ["changed 5", "changed 4"]
    assert first[0][1].detail == "allof it"


def test_there_is_a_most_of_keys(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_table, "MOST_KEYS", 2)
    table = KeyTable(database)
    for name in ("a", "b"):
        table.add(values(name), event())
    with pytest.raises(TooManyKeys):
        table.add(values("c"), event())


def test_a_database_that_was_never_migrated_has_no_keys(tmp_path: Path) -> None:
    fresh = Database(sqlalchemy_url("", tmp_path))
    assert KeyTable(fresh).load() == StoredKeys()
    assert KeyTable(fresh).events(10) == []
    fresh.dispose()


@pytest.mark.parametrize(
    ("kind", "is_known"),
    [
        ("nothing, in a folder that cannot be made", True),
        ("a folder", False),
        ("no database", False),
        ("a link that leads nowhere", False),
        ("a URI", False),
    ],
)
def test_only_a_file_that_is_not_there_says_that_there_are_no_keys(tmp_path: Path, kind: str, is_known: bool) -> None:
    """Where keys may be, nobody is served until they are read."""
    file, query = tmp_path / "proxy.db", ""
    match kind:
        case "a folder":
            file.mkdir()
        case "no database":
            file.write_bytes(b"something else, and long enough to be read as a header of a database" * 20)
        case "a link that leads nowhere":
            file.symlink_to(tmp_path / "not" / "mounted.db")
        case _:
            (tmp_path / "file").write_bytes(b"")
            file = tmp_path / "file" / "proxy.db"
    if kind == "a URI":
        query = "?uri=true"
    url = f"sqlite:///{'file:' if query else ''}{file}{query}"
    database = Database(sqlalchemy_url(url, tmp_path))
    try:
        assert KeyTable(database).in_force() == StoredKeys()
        found = True
    except StorageUnavailable:
        found = False
    database.dispose()
    assert found is is_known
    assert database.is_missing is is_known
