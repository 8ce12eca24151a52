"""Free mode over real processes that share one database: two workers on SQLite, two servers on one PostgreSQL."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import requests

from ollama_proxy.config import Settings
from ollama_proxy.fallback.cooldown import Cooldown
from ollama_proxy.fallback.measurements import forget
from ollama_proxy.fallback.suspicion import suspect_seconds
from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureRow, FailureTable
from ollama_proxy.storage.score_table import ScoreTable
from simulator.process import Simulator
from tests.postgres import new_database, postgres_url
from tests.servers import ROOT, ProxyServer, wait_for
from tests.storage_databases import record_failure

__all__ = ["postgres_url"]

FIRST, SECOND, THIRD = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free", "quarry/schema-12b:free"

#: Seconds after which every process has read again what is remembered.
READ_AGAIN = 1.1

SETTINGS = {
    "failure_cooldown_minutes": 3.5 / 60,
    "ratelimit_cooldown_minutes": 3.5 / 60,
    "first_token_timeout_seconds": 2,
    "heartbeat_seconds": 0.4,
    "ratelimit_wait_seconds": 1.2,
    "free_requests_per_minute": 0,
}


class Site:
    """Processes that share a database; requests go to each server in turn, on new connections."""

    def __init__(self, servers: list[ProxyServer], database_url: str) -> None:
        self.servers = servers
        self.database_url = database_url
        self.database = Database(sqlalchemy_url(database_url, ""))
        self.table = FailureTable(self.database)
        self.scores = ScoreTable(self.database)
        self._turns = cycle(servers)

    def chat(self, model: str = "any", **fields: Any) -> requests.Response:
        """A chat with an unknown name: it means the free models by window, whatever was measured of them."""
        return next(self._turns).chat(model, **fields)

    def answered_by(self) -> str | None:
        """Who answers a chat now."""
        return self.chat().headers.get("X-OpenRouter-Model")

    def rows(self) -> dict[str, FailureRow]:
        return {row.model: row for row in self.table.load()}

    def forget(self) -> None:
        """Clear the tables by hand, and have every process notice."""
        # What a process only suspects is in no table, and nothing tells its end but the time.
        time.sleep(suspect_seconds(Settings(failure_cooldown_minutes=SETTINGS["failure_cooldown_minutes"])))
        # Once more: a process writes what it learns behind its request's back.
        while self.table.clear() + self.table.clear_limit() + forget(self.scores, time.time()):
            self.read_again()

    def read_again(self) -> None:
        """Wait until what is remembered is old in every process, and have each read it again."""
        time.sleep(READ_AGAIN)
        for _ in range(8):
            next(self._turns).get("/health/ready")

    def log(self) -> list[dict[str, Any]]:
        """The lines about requests."""
        lines = "".join(server.log() for server in self.servers).splitlines()
        found = (json.loads(line) for line in lines if line.startswith("{"))
        return [line for line in found if line.get("event") == "request"]

    def flask(self, *arguments: str) -> str:
        """What a command of the command line prints."""
        environment = os.environ | {"DATABASE_URL": self.database_url, "FREE_MODE": "true"}
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def workers(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server with two workers and SQLite."""
    folder = tmp_path_factory.mktemp("workers")
    with ProxyServer(folder, shared_simulator.url, web_concurrency=2, **SETTINGS) as server:
        yield Site([server], f"sqlite:///{folder / 'proxy.db'}")


@pytest.fixture(scope="module")
def servers(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Site]:
    """Two servers, as on two machines, with one PostgreSQL."""
    url = new_database(postgres_url)
    folders: list[Path] = [tmp_path_factory.mktemp("server") for _ in range(2)]
    settings = SETTINGS | {"database_url": url}
    address = shared_simulator.url
    with ProxyServer(folders[0], address, **settings) as one, ProxyServer(folders[1], address, **settings) as two:
        yield Site([one, two], url)


@pytest.fixture(params=["workers", "servers"], ids=["two workers, SQLite", "two servers, PostgreSQL"])
def site(request: pytest.FixtureRequest, simulator: Simulator) -> Iterator[Site]:
    """Both kinds, with nothing remembered before and after."""
    found: Site = request.getfixturevalue(request.param)
    yield found
    found.forget()


@pytest.fixture
def one_site(workers: Site, simulator: Simulator) -> Iterator[Site]:
    """The server with two workers, for what does not depend on how processes share."""
    yield workers
    workers.forget()


def lines_of(response: requests.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.iter_lines()]


def text_of(lines: list[dict[str, Any]]) -> str:
    return "".join(line["message"]["content"] for line in lines)


# What processes share


def test_a_failing_model_is_skipped_by_all_until_its_cooldown_ends_and_a_success_clears_it(
    site: Site, simulator: Simulator
) -> None:
    simulator.scenario(FIRST, error_name="503")
    found = site.chat()
    assert (found.status_code, found.headers["X-OpenRouter-Model"], found.headers["X-Proxy-Attempts"]) == (
        200,
        SECOND,
        "2",
    )
    row = wait_for(lambda: site.rows().get(FIRST), what="the failure is in the table")
    assert (row.count, row.blame) == (1, "model failing")
    site.read_again()
    assert {site.answered_by() for _ in range(10)} == {SECOND}
    assert time.time() < row.until, "too slow to tell"
    assert len(simulator.chats(model=FIRST)) == 1
    simulator.clear(FIRST)
    wait_for(lambda: site.answered_by() == FIRST, what="it is tried again")
    assert time.time() >= row.until
    wait_for(lambda: FIRST not in site.rows(), what="the success has cleared it")


def test_an_account_limit_stops_all_with_one_call_and_lifts_by_itself(site: Site, simulator: Simulator) -> None:
    simulator.scenario("*", error_name="free_per_day", reset_in=4.2, times=1)
    first = site.chat()
    assert (first.status_code, int(first.headers["Retry-After"]) in (4, 5)) == (429, True)
    assert "free-models-per-day" in first.json()["error"]
    wait_for(site.table.limits, what="the limit is in the table")
    site.read_again()
    refused = [site.chat(model) for model in ("free", SECOND, "unknown") * 3]
    assert [response.status_code for response in refused] == [429] * 9
    assert all("resets at" in response.json()["error"] for response in refused)
    assert len(simulator.chats()) == 1
    wait_for(lambda: site.chat().ok, what="it has lifted")
    assert site.rows() == {}


def test_parallel_failures_count_as_one(site: Site, simulator: Simulator) -> None:
    simulator.scenario(FIRST, empty=True, hold="gate")
    with ThreadPoolExecutor(50) as threads:
        chats = [threads.submit(site.chat) for _ in range(50)]
        simulator.log(model=FIRST, holding="gate", minimum=50, wait=1.5)
        simulator.release("gate")
        assert {chat.result().status_code for chat in chats} == {200}
    wait_for(lambda: FIRST in site.rows(), what="the failures are in the table")
    time.sleep(0.3)  # the last of them, too
    assert site.rows()[FIRST].count == 1
    assert len(simulator.chats(model=FIRST)) >= 25


def test_a_gone_model_leaves_at_once_and_the_list_is_fetched_once(site: Site, simulator: Simulator) -> None:
    at_start = len(simulator.log(path="/models/user"))  # the servers may just have begun
    simulator.scenario(FIRST, error_name="404_no_endpoints")
    assert site.answered_by() == SECOND
    wait_for(lambda: len(simulator.log(path="/models/user")) > at_start, what="the list is fetched")
    site.read_again()
    assert {site.answered_by() for _ in range(6)} == {SECOND}
    assert len(simulator.chats(model=FIRST)) == 1
    assert len(simulator.log(path="/models/user")) == at_start + 1


# One process is enough


def test_a_bad_request_cools_nothing(one_site: Site, simulator: Simulator) -> None:
    simulator.queue(FIRST, {"error_name": "400_models_array"}, {"error_name": "413"}, {"error_name": "403_patterns"})
    assert [one_site.chat().status_code for _ in range(3)] == [400, 413, 400]
    assert one_site.answered_by() == FIRST
    assert (one_site.rows(), len(simulator.chats())) == ({}, 4)


def test_a_prompt_that_providers_refuse_goes_to_three_and_cools_none(one_site: Site, simulator: Simulator) -> None:
    simulator.scenario("*", error_name="400_provider")
    assert one_site.chat().status_code == 400
    assert len(simulator.chats()) == 3
    assert one_site.rows() == {}


def silent_then_limited(simulator: Simulator) -> None:
    simulator.scenario(FIRST, silence=30, comment_every=0.1)
    simulator.scenario(SECOND, error_name="pool_429")


def test_a_stream_goes_on_behind_heartbeats(one_site: Site, simulator: Simulator) -> None:
    silent_then_limited(simulator)
    began = time.monotonic()
    response = one_site.chat(stream=True)
    until_headers = time.monotonic() - began
    lines = lines_of(response)
    assert response.status_code == 200
    assert until_headers < 1.9  # before the first candidate was given up
    assert "X-OpenRouter-Model" not in response.headers  # nobody knew
    first_text = next(place for place, line in enumerate(lines) if line["message"].get("content"))
    assert first_text >= 3
    assert text_of(lines).endswith("You said: hello")
    assert THIRD in text_of(lines)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert [entry["model"] for entry in simulator.chats()] == [FIRST, SECOND, THIRD]


def test_without_a_stream_nothing_is_sent_before_the_result_and_the_status_is_true(
    one_site: Site, simulator: Simulator
) -> None:
    silent_then_limited(simulator)
    found = one_site.chat()
    assert (found.status_code, found.headers["X-OpenRouter-Model"], found.headers["X-Proxy-Attempts"]) == (
        200,
        THIRD,
        "3",
    )
    assert found.json()["message"]["content"].endswith("You said: hello")
    one_site.forget()
    for model in (FIRST, SECOND):
        simulator.clear(model)
    simulator.scenario("*", error_name="503")
    refused = one_site.chat()
    assert refused.status_code == 503
    assert "none of the models tried answered" in refused.json()["error"]
    assert len(simulator.chats()) == 3 + 5


def test_the_chain_of_models_is_logged(one_site: Site, simulator: Simulator) -> None:
    simulator.scenario(FIRST, error_name="pool_429", times=1)
    request_id = one_site.chat(text="a secret of mine").headers["X-Request-Id"]
    line = wait_for(
        lambda: next((line for line in one_site.log() if line["request_id"] == request_id), None), what="the line"
    )
    assert line["tried"] == f"{FIRST} (rate limited upstream), {SECOND}"
    assert (line["asked"], line["model"], line["status"]) == ("any", SECOND, 200)
    assert "secret" not in one_site.servers[0].log()


def test_a_minute_limit_that_resets_soon_is_waited_for(one_site: Site, simulator: Simulator) -> None:
    simulator.scenario("*", error_name="free_per_min", reset_in=1, times=1)
    response = one_site.chat(stream=True)
    lines = lines_of(response)
    assert (response.status_code, lines[-1]["done"]) == (200, True)
    assert text_of(lines).endswith("You said: hello")
    assert [bool(line["message"].get("content")) for line in lines[:2]] == [False, False]  # heartbeats
    times = [entry["t_start"] for entry in simulator.chats()]
    assert len(times) == 2
    assert 0.5 < times[1] - times[0] < 4


@pytest.mark.parametrize(
    "where",
    [
        pytest.param({"before_headers": True}, id="before upstream's headers"),
        pytest.param({"hold_at": 0}, id="before the first delta"),
        pytest.param({"hold_at": 3}, id="in the middle"),
    ],
)
def test_a_client_that_leaves_closes_upstream_and_blames_nobody(
    one_site: Site, simulator: Simulator, where: dict[str, Any]
) -> None:
    simulator.scenario(FIRST, hold="gate", **where, times=1)
    body = json.dumps({"model": "free", "messages": [{"role": "user", "content": "hello"}]}).encode()
    with socket.create_connection(("127.0.0.1", one_site.servers[0].port)) as client:
        client.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert simulator.log(holding="gate", wait=5)
    left_at = time.time()
    [entry] = simulator.log(outcome="client_gone", wait=5)
    assert entry["t_end"] - left_at < 1
    assert [sent["model"] for sent in simulator.chats()] == [FIRST]
    assert one_site.answered_by() == FIRST
    assert one_site.rows() == {}


PATHS = {
    "/api/chat": {"messages": [{"role": "user", "content": "call everything"}]},
    "/api/generate": {"prompt": "hello"},
    "/api/embed": {"input": "hello"},
    "/api/embeddings": {"prompt": "hello"},
    "/api/show": {},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/completions": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]},
}
NAMES = (
    "vertex/omni-4",
    "omni-4",
    "omni-4:latest",
    "tidal/ember-4",
    "tidal/ember-4:extended",
    "ember-4",
    "openrouter/auto",
    "vectorworks/embed-3",
    "melodia/song-maker-preview",
    "no-such-model",
    "free",
    "beacon-24b:free",
)
SMUGGLED = {"models": ["vertex/omni-4"], "route": "fallback", "preset": "paid", "fallbacks": ["vertex/omni-4"]}


def test_nothing_is_ever_sent_to_a_model_that_costs(one_site: Site, simulator: Simulator) -> None:
    asks = [(path, {"model": name, "stream": False, **body}) for path, body in PATHS.items() for name in NAMES]
    asks += [(path, {"model": "free", **SMUGGLED, **body}) for path, body in PATHS.items()]
    server = one_site.servers[0]
    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(lambda ask: server.post(*ask).status_code, asks))
    assert 200 in statuses
    assert not [status for status in statuses if status >= 500 and status != 501]
    sent = simulator.chats()
    assert len(sent) > len(NAMES)
    assert {entry["model"].partition(":")[2] for entry in sent} == {"free"}
    assert not [entry["body"] for entry in sent if not {"models", "preset", "route"}.isdisjoint(entry["body"])]


def test_the_command_line_tells_what_is_remembered_and_forgets_it(one_site: Site, simulator: Simulator) -> None:
    simulator.scenario(FIRST, error_name="404_privacy", times=1)
    simulator.scenario(SECOND, error_name="404_privacy", times=1)
    assert one_site.answered_by() == THIRD
    wait_for(lambda: len(one_site.rows()) == 2, what="both are in the table")
    head, *table, order = [line.split(maxsplit=10) for line in one_site.flask("models").splitlines()]
    scores = ["SCORE", "Q", "R", "S", "SAMPLES", "FIRST", "TOK/S"]
    assert head[:10] == ["MODEL", "CONTEXT", *scores, "STATE", "REASON"][:10]
    assert order[:2] == ["order:", "context;"]
    assert [(row[0], row[1], row[9]) for row in table[:3]] == [
        ("cirrus-ultra:free", "1000000", "cooling"),
        ("lumen-vl-32b:free", "262144", "cooling"),
        ("schema-12b:free", "128000", "ready"),
    ]
    assert all("privacy settings" in row[10] and row[10].endswith("24 h") for row in table[:2])
    assert all(0 < float(part) <= 1 for row in table for part in row[2:6])
    contexts = [int(row[1]) for row in table]
    assert contexts == sorted(contexts, reverse=True)
    assert one_site.flask("failures", "clear", "cirrus-ultra:free").startswith("forgotten: 1")
    assert set(one_site.rows()) == {SECOND}
    wait_for(lambda: one_site.answered_by() == FIRST, what="it is tried again")
    assert one_site.flask("failures", "clear").startswith("forgotten: 1")
    assert one_site.rows() == {}


def test_the_command_line_knows_that_a_changed_record_has_ended_the_cooldown(one_site: Site) -> None:
    now = time.time()
    record_failure(
        one_site.database,
        THIRD,
        began_at=now,
        now=now,
        blame="model gone",
        reason="no such model",
        cooldown=Cooldown(86_400),
        record_digest="of another record",
    )
    [line] = [line for line in one_site.flask("models").splitlines() if line.startswith("schema-12b:free")]
    assert line.split(maxsplit=10)[9:] == ["ready", "failed before: no such model"]


def test_the_command_line_does_not_believe_a_clock_that_was_a_year_ahead(one_site: Site) -> None:
    later = time.time() + 365 * 86_400
    record_failure(one_site.database, THIRD, began_at=later, now=later)
    [line] = [line for line in one_site.flask("models").splitlines() if line.startswith("schema-12b:free")]
    assert line.split(maxsplit=10)[9:] == ["ready"]


def test_heartbeats_in_a_pause_over_tls(tmp_path: Path) -> None:
    with (
        Simulator(tls=True) as simulator,
        ProxyServer(tmp_path, simulator.url, ca_file=simulator.ca_file, **SETTINGS) as proxy,
    ):
        simulator.scenario(FIRST, text=["one ", "two"], hold="gate", hold_at=2, times=1)
        lines = proxy.chat(stream=True).iter_lines()
        texts = [json.loads(next(lines))["message"]["content"] for _ in range(4)]
        simulator.release("gate")
        rest = [json.loads(line) for line in lines]
        assert "".join(texts) + text_of(rest) == "one two"
        assert texts[-1] == ""
        assert rest[-1]["done"] is True
