"""One caller's bad requests do not take the models from the others: over sockets, several processes, both databases."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import requests

from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureTable
from simulator.process import Simulator
from tests.postgres import new_database, postgres_url
from tests.servers import ProxyServer, wait_for

__all__ = ["postgres_url"]

KEYS = {"poisoner": "key-of-the-poisoner", "other": "key-of-the-other"}
SETTINGS: dict[str, Any] = {"proxy_api_keys": ",".join(KEYS.values()), "free_requests_per_minute": 0, "ready": False}


@pytest.fixture(params=["two workers, SQLite", "two servers, PostgreSQL"])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, simulator: Simulator
) -> Iterator[tuple[list[ProxyServer], str]]:
    """The servers, and the address of the database that they share."""
    if request.param == "two workers, SQLite":
        url = f"sqlite:///{tmp_path / 'poison.db'}"
        with ProxyServer(tmp_path, simulator.url, web_concurrency=2, database_url=url, **SETTINGS) as proxy:
            yield [proxy], url
        return
    url = new_database(request.getfixturevalue("postgres_url"))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    settings = SETTINGS | {"database_url": url}
    with (
        ProxyServer(tmp_path / "one", simulator.url, **settings) as one,
        ProxyServer(tmp_path / "two", simulator.url, **settings) as two,
    ):
        yield [one, two], url


def chat(proxy: ProxyServer, caller: str, text: str) -> requests.Response:
    body = {"model": "free", "messages": [{"role": "user", "content": text}], "stream": False}
    return proxy.post("/api/chat", body, headers={"Authorization": f"Bearer {KEYS[caller]}"})


def test_twenty_poison_requests_leave_no_row_and_another_caller_is_answered_meanwhile(
    site: tuple[list[ProxyServer], str], simulator: Simulator
) -> None:
    servers, url = site
    simulator.scenario("*", error_name="502", only_for="poison")
    turns = cycle(servers)
    for number in range(20):
        assert chat(next(turns), "poisoner", f"poison {number}").status_code in (502, 503)
        answer = chat(next(turns), "other", f"good {number}")
        assert (answer.status_code, answer.headers["X-Proxy-Attempts"]) == (200, "1")
    table = FailureTable(Database(sqlalchemy_url(url, "")))
    assert table.load() == []


def test_a_model_that_is_down_is_known_to_all_after_one_good_request(
    site: tuple[list[ProxyServer], str], simulator: Simulator
) -> None:
    servers, url = site
    first = chat(servers[0], "poisoner", "who is first?").headers["X-OpenRouter-Model"]
    simulator.scenario(first, error_name="502")
    turns = cycle(servers)
    for number in range(3):
        assert chat(next(turns), "poisoner", f"good {number}").headers["X-OpenRouter-Model"] != first
    table = FailureTable(Database(sqlalchemy_url(url, "")))
    rows = wait_for(table.load, what="the failure is in the table")  # it is written behind the requests
    assert [row.model for row in rows] == [first]
    assert rows[0].count <= 2, "each of the two processes may have found out by itself"
