"""The limits of clients' keys, counted by servers that share a database (docs/contract.md, "Keys: limits")."""

from __future__ import annotations

import base64
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text

from ollama_proxy.bodies.cost_bound import bound_of
from ollama_proxy.catalog.records import parse_record
from ollama_proxy.ledger.key_windows import day_name
from ollama_proxy.storage.database import sqlalchemy_url
from simulator.catalogue import record
from simulator.process import Simulator
from tests.api.test_machines import Postgres
from tests.postgres import new_database, postgres_url  # noqa: F401 (a fixture)
from tests.servers import ProxyServer, wait_for

PAID = "tidal/ember-4"
FREE = "tidal/ember-4:free"
ADMIN = "sk-test-admin-key"

#: The simulator's charge for an answer, in millionths of a dollar.
CHARGED = 123

#: A request to each route that asks a model: path and body.
ROUTES: dict[str, dict[str, Any]] = {
    "/api/chat": {"messages": [{"role": "user", "content": "hello"}], "stream": False},
    "/api/generate": {"prompt": "hello", "stream": False},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 100},
}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(3000)).decode()
EMBEDDING_ROUTES: dict[str, dict[str, Any]] = {
    "/api/embed": {"input": "hello"},
    "/api/embeddings": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
}


class Servers:
    """Servers that share a database, and what can be done with their keys."""

    def __init__(self, start: Callable[..., ProxyServer], database: str, *, many: int = 1, **settings: object) -> None:
        self.database = database
        options = {"database_url": database, "proxy_api_keys": ADMIN, "free_mode": "false", **settings}
        first = start(**options, ready=False)
        wait_for(lambda: self._call(first, "GET", "/api/tags").ok, what="a catalogue")
        self.all = [first, *[start(**options, ready=False) for _ in range(many - 1)]]
        for server in self.all:
            wait_for(lambda server=server: self._call(server, "GET", "/api/tags").ok, what="a catalogue")
        self._engine = create_engine(sqlalchemy_url(database, "."))

    @staticmethod
    def _call(server: ProxyServer, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {ADMIN}"}
        return requests.request(method, server.url + path, json=body, headers=headers, timeout=30)

    def key(self, name: str, **limits: Any) -> dict[str, str]:
        """Make a key, and return the headers of a request with it, once all servers know it."""
        made = self._call(self.all[0], "POST", "/api/proxy/keys", {"name": name, **limits})
        assert made.status_code == 201, made.text
        headers = {"Authorization": f"Bearer {made.json()['key']}"}
        for server in self.all:
            wait_for(partial(self._knows, server, headers), what="all workers know the key")
        return headers

    @staticmethod
    def _knows(server: ProxyServer, headers: dict[str, str]) -> bool:
        # At once: one after the other, all of them may meet the same worker.
        with ThreadPoolExecutor(12) as threads:
            return all(threads.map(lambda _: server.get("/api/tags", headers=headers).ok, range(24)))

    def change(self, name: str, **fields: Any) -> None:
        changed = self._call(self.all[0], "PATCH", f"/api/proxy/keys/{name}", fields)
        assert changed.ok, changed.text

    def dispose(self) -> None:
        self._engine.dispose()

    def rows(self, query: str) -> list[Any]:
        """The rows of a query."""
        with self._engine.connect() as connection:
            return [row._mapping for row in connection.execute(text(query))]

    def write(self, statement: str, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement), values)

    def used(self) -> dict[str, int]:
        """What the only key of a test has used today."""
        found = self.rows("SELECT * FROM key_usage WHERE period LIKE 'd%'")
        return dict(found[0]) if found else {}

    def settled(self, requests: int) -> dict[str, int]:
        """What the only key has used, once so many requests are settled and nothing is reserved."""

        def done() -> bool:
            return self.used().get("requests") == requests and not self.rows("SELECT id FROM reservations")

        wait_for(done, what=f"{requests} requests are settled: {self.used()}")
        return self.used()


def most_of(path: str = "/chat/completions", **fields: Any) -> int:
    """The most that a chat of one word may cost, in millionths of a dollar."""
    import orjson

    from ollama_proxy.gojson.codec import encode_body

    model = parse_record(record(PAID), today=date(2026, 1, 1), name="ember-4")
    assert model is not None
    body = {"model": PAID, "messages": [{"role": "user", "content": "hello"}], **fields}
    return bound_of(encode_body(orjson.loads(orjson.dumps(body))), model, path).microusd


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.db'}"
    return new_database(request.getfixturevalue("postgres_url"))


def test_parallel_requests_get_no_more_than_the_cap(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, database: str
) -> None:
    """64 at once for a cap of exactly ten reservations: ten are let through, on two workers, on two servers."""
    on_sqlite = database.startswith("sqlite")
    options = {"web_concurrency": 2} if on_sqlite else {"many": 2}
    servers = Servers(start_proxy, database, **options)
    one = most_of(max_tokens=2000, stream=False)
    cap = 10 * one
    headers = servers.key("ten", usd_per_day=cap / 1e6)
    simulator.scenario(PAID, hold="all", before_headers=True)
    body = {"model": PAID, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2000, "stream": False}

    def ask(number: int) -> requests.Response:
        return servers.all[number % len(servers.all)].post("/v1/chat/completions", body, headers=headers)

    with ThreadPoolExecutor(64) as threads:
        answers = [threads.submit(ask, number) for number in range(64)]
        try:
            wait_for(lambda: sum(one.done() for one in answers) >= 54, what="54 are refused")
            refused = [one.result() for one in answers if one.done()]
            held = simulator.log(holding="all", wait=10, minimum=10)
        finally:
            simulator.release("*")
        served = [one.result() for one in answers if one.result().status_code == 200]
    assert (len(held), {one.status_code for one in refused}) == (10, {429})
    said = refused[0].json()["error"]
    assert said["type"] == "rate_limit_error"
    assert "by requests that are still under way" in said["message"]
    assert len(served) == 10
    assert len(simulator.chats()) == 10, "nothing of the others went up, and no other model was asked"
    used = servers.settled(10)
    assert used["microusd"] == 10 * CHARGED <= cap
    assert used["estimated"] == 0
    simulator.clear(PAID)
    again = ask(0)
    assert again.status_code == 200
    left = (cap - 10 * CHARGED - one) / 1e6
    assert again.headers["X-Key-Remaining-Usd"] == f"{left:.6f}"


@pytest.mark.parametrize("path", [*ROUTES, *EMBEDDING_ROUTES])
def test_every_route_passes_the_gate(shared: Servers, simulator: Simulator, path: str) -> None:
    """A spent key is refused on every route that asks a model, in that API's form; nothing goes up."""
    body = ROUTES.get(path) or EMBEDDING_ROUTES[path]
    model = PAID if path in ROUTES else "vectorworks/embed-3"
    name = "spent" + path.replace("/", "-")
    headers = shared.key(name, usd_per_month=1)
    spent = "SELECT id, 'm' || substr(:day, 2, 7), 1, 0, 0, 0, 1000000, 0 FROM api_keys WHERE name = :name"
    for days in (0, 1):  # the test may run over midnight
        day = day_name(time.time() + days * 86_400)
        shared.write(f"INSERT INTO key_usage {spent} ON CONFLICT DO NOTHING", day=day, name=name)
    answer = shared.all[0].post(path, {**body, "model": model}, headers=headers)
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert "this key's limit of $1.00 a month is reached; it resets on 1 " in (
        error if isinstance(error, str) else error["message"]
    )
    assert not simulator.chats()
    if path.startswith("/v1/"):
        assert answer.headers["x-should-retry"] == "false"
    else:
        assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["X-Key-Remaining-Usd"] == "0.000000"


@pytest.mark.parametrize("path", [*ROUTES, *EMBEDDING_ROUTES])
def test_every_route_is_counted_and_bounded(shared: Servers, simulator: Simulator, path: str) -> None:
    """What upstream charged is counted; the body asks for no more tokens, and no higher price, than was reserved."""
    body = ROUTES.get(path) or EMBEDDING_ROUTES[path]
    model = PAID if path in ROUTES else "vectorworks/embed-3"
    name = "counted" + path.replace("/", "-")
    headers = shared.key(name, usd_per_day=1, usd_per_month=1)
    answer = shared.all[0].post(path, {**body, "model": model}, headers=headers)
    assert answer.status_code == 200, answer.text
    sent = simulator.chats()[-1]["body"]
    limits = [sent[name] for name in ("max_tokens", "max_completion_tokens", "max_output_tokens") if name in sent]
    expected = [] if path in EMBEDDING_ROUTES else [body.get("max_tokens", 4096)]
    assert limits == expected
    price = "0.400000" if path in ROUTES else "0.020000"
    assert float(sent["provider"]["max_price"]["prompt"]) == float(price)
    query = f"SELECT u.* FROM key_usage u JOIN api_keys k ON k.id = u.key_id WHERE k.name = '{name}'"
    rows = wait_for(lambda: shared.rows(query), what="it is counted")
    assert {row["microusd"] for row in rows} == {CHARGED}
    assert {row["period"][0] for row in rows} == {"d", "m"}
    assert {row["requests"] for row in rows} == {1}


#: Requests that try to cost more than is reserved: path, body, headers.
DEAR: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    **{path: (path, body, {}) for path, body in {**ROUTES, **EMBEDDING_ROUTES}.items()},
    "a chat's limit in a response": ("/v1/responses", {"input": "hello", "max_tokens": 1}, {}),
    "a response's limit in a chat": ("/v1/chat/completions", {**CHAT, "max_output_tokens": 1}, {}),
    "several answers": ("/v1/chat/completions", {**CHAT, "n": 3, "max_completion_tokens": 500}, {}),
    "several completions": ("/v1/completions", {"prompt": "hello", "n": 3, "best_of": 4}, {}),
    "thinking": ("/api/chat", {**CHAT, "think": "high", "options": {"num_predict": 10}}, {}),
    "a budget for thinking": (
        "/v1/messages",
        {**CHAT, "max_tokens": 3000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        {},
    ),
    "fast": (
        "/v1/messages",
        {**CHAT, "max_tokens": 9000, "speed": "fast"},
        {"anthropic-beta": "fast-mode-2026-02-01", "anthropic-version": "2023-06-01"},
    ),
    "a prediction": ("/v1/chat/completions", {**CHAT, "prediction": {"type": "content", "content": "a" * 9000}}, {}),
    "words in a schema": (
        "/v1/chat/completions",
        {
            **CHAT,
            "max_tokens": 1,
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "parameters": {"x": {"type": "image", "url": "word " * 9000}}},
                }
            ],
        },
        {},
    ),
    "a picture": ("/api/chat", {"messages": [{"role": "user", "content": "see", "images": [PNG]}]}, {}),
    "a file": (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "user", "content": [{"type": "file", "file": {"filename": "a", "file_data": "https://a/b"}}]}
            ],
            "max_tokens": 1,
        },
        {},
    ),
}


def test_the_most_that_upstream_can_take_is_below_what_was_reserved(shared: Servers, simulator: Simulator) -> None:
    headers = shared.key("dear", usd_per_month=1000)
    query = (
        "SELECT microusd FROM key_usage u JOIN api_keys k ON k.id = u.key_id WHERE name = 'dear' AND period LIKE 'm%'"
    )
    before = 0
    for case, (path, body, own) in DEAR.items():
        model = "vectorworks/embed-3" if path in EMBEDDING_ROUTES else "vertex/omni-4"
        simulator.scenario(model, times=1, cost="most", text="hello")
        answer = shared.all[0].post(path, {"stream": False, **body, "model": model}, headers={**headers, **own})
        assert answer.status_code == 200, (case, answer.text)
        reserved = 10**9 - before - round(float(answer.headers["X-Key-Remaining-Usd"]) * 1e6)

        def counted(before: int = before) -> int:
            return sum(row["microusd"] for row in shared.rows(query)) - before

        cost = wait_for(counted, what=f"{case} is counted")
        assert 0 < cost <= reserved, case
        before += cost
        sent = simulator.chats()[-1]["headers"]
        assert not {"anthropic-beta", "anthropic-version"} & sent.keys(), case


#: Models that end in some way, whoever asks: their scenarios.
LEFT, FAILING, EMPTY, BREAKING = "ends/left", "ends/failing", "ends/empty", "ends/breaking"
SCENARIOS: dict[str, dict[str, Any]] = {
    LEFT: {"tokens": 200, "token_delay": 0.05},
    FAILING: {"error_name": "502"},
    EMPTY: {"empty": True, "usage": {"cost": 0.00002}},
    BREAKING: {"tokens": 10, "in_stream_error": 4, "error_name": "502"},
    FREE: {"error_name": "pool_429"},
}


def ask(server: ProxyServer, headers: dict[str, str], kind: str, chance: random.Random) -> None:
    """One request that ends in the way that `kind` says."""
    chat = {"messages": [{"role": "user", "content": f"hello {chance.random()}"}]}
    if kind in ("whole", "streamed"):
        path = chance.choice([*ROUTES])
        body = {**ROUTES[path], "model": PAID, "stream": kind == "streamed"}
        assert server.post(path, body, headers=headers).ok
    elif kind == LEFT:
        answer = server.post(
            "/v1/chat/completions", {**chat, "model": LEFT, "stream": True}, headers=headers, stream=True
        )
        next(answer.iter_lines())
        answer.close()
    elif kind == FREE:
        assert server.post("/v1/chat/completions", {**chat, "model": "free"}, headers=headers).ok
    else:
        server.post("/api/chat", {**chat, "model": kind, "stream": False}, headers=headers)


@pytest.mark.parametrize("number", [100, pytest.param(2000, marks=pytest.mark.prove)])
def test_the_sums_are_what_upstream_charged(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, tmp_path: Path, number: int
) -> None:
    """Whole, streamed, left, failed, broken and fallen back: what is counted for each key is what it cost."""
    simulator.control("models", {"add": [record(name) for name in SCENARIOS if name != FREE]})
    settings = {"failure_cooldown_minutes": 0, "ratelimit_cooldown_minutes": 0, "free_requests_per_minute": 0}
    url = f"sqlite:///{tmp_path / 'sums.db'}"
    servers = Servers(start_proxy, url, web_concurrency=2, **settings)
    keys = {name: servers.key(name, usd_per_day=100, usd_per_month=100, free_per_day=10**6) for name in ("anna", "ben")}
    for model, scenario in SCENARIOS.items():
        simulator.scenario(model, **scenario)
    chance = random.Random(17)
    kinds = ["whole"] * 5 + ["streamed"] * 5 + [*SCENARIOS]
    asked = [(chance.choice([*keys]), chance.choice(kinds), random.Random(at)) for at in range(number)]
    with ThreadPoolExecutor(12) as threads:
        sent = [
            threads.submit(ask, servers.all[0], {**keys[name], "x-session-id": name}, kind, own)
            for name, kind, own in asked
        ]
        for one in sent:
            one.result()
    wait_for(lambda: not servers.rows("SELECT id FROM reservations"), what="nothing is reserved any more")
    wait_for(lambda: simulator.stats()["open_streams"] == 0, what="upstream has noticed who left")
    servers.all[0].stop()
    servers.write("UPDATE awaited_costs SET due = 0")
    again = Servers(start_proxy, url, web_concurrency=2, **settings)
    wait_for(lambda: not again.rows("SELECT id FROM awaited_costs"), what="all costs are known")
    query = "SELECT k.name, u.* FROM key_usage u JOIN api_keys k ON k.id = u.key_id"
    for name in keys:
        charges = [one for one in simulator.charges() if one["session"] == name]
        cost = sum(round(one["cost"] * 1e6) for one in charges)
        rows = [row for row in again.rows(query) if row["name"] == name]
        assert {row["microusd"] for row in rows if row["period"][0] == "m"} == {cost}
        assert sum(row["microusd"] for row in rows if row["period"][0] == "d") == cost > 0
        assert {row["estimated"] for row in rows} == {0}
        mine = [kind for who, kind, _ in asked if who == name]
        assert sum(row["requests"] for row in rows if row["period"][0] == "d") == len(mine)
        free = sum(row["free_requests"] for row in rows if row["period"][0] == "d")
        assert free == sum(kind == FREE for kind in mine), "a provider's full pool does not count"


def test_a_killed_server_blocks_nobody_for_long(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'killed.db'}"
    servers = Servers(start_proxy, url)
    headers = servers.key("anna", usd_per_day=most_of(max_tokens=500, stream=False) / 1e6)
    body = {"model": PAID, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 500, "stream": False}
    simulator.scenario(PAID, times=1, hold="killed", before_headers=True)
    with ThreadPoolExecutor(1) as threads:
        lost = threads.submit(servers.all[0].post, "/v1/chat/completions", body, headers=headers)
        assert simulator.log(holding="killed", wait=10)
        os.killpg(servers.all[0].process.pid, signal.SIGKILL)
        with pytest.raises(requests.ConnectionError):
            lost.result()
    again = Servers(start_proxy, url)
    refused = again.all[0].post("/v1/chat/completions", body, headers=headers)
    assert refused.status_code == 429
    assert "under way" in refused.text
    again.write("UPDATE reservations SET until = until - 180")  # as three minutes later
    assert again.all[0].post("/v1/chat/completions", body, headers=headers).ok


@pytest.mark.parametrize(
    ("limits", "model", "said", "left"),
    [
        (
            {"free_per_day": 1},
            FREE,
            "this key's limit of 1 free request a day is reached; it resets at 00:00 UTC, in ",
            "0",
        ),
        ({"rpm": 1}, FREE, "this key's limit of 1 request a minute is reached; it resets at ", None),
        ({"rpm": 1}, PAID, "this key's limit of 1 request a minute is reached; it resets at ", None),
    ],
    ids=["free requests", "a minute", "a minute, of a model that costs"],
)
def test_what_a_key_is_told(
    shared: Servers, simulator: Simulator, limits: dict[str, int], model: str, said: str, left: str | None
) -> None:
    headers = shared.key(f"told-{'-'.join(limits)}-{len(model)}", **limits)
    chat = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": False}
    # The minute may end between two requests.
    answers = [shared.all[0].post("/api/chat", chat, headers=headers) for _ in range(3)]
    assert answers[0].ok
    assert answers[0].headers.get("X-Key-Remaining-Free") == left
    refused = next(one for one in answers if one.status_code == 429)
    assert refused.json()["error"].startswith(said)
    assert refused.headers.get("X-Key-Remaining-Free") == left
    assert int(refused.headers["Retry-After"]) > 0
    mine = shared.all[0].get("/api/proxy/me", headers=headers).json()
    [(name, value)] = limits.items()
    assert mine["left"][name]["limit"] == value


def test_a_key_with_one_request_at_a_time(shared: Servers, simulator: Simulator) -> None:
    """One after the other passes, however soon; two at once do not."""
    headers = shared.key("one-at-a-time", parallel=1)
    server, chat = shared.all[0], {"model": FREE, "messages": [{"role": "user", "content": "hello"}], "stream": False}
    assert all(server.post("/api/chat", chat, headers=headers).ok for _ in range(10))
    simulator.scenario(FREE, times=1, hold="one")
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(server.post, "/api/chat", chat, headers=headers)
        assert simulator.log(holding="one", wait=10)
        second = server.post("/v1/chat/completions", chat, headers=headers)
        simulator.release("*")
        assert first.result().ok
    assert second.status_code == 429
    assert (
        second.json()["error"]["message"]
        == "this key's limit of 1 request at a time is reached: wait until one has ended"
    )
    assert second.headers["Retry-After"] == "1"


def test_a_changed_limit_counts_at_once(shared: Servers, simulator: Simulator) -> None:
    headers = shared.key("changing", free_per_day=1)
    server, chat = shared.all[0], {"model": FREE, "messages": [{"role": "user", "content": "hello"}], "stream": False}
    assert [server.post("/api/chat", chat, headers=headers).status_code for _ in range(2)] == [200, 429]
    shared.change("changing", free_per_day=2)
    wait_for(lambda: server.post("/api/chat", chat, headers=headers).ok, what="one more is allowed", seconds=3)
    assert server.post("/api/chat", chat, headers=headers).status_code == 429


@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_reserved_ends_with_the_server(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, tmp_path: Path, streamed: bool
) -> None:
    """A server that ends cuts requests off after DRAIN_SECONDS: they are settled before it is gone."""
    servers = Servers(start_proxy, f"sqlite:///{tmp_path / 'ending.db'}", drain_seconds=0.2)
    headers = servers.key("anna", usd_per_day=1)
    simulator.scenario(PAID, tokens=20, hold="ending", hold_at=5)
    chat = {"model": PAID, "messages": [{"role": "user", "content": "hello"}], "stream": streamed}
    with ThreadPoolExecutor(1) as threads:
        cut = threads.submit(servers.all[0].post, "/api/chat", chat, headers=headers)
        assert simulator.log(holding="ending", wait=10)
        assert len(servers.rows("SELECT id FROM reservations")) == 1
        assert servers.all[0].terminate() == 0
        cut.result()
    assert servers.rows("SELECT id FROM reservations") == []
    used = servers.used()
    assert used["requests"] == 1
    assert 0 < used["microusd"] == used["estimated"]
    assert len(servers.rows("SELECT id FROM awaited_costs")) == 1


def test_while_the_database_is_away(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    """What costs is refused in words, what is free goes on, and all is counted once when the database is back."""
    postgres = Postgres()
    try:
        servers = Servers(start_proxy, postgres.url)
        server, headers = servers.all[0], servers.key("anna", usd_per_day=1, free_per_day=100)
        chat = {"messages": [{"role": "user", "content": "hello"}], "stream": False}
        assert server.post("/api/chat", {**chat, "model": PAID}, headers=headers).ok
        servers.settled(1)
        servers.dispose()
        postgres.kill()
        refused = server.post("/v1/chat/completions", {**chat, "model": PAID}, headers=headers)
        assert refused.status_code == 503
        assert "the database that counts what it spends is away" in refused.json()["error"]["message"]
        for _ in range(2):
            assert server.post("/api/chat", {**chat, "model": FREE}, headers=headers).ok
        postgres.start()
        wait_for(lambda: server.post("/api/chat", {**chat, "model": PAID}, headers=headers).ok, what="it is back")
        wait_for(lambda: servers.used().get("requests") == 4, what="all four are counted")
        assert (servers.used()["microusd"], servers.used()["free_requests"]) == (2 * CHARGED, 2)
    finally:
        postgres.remove()


@pytest.fixture(scope="module")
def shared(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One server for tests that each have a key of their own."""
    directory = tmp_path_factory.mktemp("limits")
    running: list[ProxyServer] = []

    def start(**options: Any) -> ProxyServer:
        running.append(ProxyServer(directory, shared_simulator.url, **options))
        return running[-1]

    yield Servers(start, f"sqlite:///{directory / 'limits.db'}")
    for server in running:
        server.stop()
