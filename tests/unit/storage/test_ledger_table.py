"""storage.ledger_table on both databases: what the database itself adds up."""

from __future__ import annotations

from collections.abc import Sequence

from ollama_proxy.storage.database import Database
from ollama_proxy.storage.ledger_table import (
    FIRST_TOKEN_BOUNDS,
    HOUR,
    HourlyFailures,
    HourlyUsage,
    LedgerTable,
    UsageOver,
    UsageTotals,
)
from tests.postgres import postgres_url
from tests.storage_databases import database

__all__ = ["database", "postgres_url"]

COLUMNS = len(FIRST_TOKEN_BOUNDS) + 1


def filled(database: Database, *rows: HourlyUsage, failures: Sequence[HourlyFailures] = ()) -> LedgerTable:
    table = LedgerTable(database)
    database.run(table.record((), usage=lambda _: rows, failures=failures), write=True)
    return table


def test_totals_of_hours_by_caller_and_by_model(database: Database) -> None:
    first = [1] + [0] * (COLUMNS - 1)
    table = filled(
        database,
        HourlyUsage(0, "old", "m", requests=100),
        HourlyUsage(HOUR, "a", "m", requests=6, whole=3, failed=2, broken=1, attempts=8, microusd=2**40),
        HourlyUsage(2 * HOUR, "a", "n", requests=1, tokens_in=2**40, first_token=first),
        HourlyUsage(2 * HOUR, "b", "m", requests=4, left=3, refused=1, microusd=2**40, first_token=first),
    )
    found = table.usage_totals(HOUR + 1, 20)
    assert found.all == HourlyUsage(
        0, "", "", requests=11, whole=3, failed=2, broken=1, left=3, refused=1, attempts=8, tokens_in=2**40,
        microusd=2**41, first_token=[2, *first[1:]],
    )  # fmt: skip
    assert type(found.all.microusd) is int, "PostgreSQL adds up big integers to a Decimal"
    assert [(row.caller, row.model, row.requests) for row in found.callers] == [("a", "", 7), ("b", "", 4)]
    assert [(row.caller, row.model, row.requests) for row in found.models] == [("", "m", 10), ("", "n", 1)]
    assert found.models[0].microusd == 2**41


def test_totals_name_those_with_the_most_requests(database: Database) -> None:
    rows = [HourlyUsage(0, f"caller {n:02}", f"model {n:02}", requests=1 + n // 10) for n in range(30)]
    found = filled(database, *rows).usage_totals(0, 12)
    assert [row.caller for row in found.callers] == [f"caller {n:02}" for n in [*range(20, 30), 10, 11]]
    assert [row.model for row in found.models] == [f"model {n:02}" for n in [*range(20, 30), 10, 11]]
    assert found.all.requests == 60


def test_totals_of_nothing(database: Database) -> None:
    nothing = HourlyUsage(0, "", "", first_token=[0] * COLUMNS)
    assert LedgerTable(database).usage_totals(0, 20) == UsageTotals(nothing, [], [])


def test_sums_over_time_by_caller_by_model_and_of_failures(database: Database) -> None:
    first = [1] + [0] * (COLUMNS - 1)
    table = filled(
        database,
        HourlyUsage(5 * HOUR, "old", "m", requests=100),
        HourlyUsage(6 * HOUR, "a", "m", requests=3, first_token=first),
        HourlyUsage(11 * HOUR, "b", "m", requests=4, first_token=first),
        HourlyUsage(12 * HOUR, "a", "n", requests=9, microusd=2**40),
        failures=[
            HourlyFailures(5 * HOUR, "m", "network", 50),
            HourlyFailures(6 * HOUR, "m", "model failing", 2),
            HourlyFailures(12 * HOUR, "n", "model failing", 3),
            HourlyFailures(12 * HOUR, "n", "account", 4),
        ],
    )
    found = table.usage_over(6 * HOUR, 6 * HOUR, 20)
    assert [(row.hour, row.requests, row.first_token[0]) for row in found.spans] == [
        (6 * HOUR, 7, 2),
        (12 * HOUR, 9, 0),
    ]
    assert type(found.spans[0].hour) is int
    assert [(row.caller, row.requests) for row in found.callers] == [("a", 12), ("b", 4)]
    assert [(row.model, row.requests) for row in found.models] == [("n", 9), ("m", 7)]
    assert found.blames == [("model failing", 5), ("account", 4)]
    assert table.usage_over(13 * HOUR, 6 * HOUR, 20) == UsageOver([], [], [], [])
