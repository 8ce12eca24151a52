"""Leases: who gets one, when it can be taken from its holder, and two who ask at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ollama_proxy.storage.database import Database
from ollama_proxy.storage.leases import CLOCKS_DIFFER, Leases
from tests.postgres import postgres_url
from tests.storage_databases import database

__all__ = ["database", "postgres_url"]

NOW = 1_800_000_000.0


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database)


def test_one_holder_at_a_time(leases: Leases) -> None:
    assert leases.acquire("a", "one", now=NOW, seconds=10)
    assert not leases.acquire("a", "two", now=NOW + 9, seconds=10)
    assert leases.acquire("a", "one", now=NOW + 9, seconds=10), "it is renewed"
    assert not leases.acquire("a", "two", now=NOW + 18, seconds=10)
    assert leases.acquire("a", "two", now=NOW + 19, seconds=10), "its holder may be dead"
    assert leases.acquire("b", "one", now=NOW + 19, seconds=10), "each name is a lease of its own"


def test_one_that_is_given_back_can_be_taken(leases: Leases) -> None:
    assert leases.acquire("a", "one", now=NOW, seconds=10)
    leases.release("a", "two")
    assert not leases.acquire("a", "two", now=NOW, seconds=10), "nobody gives back another's"
    leases.release("a", "one")
    assert leases.acquire("a", "two", now=NOW, seconds=10)


def test_one_of_a_wrong_clock_means_nothing(leases: Leases) -> None:
    assert leases.acquire("a", "ahead", now=NOW + CLOCKS_DIFFER, seconds=10)
    assert not leases.acquire("a", "two", now=NOW, seconds=10)
    assert leases.acquire("a", "two", now=NOW - 1, seconds=10)


def test_of_those_who_ask_at_once_one_gets_it(leases: Leases) -> None:
    with ThreadPoolExecutor(8) as pool:
        got = pool.map(lambda n: leases.acquire("a", f"holder {n}", now=NOW, seconds=10), range(40))
        assert sorted(got) == [False] * 39 + [True]


def test_ended_ones_are_forgotten(leases: Leases, database: Database) -> None:
    leases.acquire("a", "one", now=NOW, seconds=10)
    leases.acquire("b", "one", now=NOW, seconds=20)
    leases.forget_ended(NOW + 10)
    assert leases.acquire("a", "two", now=NOW, seconds=10)
    assert not leases.acquire("b", "two", now=NOW, seconds=10)
