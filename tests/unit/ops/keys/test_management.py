"""What is asked of a key, and what is done to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.access.key_texts import fingerprint
from ollama_proxy.errors import BadRequest
from ollama_proxy.ops.keys.management import Actor, KeyExists, KeyManagement, KeyNotFound, unmatched_lines
from ollama_proxy.ops.keys.wishes import columns_of
from ollama_proxy.storage.database import Database, StorageUnavailable, sqlalchemy_url
from ollama_proxy.storage.key_table import KeyTable, StoredKeys
from ollama_proxy.storage.migrate import upgrade
from tests.unit.catalog.test_snapshot import build

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC


@pytest.mark.parametrize(
    ("field", "value", "column", "expected"),
    [
        ("models", ["gpt*", "  !gpt-4o  # not this", ""], "models", "gpt*\n!gpt-4o"),
        ("models", "a\nb", "models", "a\nb"),
        ("models", [], "models", ""),
        ("free_only", True, "free_only", 1),
        ("rpm", 5, "per_minute", 5),
        ("rpm", None, "per_minute", None),
        ("parallel", 1, "parallel", 1),
        ("free_per_day", 0, "free_per_day", 0),
        ("usd_per_day", 1.5, "microusd_per_day", 1_500_000),
        ("usd_per_day", "0.1", "microusd_per_day", 100_000),
        ("usd_per_day", 0.29, "microusd_per_day", 290_000),
        ("usd_per_month", 0, "microusd_per_month", 0),
        ("expires", "2027-01-15", "expires", 1_800_057_600.0),
        ("expires", "2027-01-15T10:00Z", "expires", 1_800_007_200.0),
        ("expires", "2027-01-15T10:00", "expires", 1_800_007_200.0),
        ("expires", "2027-01-15T10:00+01:00", "expires", 1_800_003_600.0),
        ("expires", None, "expires", None),
        ("note", "for the phone", "note", "for the phone"),
    ],
)
def test_a_wish_is_a_column(field: str, value: Any, column: str, expected: Any) -> None:
    assert columns_of({field: value}, NOW) == {column: expected}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("rpm", bad) for bad in (0, -1, 1.5, True, "5", 10**12, [])],
        *[("usd_per_day", bad) for bad in (-1, "x", "NaN", "Infinity", True, 1e9, "1" * 1000, [])],
        *[("expires", bad) for bad in (5, "tomorrow", "2027-13-01", "2027-01-14", "2020-01-01T00:00Z", "9" * 50)],
        *[("models", bad) for bad in (5, [5], ["x" * 201], ["a"] * 201, None)],
        *[("admin", bad) for bad in (1, "yes", None)],
        *[("note", bad) for bad in (5, "a\nb", "x" * 301)],
        ("sha256", "x"),
        ("name", "x"),
    ],
)
def test_a_wish_that_is_refused(field: str, value: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        columns_of({field: value}, NOW)
    assert len(refused.value.message) < 300


@pytest.fixture
def table(tmp_path: Path) -> Iterator[KeyTable]:
    url = sqlalchemy_url("", tmp_path)
    upgrade(url)
    database = Database(url)
    yield KeyTable(database)
    database.dispose()


class Cleared:
    """Stands for the ledger: notes what is cleared."""

    def __init__(self) -> None:
        self.callers: list[tuple[str | None, bool]] = []

    def clear(self, caller: str | None = None, *, usage: bool = False) -> int:
        self.callers.append((caller, usage))
        return 7


ACTOR = Actor("boss", "10.0.0.1")


def managed(table: KeyTable, *taken: str, now: float = NOW) -> tuple[KeyManagement, Cleared]:
    ledger = Cleared()
    return KeyManagement(table, ledger, taken=taken, clock=lambda: now), ledger  # type: ignore[arg-type]


def test_a_key_is_told_once_and_only_its_hash_is_stored(table: KeyTable) -> None:
    keys, _ = managed(table)
    made = keys.add("Anna", {"rpm": 3, "usd_per_day": 0.25}, ACTOR)
    [row] = table.load().rows
    assert row.sha256 == fingerprint(made["key"].encode()).hex()
    assert made["key"].startswith(made["prefix"])
    told = keys.one("ANNA")
    assert told == {name: value for name, value in made.items() if name != "key"}
    assert (told["rpm"], told["usd_per_day"], told["state"]) == (3, 0.25, "active")
    assert made["key"] not in f"{keys.all()} {keys.events(50)} {table.load()}"


def test_after_the_write_nothing_is_read_that_could_fail(table: KeyTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes a key gets its text: it is told this once."""
    keys, _ = managed(table)
    load, answers = table.load, iter([True])

    def once() -> StoredKeys:
        if not next(answers, False):
            raise StorageUnavailable("away")
        return load()

    monkeypatch.setattr(table, "load", once)
    assert keys.add("anna", {}, ACTOR)["name"] == keys.change("anna", {"rpm": 2}, ACTOR)["name"] == "anna"
    with pytest.raises(StorageUnavailable):
        keys.one("anna")


@pytest.mark.parametrize("step", ["the log", "the key"])
def test_a_removal_that_failed_can_be_made_again(table: KeyTable, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A key is not gone before what is recorded of it: a later one of its name would see that."""
    keys, ledger = managed(table)
    keys.add("anna", {}, ACTOR)

    def fails(*_: Any, **__: Any) -> int:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(ledger if step == "the log" else table, "clear" if step == "the log" else "remove", fails)
        with pytest.raises(StorageUnavailable):
            keys.remove("anna", ACTOR)
    assert keys.remove("anna", ACTOR) == {"removed": "anna", "requests": 7}
    assert ledger.callers[-1] == ("anna", True)
    with pytest.raises(KeyNotFound):
        keys.one("anna")


def test_changes_are_written_with_who_and_from_where(table: KeyTable) -> None:
    keys, ledger = managed(table)
    keys.add("anna", {}, ACTOR)
    keys.change("anna", {"rpm": 1, "note": "a secret of mine", "models": ["a", "b"]}, ACTOR)
    keys.change("anna", {"disabled": True}, ACTOR)
    assert keys.one("anna")["state"] == "disabled"
    keys.change("anna", {"disabled": False}, ACTOR)
    assert keys.remove("Anna", ACTOR) == {"removed": "anna", "requests": 7}
    keys.require(ACTOR, required=False)
    found = keys.events(50)["events"]
    assert {(one["by"], one["from"]) for one in found} == {("boss", "10.0.0.1")}
    assert [(one["action"], one["key"], one["detail"]) for one in reversed(found)] == [
        ("added", "anna", ""),
        ("changed", "anna", "rpm: 1, note: …, models: a b"),
        ("disabled", "anna", ""),
        ("enabled", "anna", ""),
        ("removed", "anna", ""),
        ("not required", "", ""),
    ]
    assert ledger.callers == [("anna", True)]


def test_names_that_are_taken_and_keys_that_are_not_there(table: KeyTable) -> None:
    keys, ledger = managed(table, "operator", "key 1")
    keys.add("anna", {}, ACTOR)
    for name in ("ANNA", "Operator"):
        with pytest.raises(KeyExists):
            keys.add(name, {}, ACTOR)
    with pytest.raises(BadRequest):
        keys.add("no name", {}, ACTOR)
    for action in (keys.one, lambda name: keys.remove(name, ACTOR), lambda name: keys.change(name, {"rpm": 1}, ACTOR)):
        with pytest.raises(KeyNotFound) as refused:
            action("opk_pasted")
        assert "opk_pasted" not in refused.value.message
    # The settings got a key of that name later: what is recorded under it is also that one's.
    later, ledger = managed(table, "anna")
    assert later.one("anna")["state"] == "name taken"
    assert later.remove("anna", ACTOR)["requests"] == 0
    assert ledger.callers == []


def test_a_key_expires_by_the_clock(table: KeyTable) -> None:
    managed(table)[0].add("anna", {"expires": "2027-01-15"}, ACTOR)
    assert managed(table, now=1_800_057_599.0)[0].one("anna")["state"] == "active"
    assert managed(table, now=1_800_057_600.0)[0].one("anna")["state"] == "expired"


def test_lines_that_match_nothing_are_told() -> None:
    lines = ["glm*", "no-such", "!nothing-either"]
    assert unmatched_lines(lines, build(free_mode=True)) == ["no-such", "!nothing-either"]
