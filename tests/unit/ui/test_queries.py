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
        ("/ui/keys", []),
        ("/ui/personas", []),
        ("/ui/personas/new", []),
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
    assert sorted(table for table in selects if table != "revisions") == tables


def test_keys_are_two_tables_however_many_there_are(tmp_path: Path, app: Flask, selects: list[str]) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/x.db",
        openrouter_api_key="sk-or-none",
        host="127.0.0.1",
        proxy_api_keys=("boss=boss-s3cret-key",),
    )
    client, boss = create_app(settings).test_client(), {"Authorization": "Bearer boss-s3cret-key"}
    for number in range(30):
        made = {"name": f"key{number}", "free_per_day": 5}
        assert client.post("/api/proxy/keys", json=made, headers=boss).status_code == 201
    for path in ("/ui/keys", "/ui/keys/key?name=key7", "/ui/keys/remove?name=key7"):
        looks = []
        for _ in range(3):  # another look brings what this process keeps of the keys up to date, at most once a second
            selects.clear()
            assert client.get(path, headers=boss).status_code == 200
            of_keys = ("api_keys", "key_requirement", "key_usage")
            looks.append(sorted(table for table in selects if table in of_keys))
        assert list(of_keys) in looks, path
