"""The fixture `database`: a migrated, empty database, as SQLite and as PostgreSQL. And one that misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete

from ollama_proxy.fallback.cooldown import Cooldown, merged
from ollama_proxy.storage.database import Database, StorageUnavailable, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureRow, FailureTable
from ollama_proxy.storage.migrate import upgrade
from ollama_proxy.storage.tables import all_tables


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """The same test on both databases: the module that uses this also imports `postgres_url`."""
    text = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    url = sqlalchemy_url(text, tmp_path)
    upgrade(url)
    found = Database(url)
    # The tests of a session share one PostgreSQL database; a SQLite file is new every time.
    found.run(_empty, write=True)
    yield found
    found.dispose()


def _empty(connection: Connection) -> None:
    for table in all_tables().sorted_tables:
        connection.execute(delete(table))


def record_failure(
    database: Database,
    model: str,
    *,
    began_at: float,
    now: float,
    blame: str = "failing",
    reason: str = "502",
    cooldown: Cooldown = Cooldown(300, multiply=True),  # noqa: B008 - it is frozen
    record_digest: str | None = None,
) -> FailureRow:
    """File a failure at once; what is remembered of the model then."""
    new = FailureRow(model, blame, 0, now, now, reason, record_digest)
    write = FailureTable(database).change(model, lambda old: merged(old, new, cooldown, began_at=began_at))
    found = database.run(write, write=True)
    assert isinstance(found, FailureRow)
    return found


class ScriptedDatabase(Database):
    """A database that notes its transactions, and can be taken away or held up."""

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__(url, **more)
        #: "read" or "write", one for each transaction that was begun.
        self.transactions: list[str] = []
        self.away = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def run(self, fn: Callable[[Connection], Any], *, write: bool = False) -> Any:
        self.transactions.append("write" if write else "read")
        assert self.goes_on.wait(10), "held up for too long"
        if self.away:
            raise StorageUnavailable("away")
        return super().run(fn, write=write)

    def take(self) -> list[str]:
        """The transactions since the last look."""
        taken, self.transactions = self.transactions, []
        return taken
