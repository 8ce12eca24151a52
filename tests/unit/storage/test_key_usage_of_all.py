"""What all keys used, in one statement; on both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from ollama_proxy.ledger.key_counting import AllUsed, KeyCounting
from ollama_proxy.ledger.key_windows import windows_at
from ollama_proxy.storage.database import Database
from ollama_proxy.storage.key_usage_table import USE, Counts, KeyUsageTable
from tests.postgres import postgres_url
from tests.storage_databases import database

__all__ = ["database", "postgres_url"]

NOW = 1_795_500_000.0  # 2026-11-24, in UTC


def row(key_id: int, period: str, requests: int) -> dict[str, Any]:
    return {
        "key_id": key_id, "period": period, "requests": requests, "free_requests": 1, "tokens_in": 2, "tokens_out": 3,
        "microusd": 4, "estimated": 0,
    }  # fmt: skip


def test_day_month_and_last_day_of_every_key(database: Database) -> None:
    today, month, minute = (getattr(windows_at(NOW), name) for name in ("day", "month", "minute"))
    rows = [
        *(row(1, period, n) for n, period in enumerate((minute, today, "d2026-11-02", month, "m2026-10"), 10)),
        *(row(2, period, n) for n, period in enumerate(("d2026-11-03", "d2026-10-30", month, "m2026-10"), 20)),
        *(row(3, period, n) for n, period in enumerate(("d2026-09-30", "m2026-09"), 30)),
        row(4, minute, 40),
    ]
    database.run(lambda connection: connection.execute(insert(USE), rows), write=True)
    counting = KeyCounting(KeyUsageTable(database), at_once=None, with_ledger=None, on_lost=print, on_awaited=print)  # type: ignore[arg-type]

    def counts(requests: int) -> Counts:
        return Counts(requests, 1, 2, 3, 4, 0)

    assert counting.used_by_all(windows_at(NOW)) == {
        1: AllUsed(counts(11), counts(13), "2026-11-24"),
        2: AllUsed(Counts(), counts(22), "2026-11-03"),
        3: AllUsed(Counts(), Counts(), "2026-09-30"),
    }
