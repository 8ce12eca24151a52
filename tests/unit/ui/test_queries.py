"""How often a page asks the database: once for each table that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event
from sqlalchemy.engine import Engine

from ollama_proxy import create_app
from ollama_proxy.config import Settings
from ollama_proxy.storage.migrate import upgrade


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/x.db"
    upgrade(url)
    return create_app(Settings(database_url=url, openrouter_api_key="sk-or-none", host="127.0.0.1"))


@pytest.fixture
def selects() -> Iterator[list[str]]:
    """The tables that are read, one entry for each SELECT."""
    found: list[str] = []

    def note(conn: object, cursor: object, statement: str, parameters: object, context: object, many: bool) -> None:
        if statement.startswith("SELECT"):
            found.append(statement.partition("FROM ")[2].split()[0])

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    ("path", "tables"),
    [
        ("/ui", ["in_flight"]),
        ("/ui/now", ["in_flight"]),
        ("/ui/models", []),
        ("/ui/models?order=fast", []),
        ("/ui/requests", ["in_flight", "request_log"]),
        ("/ui/requests/live", ["in_flight", "request_log"]),
        ("/ui/requests?failed=1&caller=a&model=b", ["request_log"]),
        ("/ui/requests?before=1000", ["request_log"]),
        ("/ui/requests/0123", ["request_log"]),
        ("/ui/usage", ["attempt_failures_hourly", "usage_hourly", "usage_hourly", "usage_hourly"]),
        ("/ui/usage?span=30d", ["attempt_failures_hourly", "usage_hourly", "usage_hourly", "usage_hourly"]),
    ],
)
def test_one_query_for_each_table_that_is_shown(app: Flask, selects: list[str], path: str, tables: list[str]) -> None:
    client = app.test_client()
    client.get("/ui")  # what processes share is read once a second at most, by whoever comes first
    selects.clear()
    assert client.get(path).status_code in (200, 404)
    assert sorted(selects) == tables
