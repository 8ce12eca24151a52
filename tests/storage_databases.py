"""The fixture `database`: a migrated, empty database, once as SQLite and once as PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete

from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.migrate import upgrade
from ollama_proxy.storage.tables import Base


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
    for table in Base.metadata.sorted_tables:
        connection.execute(delete(table))
