"""No prompt, answer or key is kept anywhere: all places are searched after a run with marked contents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.ledger_table import LedgerTable
from simulator.process import Simulator
from tests.api.nothing_kept import (
    MARKS,
    PROXY_KEY,
    UPSTREAM_KEY,
    ask_with_marks,
    files,
    marks_in,
    pages,
    scenario,
    tables,
)
from tests.postgres import new_database, postgres_url
from tests.servers import ProxyServer, wait_for

__all__ = ["postgres_url"]

#: What the server shows to whoever may see it.
REPORTS = tuple(f"/api/proxy/{name}" for name in ("status", "models", "failures", "log?limit=500", "usage", "doctor"))
UI = tuple(
    f"/ui{name}"
    for name in (
        *("", "/models", "/requests", "/requests?failed=1", "/requests/live", "/usage"),
        *("/playground", "/connect"),
    )
)
PAGES = (*UI, "/metrics", "/health", "/health/ready", "/api/tags", "/api/ps", "/api/status", "/v1/models", *REPORTS)


@pytest.mark.parametrize(("engine", "log_format"), [("sqlite", "text"), ("postgresql", "json")])
def test_nothing_of_a_request_is_kept(
    start_proxy: Callable[..., ProxyServer],
    simulator: Simulator,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    engine: str,
    log_format: str,
) -> None:
    url = f"sqlite:///{tmp_path / 'kept.db'}"
    if engine == "postgresql":
        url = new_database(request.getfixturevalue("postgres_url"))
    simulator.scenario("*", **scenario())
    # A provider may quote the prompt, the key or the answer in its error.
    quoting = {"error": {"code": 502, "message": " ".join(MARKS.values()), "metadata": {"raw": MARKS["the prompt"]}}}
    simulator.scenario("nimbus/cirrus-ultra:free", status=502, body=quoting, times=1)
    server = start_proxy(
        database_url=url,
        log_format=log_format,
        log_level="debug",
        web_concurrency=2,
        proxy_api_keys=PROXY_KEY,
        openrouter_api_key=UPSTREAM_KEY,
        free_requests_per_minute=0,
        ready=False,
    )
    headers = {"Authorization": f"Bearer {PROXY_KEY}"}
    wait_for(lambda: server.get("/api/tags", headers=headers).ok, what="a catalogue")
    assert ask_with_marks(server) > 15
    database = Database(sqlalchemy_url(url, tmp_path))
    wait_for(lambda: len(LedgerTable(database).newest(1000)) > 30, what="the ledger is written")
    shown = pages(server, PAGES)
    assert all(shown[path].startswith("200 ") for path in (*REPORTS, *UI))
    assert server.terminate() == 0
    stored = tables(database)
    assert {"table request_log", "table usage_hourly", "table account", "table model_failures"} <= stored.keys()
    assert "HTTP 502 provider error" in stored["table request_log"], "a provider has quoted all of it"
    written = files(tmp_path)
    assert any(len(content) > 10_000 for content in written.values())
    assert marks_in({**shown, **stored, **written, "the log": server.log()}) == []
    # The search finds what is there.
    assert marks_in({"a place": f"x {MARKS['the prompt']} {PROXY_KEY.upper()}"}) == [
        "the prompt in a place",
        "the proxy's key in a place",
        "the proxy's key as a model name in a place",
    ]
    database.dispose()
