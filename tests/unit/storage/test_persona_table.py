"""The personas: their table and a copy of it: whole rows, limits, how others learn of them; on both databases."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Connection, update

from ollama_proxy.catalog.library import Library, row_of
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.storage.database import Database, StorageUnavailable
from ollama_proxy.storage.persona_table import PERSONAS, NoRoom, PersonaTable
from ollama_proxy.storage.revisions import REVISIONS, Revisions
from tests.postgres import postgres_url
from tests.storage_databases import ScriptedDatabase, database

__all__ = ["database", "postgres_url"]

MARIO = Persona(
    name="Mario:latest",
    base="tidal/ember-4:free",
    system="You are Mario. \u2028 \U0001f344",
    template="{{ .Prompt }}",
    licenses=("MIT", "B\0SD"),
    parameters={"temperature": 0.6, "stop": ["USER:"]},
    messages=({"role": "user", "content": "hi"},),
    digest="a" * 64,
    created=1_800_000_000.25,
    modified=1_800_000_000.25,
    requires="0.14.0",
)


def library(database: Database) -> Library:
    """Another process's library."""
    return Library(PersonaTable(database), Revisions(database))


def test_what_is_saved_is_read_as_it_was(database: Database) -> None:
    writer, reader = library(database), library(database)
    writer.save(MARIO)
    assert writer.current() == reader.current() == {"mario:latest": MARIO}


def test_one_that_is_replaced_keeps_its_spelling_and_its_time_of_creation(database: Database) -> None:
    mine = library(database)
    mine.save(MARIO)
    mine.save(replace(MARIO, name="MARIO:latest", system="It's me.", digest="b" * 64, created=2e9, modified=2e9))
    found = mine.current()["mario:latest"]
    assert (found.name, found.system, found.created, found.modified) == ("Mario:latest", "It's me.", MARIO.created, 2e9)


def test_what_a_process_writes_is_known_to_it_at_once_and_to_others_at_their_next_look(database: Database) -> None:
    mine, now = library(database), [0.0]
    others = Library(PersonaTable(database), Revisions(database, monotonic=lambda: now[0]))
    assert others.current() == mine.current() == {}
    mine.save(MARIO)
    assert list(mine.current()) == ["mario:latest"]
    assert others.current() == {}, "its last look is not a second old"
    now[0] = 1.1
    assert list(others.current()) == ["mario:latest"]
    assert mine.remove("mario")
    assert mine.current() == {}
    assert not mine.remove("mario")


def test_a_look_for_a_request_finds_what_was_written_a_moment_ago(database: Database) -> None:
    mine, others = library(database), library(database)
    assert others.current() == {}
    mine.save(MARIO)
    others.look(time.monotonic())
    assert list(others.current()) == ["mario:latest"]


def test_while_nothing_was_read_nobody_can_say_that_a_name_is_no_personas(database: Database) -> None:
    away = ScriptedDatabase(database.url)
    away.away = True
    mine = library(away)
    with pytest.raises(StorageUnavailable):
        mine.look(time.monotonic())
    away.away = False
    mine.reload()
    away.away = True
    mine.look(time.monotonic())
    away.dispose()


def test_what_did_not_move_is_not_read_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    table = PersonaTable(database)
    mine = Library(table, Revisions(database))
    mine.save(MARIO)
    before = mine.current()
    with monkeypatch.context() as patched:
        patched.setattr(table, "load", lambda: pytest.fail("it reads all rows"))
        assert mine.latest() is before
    library(database).save(replace(MARIO, name="luigi:latest"))
    assert list(mine.latest()) == ["luigi:latest", "mario:latest"]


def test_the_copy_is_a_value_and_what_did_not_change_is_the_same_object(database: Database) -> None:
    mine = library(database)
    mine.save(MARIO)
    before = mine.current()
    mine.save(replace(MARIO, name="luigi:latest"))
    assert list(before) == ["mario:latest"]
    assert mine.current()["mario:latest"] is before["mario:latest"]


def test_an_older_reading_never_takes_the_place_of_a_newer_one(database: Database) -> None:
    table = PersonaTable(database)
    mine = Library(table, Revisions(database))
    old = table.load()
    mine.save(MARIO)
    mine._take(old)
    assert list(mine.current()) == ["mario:latest"]


def test_a_database_from_a_backup_is_read_although_its_numbers_are_lower(database: Database) -> None:
    mine = library(database)
    for number in range(3):
        mine.save(replace(MARIO, name=f"m{number}:latest"))

    def restore(connection: Connection) -> None:
        connection.execute(PERSONAS.delete())
        connection.execute(update(REVISIONS).values(revision=1))

    database.run(restore, write=True)
    mine.reload()
    assert mine.current() == {}


def test_only_so_many_and_so_much(database: Database) -> None:
    table, row = PersonaTable(database), row_of(MARIO)
    put = partial(table.put, most=2, most_bytes=2 * row.size)
    put(row)
    put(row._replace(key="luigi:latest", name="luigi:latest"))
    put(row)
    with pytest.raises(NoRoom, match="2 models"):
        put(row._replace(key="peach:latest"))
    with pytest.raises(NoRoom, match="KB in all"):
        put(row._replace(size=row.size + 1))
    assert [found.key for found in table.load().rows] == ["luigi:latest", "mario:latest"]


def test_fifty_parallel_writes_and_deletes_leave_one_whole_state(database: Database) -> None:
    processes = [library(database) for _ in range(4)]

    def act(number: int) -> None:
        mine = processes[number % 4]
        if number % 3:
            mine.save(replace(MARIO, system=f"{number}", template=f"{number}", digest=f"{number:064}"))
        else:
            mine.remove("mario")

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(act, range(50)))
    for mine in processes:
        mine.reload()
    states = [mine.current() for mine in processes]
    assert all(state == states[0] for state in states)
    for persona in states[0].values():
        assert persona.system == persona.template == str(int(persona.digest))


def test_with_the_database_away_what_is_known_stays_known_and_nothing_is_written(database: Database) -> None:
    away = ScriptedDatabase(database.url)
    mine = library(away)
    mine.save(MARIO)
    away.away = True
    with pytest.raises(StorageUnavailable):
        mine.save(replace(MARIO, name="luigi:latest"))
    with pytest.raises(StorageUnavailable):
        mine.remove("mario")
    assert mine.current() == {"mario:latest": MARIO}
    away.away = False
    mine.reload()
    assert mine.current() == {"mario:latest": MARIO}
    away.dispose()


@pytest.mark.parametrize("broken", [{"licenses": "{"}, {"parameters": "[]"}, {"messages": "[1]"}])
def test_a_row_that_cannot_be_read_is_left_out(database: Database, broken: dict[str, str]) -> None:
    mine = library(database)
    mine.save(MARIO)
    mine.save(replace(MARIO, name="luigi:latest"))
    change = update(PERSONAS).where(PERSONAS.c.key == "luigi:latest").values(**broken)
    database.run(lambda connection: connection.execute(change), write=True)
    fresh = library(database)
    assert list(fresh.current()) == ["mario:latest"]
