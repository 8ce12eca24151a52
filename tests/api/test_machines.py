"""Two servers on one PostgreSQL, as on two machines: what they share, and what they get by without."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from simulator.process import Simulator
from tests.own_postgres import Postgres, postgres
from tests.servers import PATIENCE, ProxyServer, wait_for

__all__ = ["postgres"]

BEST = "nimbus/cirrus-ultra:free"

#: Seconds that the database is away.
OUTAGE = 10.0


@pytest.fixture
def machines(start_proxy: Callable[..., ProxyServer], postgres: Postgres) -> list[ProxyServer]:
    """Two servers, started at the same moment on an empty database: one migrates it, the other waits."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _: start_proxy(database_url=postgres.url, free_requests_per_minute=0), range(2)))


def gauge(server: ProxyServer, name: str) -> float:
    """A value of a server's /metrics."""
    found = re.search(rf"(?m)^ollama_proxy_{name} (\S+)$", server.get("/metrics").text)
    assert found is not None
    return float(found[1])


def status(server: ProxyServer) -> str:
    return str(server.get("/health/ready").json()["status"])


class Load:
    """Clients that chat with all servers, one request after the other, until told to stop."""

    def __init__(self, servers: list[ProxyServer]) -> None:
        self._over = threading.Event()
        self.last_lines: list[Any] = []
        self.slowest = 0.0
        self._threads = [threading.Thread(target=self._run, args=(server,)) for server in servers for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _run(self, server: ProxyServer) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                line: Any = json.loads(list(server.chat(stream=True).iter_lines())[-1])
            except Exception as error:
                line = repr(error)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.last_lines.append(line)

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)


def test_a_failure_seen_by_one_machine_is_known_to_the_other(machines: list[ProxyServer], simulator: Simulator) -> None:
    simulator.scenario(BEST, error_name="pool_429", times=1)
    assert machines[0].chat().status_code == 200
    wait_for(lambda: gauge(machines[1], "cooling_models") == 1, what="the other machine knows")
    assert machines[1].chat().headers["X-OpenRouter-Model"] != BEST
    assert len(simulator.chats(model=BEST)) == 1


def test_the_database_dies_under_load_and_comes_back(
    machines: list[ProxyServer], simulator: Simulator, postgres: Postgres
) -> None:
    first, second = machines
    load = Load(machines)
    try:
        wait_for(lambda: len(load.last_lines) > 20, what="the load runs")
        postgres.kill()
        began = time.monotonic()
        for server in machines:
            wait_for(lambda server=server: status(server) == "degraded", what="readiness says degraded")
        simulator.scenario(BEST, error_name="pool_429", times=1)
        wait_for(lambda: max(gauge(s, "cooling_models") for s in machines) == 1, what="one machine remembers by itself")
        known = {server: gauge(server, "cooling_models") for server in machines}
        assert sorted(known.values()) == [0, 1]
        time.sleep(max(0.0, OUTAGE - (time.monotonic() - began)))
        postgres.start()
        for server in machines:
            wait_for(lambda server=server: status(server) == "ready", what="readiness says ready")
        wait_for(lambda: all(gauge(s, "cooling_models") == 1 for s in machines), what="both know what one has learned")
    finally:
        load.stop()
    assert [line for line in load.last_lines if not (isinstance(line, dict) and line.get("done") is True)] == []
    assert load.slowest < 3
    assert [row[0] for row in postgres.ask("SELECT model FROM model_failures")] == [BEST]
    # The ledger has waited for the database: each request is counted. (The log keeps the newest thousands only.)
    count = "SELECT sum(requests) FROM usage_hourly"
    wait_for(lambda: postgres.ask(count) == [(len(load.last_lines),)], what="all requests are in the log")
    for server in (first, second):
        # Said when it went away, not with each request: once for reading, once for writing.
        assert 1 <= server.log().count("database postgresql") <= 4


def test_a_persona_of_one_machine_is_known_to_the_other_also_while_the_database_is_away(
    machines: list[ProxyServer], postgres: Postgres
) -> None:
    first, second = machines
    body = {"model": "mario", "from": "ember-4", "system": "You are Mario.", "stream": False}
    assert first.post("/api/create", body).ok
    wait_for(lambda: "mario:latest" in second.get("/api/tags").text, what="the other machine knows", seconds=2)
    assert second.post("/api/create", {**body, "model": "luigi", "from": "mario"}).ok
    assert first.post("/api/create", {**body, "model": "peach", "from": "luigi"}).ok, "who writes reads first"
    postgres.kill()
    for server in machines:
        assert server.chat("mario").headers["X-OpenRouter-Model"] == "tidal/ember-4:free"
        answer = server.post("/api/create", {**body, "system": "changed"})
        assert answer.status_code == 503
        assert answer.json() == {"error": "the database does not answer now: try again"}
    postgres.start()
    wait_for(lambda: second.post("/api/create", {**body, "system": "changed"}).ok, what="it can be written again")
    shown = lambda: first.post("/api/show", {"model": "mario"}).json()["system"]  # noqa: E731
    wait_for(lambda: shown() == "changed", what="the other machine knows the change")


def test_a_machine_that_is_killed_leaves_nothing_locked(
    machines: list[ProxyServer], simulator: Simulator, postgres: Postgres, start_proxy: Callable[..., ProxyServer]
) -> None:
    dying, living = machines
    simulator.scenario(BEST, tokens=4, reasoning=False, hold="gate", hold_at=2, times=1)
    lines = dying.chat(stream=True).iter_lines(chunk_size=None)
    next(lines)
    os.killpg(dying.process.pid, signal.SIGKILL)
    dying.process.wait(PATIENCE)
    assert simulator.chats(outcome="client_gone", wait=PATIENCE)
    # The other one goes on reading and writing, and blames nobody.
    assert gauge(living, "cooling_models") == 0
    simulator.scenario(BEST, error_name="pool_429", times=1)
    assert living.chat().status_code == 200
    assert gauge(living, "cooling_models") == 1
    # A successor migrates (under the advisory lock), loads the model list, and knows the failure.
    began = time.monotonic()
    successor = start_proxy(database_url=postgres.url)
    assert time.monotonic() - began < 10
    assert successor.chat().headers["X-OpenRouter-Model"] != BEST
    held = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    assert postgres.ask(held) == [(0,)]
    assert postgres.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
