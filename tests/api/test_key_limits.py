"""The limits of clients' keys, counted by servers that share a database (docs/contract.md, "Keys: limits")."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text

from ollama_proxy.bodies.cost_bound import bound_of
from ollama_proxy.catalog.records import parse_record
from ollama_proxy.storage.database import sqlalchemy_url
from simulator.catalogue import record
from simulator.process import Simulator
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
        return all(server.get("/api/tags", headers=headers).ok for _ in range(12))

    def change(self, name: str, **fields: Any) -> None:
        changed = self._call(self.all[0], "PATCH", f"/api/proxy/keys/{name}", fields)
        assert changed.ok, changed.text

    def rows(self, query: str) -> list[Any]:
        """The rows of a query."""
        with self._engine.connect() as connection:
            return [row._mapping for row in connection.execute(text(query))]

    def write(self, statement: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement))

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
    """64 requests at once for a cap of exactly ten reservations: exactly ten pass, on two workers and two servers."""
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
    headers = shared.key(name, usd_per_day=0.000001)
    answer = shared.all[0].post(path, {**body, "model": model}, headers=headers)
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert "limit of $0.000001 a day" in (error if isinstance(error, str) else error["message"])
    assert not simulator.chats()
    if path.startswith("/v1/"):
        assert answer.headers["x-should-retry"] == "false"
    else:
        assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["X-Key-Remaining-Usd"] == "0.000001"


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
