"""The ledger and the quota of servers with several workers, on both databases."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureTable
from ollama_proxy.storage.in_flight_table import InFlightTable
from ollama_proxy.storage.ledger_table import REQUEST_LOG, LedgerTable
from ollama_proxy.storage.quota_table import QuotaTable
from simulator.process import Simulator
from tests.postgres import new_database, postgres_url
from tests.servers import ProxyServer, wait_for

__all__ = ["postgres_url"]

BEST = "nimbus/cirrus-ultra:free"
LEFT = "X-Free-Requests-Left"
HELLO = [{"role": "user", "content": "hello"}]


on_both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables: SQLite, unless a test is `on_both`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.db'}"
    return new_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    found = Database(sqlalchemy_url(database_url, tmp_path))
    yield found
    found.dispose()


def log_of(database: Database) -> list[dict[str, Any]]:
    return LedgerTable(database).newest(1000)


def logged(database: Database, count: int) -> list[dict[str, Any]]:
    """The log, once it has `count` rows; oldest first."""
    wait_for(lambda: len(log_of(database)) >= count, what=f"{count} rows of the log")
    return log_of(database)[::-1]


def key_state(server: ProxyServer) -> tuple[str, str]:
    report = server.get("/health/ready").json()
    return report["status"], report["key"]


@on_both
def test_each_route_leaves_one_row_however_the_request_ends(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, database_url: str, database: Database
) -> None:
    server = start_proxy(web_concurrency=2, database_url=database_url, free_requests_per_minute=0)
    embedder = "current/embed-large:free"
    asked: list[tuple[str, dict[str, Any], int]] = [
        ("/api/chat", {"model": "free", "messages": HELLO, "stream": False}, 200),
        ("/api/generate", {"model": "free", "prompt": "hello", "stream": False}, 200),
        ("/api/embed", {"model": embedder, "input": "hello"}, 200),
        ("/api/embeddings", {"model": embedder, "prompt": "hello"}, 200),
        ("/v1/chat/completions", {"model": "free", "messages": HELLO, "stream": True}, 200),
        ("/v1/completions", {"model": "free", "prompt": "hello"}, 200),
        ("/v1/responses", {"model": "free", "input": "hello"}, 200),
        ("/v1/embeddings", {"model": embedder, "input": "hello"}, 200),
        ("/v1/messages", {"model": "free", "max_tokens": 100, "messages": HELLO}, 200),
        ("/api/chat", {"model": "", "messages": HELLO}, 400),
        ("/api/embed", {"model": "no-such-model", "input": "hello"}, 404),
        ("/v1/messages", {"model": "free", "messages": "hello"}, 400),
    ]
    embedders = [model["name"] for model in server.get("/api/tags").json()["models"] if "embed" in model["name"]]
    ids = []
    for path, body, status in asked:
        if body["model"] == embedder:
            body["model"] = embedders[0]
        answer = server.post(path, body)
        assert answer.status_code == status, (path, answer.text)
        ids.append(answer.headers["X-Request-Id"])
    # None of these asks a model.
    for answer in (
        server.get("/api/tags"),
        server.get("/health"),
        server.get("/metrics"),
        server.get("/nothing"),
        server.post("/api/show", {"model": "free"}),
        server.post("/api/chat", {"model": "free"}),
        server.post("/api/generate", {"model": "free", "keep_alive": 0}),
        server.get("/api/chat"),
    ):
        assert answer.status_code in (200, 404, 405)
    rows = logged(database, len(asked))
    assert {row["id"] for row in rows} == set(ids), "one row each, and no others"
    by_id = {row["id"]: row for row in rows}
    for request_id, (path, _, status) in zip(ids, asked, strict=True):
        row = by_id[request_id]
        assert (row["route"], row["status"]) == (path, status)
        assert row["outcome"] == ("whole" if status == 200 else "refused")
        assert row["caller"] == "127.0.0.1"
        assert (row["model"] is not None, row["free_attempts"]) == ((True, 1) if status == 200 else (False, 0))
        assert (row["prompt_tokens"] or 0) > 0 or status != 200
    assert by_id[ids[0]]["asked"] == "free"
    assert {by_id[one]["api"] for one in ids} == {"ollama", "openai", "anthropic"}
    usage = LedgerTable(database).usage(0)
    assert sum(row.requests for row in usage) == len(asked)
    assert sum(row.whole for row in usage) == 9


def test_who_was_tried_and_how_it_ended(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, database_url: str, database: Database
) -> None:
    server = start_proxy(database_url=database_url)
    simulator.queue(BEST, {"error_name": "pool_429"})
    second = server.chat()
    assert second.headers["X-Proxy-Attempts"] == "2"
    # One is not counted by OpenRouter: the provider's pool refused it.
    assert second.headers[LEFT] == "49"
    simulator.scenario("*", tokens=50, in_stream_error=10, error_name="502", times=1)
    assert b'"error"' in server.chat(stream=True).content
    simulator.scenario("*", tokens=50, hold="gate", hold_at=5, times=1)
    leaving = server.chat(stream=True)
    next(leaving.iter_lines())
    leaving.close()
    first, broken, left = logged(database, 3)
    assert [(one[0], one[1]) for one in json.loads(first["chain"])] == [
        (BEST, "rate limited upstream"),
        (second.headers["X-OpenRouter-Model"], None),
    ]
    assert (broken["outcome"], broken["status"], left["outcome"]) == ("broken", 200, "left")
    assert broken["error"]
    assert broken["streamed"]
    failures = {(row.model, row.blame): row.count for row in LedgerTable(database).failures(0)}
    assert failures[BEST, "model rate limit"] == 1


@on_both
def test_what_waits_is_written_at_the_end(
    start_proxy: Callable[..., ProxyServer], database_url: str, database: Database
) -> None:
    server = start_proxy(web_concurrency=2, database_url=database_url, free_requests_per_minute=0)
    for _ in range(20):
        assert server.chat().status_code == 200
    assert server.terminate() == 0
    assert len(log_of(database)) == 20
    day, minute = (max(QuotaTable(database).load([w])[1].values()) for w in _windows())
    assert day == 20
    assert 0 < minute <= 20


def _windows() -> tuple[tuple[int, int], tuple[int, int]]:
    now = int(time.time())
    return (86_400, now // 86_400 * 86_400), (60, now // 60 * 60)


@on_both
def test_free_requests_left_is_counted_by_all_workers(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, database_url: str
) -> None:
    simulator.control("key", {"free_model_daily_requests": {"used": 30, "limit": 1000, "remaining": 970}})
    server = start_proxy(web_concurrency=2, database_url=database_url, free_requests_per_minute=0)
    wait_for(lambda: LEFT in server.chat().headers, what="the number is known")
    for _ in range(8):
        server.chat()

    def agree() -> bool:
        time.sleep(1.1)  # a worker looks once a second for what the others have written
        return server.chat().headers.get(LEFT) == str(970 - len(simulator.chats()))

    wait_for(agree, what="the workers agree")
    for path, body in (
        ("/api/generate", {"model": "free", "prompt": "hello"}),
        ("/v1/chat/completions", {"model": "free", "messages": HELLO}),
        ("/v1/messages", {"model": "free", "max_tokens": 100, "messages": HELLO}),
    ):
        # A worker that has just begun to look may not know it yet.
        wait_for(
            lambda path=path, body=body: (
                LEFT in (found := server.post(path, body)).headers and int(found.headers[LEFT]) < 970
            ),
            what=path,
        )
    assert LEFT not in server.get("/api/tags").headers


def test_the_days_limit_leaves_nothing(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    server = start_proxy(ratelimit_wait_seconds=0)
    wait_for(lambda: LEFT in server.chat().headers, what="the number is known")
    simulator.scenario("*", error_name="free_per_day", reset_in=3, times=1)
    refused = server.chat()
    assert (refused.status_code, refused.headers[LEFT]) == (429, "0")
    again = server.post("/v1/chat/completions", {"model": "free", "messages": HELLO})
    assert (again.status_code, again.headers[LEFT]) == (429, "0")
    wait_for(lambda: "the limit has ended: free limit per day" in server.log(), what="its end is said")
    assert server.log().count("nothing is sent to free models until") == 1
    assert int(server.chat().headers[LEFT]) > 0


def test_outside_free_mode_nothing_is_said_of_free_requests(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    server = start_proxy(free_mode=False)
    wait_for(lambda: len(simulator.log(path="/api/v1/key")) >= 2, what="the key's limits are known")
    assert LEFT not in server.chat(model=BEST).headers


def test_most_of_the_day_is_used_is_warned_of_once(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, database_url: str
) -> None:
    simulator.control("key", {"free_model_daily_requests": {"used": 38, "limit": 50, "remaining": 12}})
    server = start_proxy(web_concurrency=2, database_url=database_url, free_requests_per_minute=0)
    wait_for(lambda: LEFT in server.chat().headers, what="the number is known")
    for _ in range(8):
        server.chat()
    wait_for(lambda: "of today's 50 free requests are used" in server.log(), what="the warning")
    time.sleep(2.5)  # both workers look every two seconds
    server.chat()
    warnings = [line for line in server.log().splitlines() if "of today's 50" in line]
    assert [json.loads(line)["level"] for line in warnings] == ["warning"]


def test_readiness_follows_what_requests_meet(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, database_url: str, database: Database
) -> None:
    server = start_proxy(web_concurrency=2, database_url=database_url)

    def all_say(*expected: str) -> bool:
        return {key_state(server) for _ in range(8)} == {expected}

    wait_for(lambda: all_say("ready", "valid"), what="both workers are ready")
    met = {"401_bad_key": "refused", "402_credits": "out of credits", "403_key_limit": "key limit"}
    for error, state in met.items():
        simulator.scenario("*", error_name=error, times=1)
        assert server.chat().status_code == 502
        wait_for(lambda state=state: all_say("degraded", state), what="both workers say so")
        FailureTable(database).clear_limit()  # it holds for a minute
        wait_for(lambda: server.chat().status_code == 200 and all_say("ready", "valid"), what="the key works again")


def test_what_is_under_way_is_told_only_while_somebody_looks(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, database_url: str, database: Database
) -> None:
    server = start_proxy(web_concurrency=2, database_url=database_url)
    simulator.scenario("*", tokens=4, reasoning=False, hold="gate", hold_at=2)
    streams = [server.chat(stream=True) for _ in range(4)]
    lines = [stream.iter_lines(chunk_size=None) for stream in streams]
    for one in lines:
        next(one)
    table = InFlightTable(database)
    time.sleep(2.5)  # a tick of both workers
    assert table.load(time.time()) == []
    database.run(QuotaTable(database).write({"looked_at": time.time()}, {}), write=True)
    wait_for(lambda: len(table.load(time.time())) == 4, what="all four", seconds=15)
    rows = table.load(time.time())
    assert {(row.caller, row.route, row.asked, row.attempts, row.streamed) for row in rows} == {
        ("127.0.0.1", "/api/chat", "free", 1, True)
    }
    simulator.release("*")
    for one in lines:
        assert json.loads(list(one)[-1])["done"] is True
    wait_for(lambda: table.load(time.time()) == [], what="they have ended", seconds=15)


def test_a_reload_loses_nothing(start_proxy: Callable[..., ProxyServer], database_url: str, database: Database) -> None:
    server = start_proxy(web_concurrency=2, database_url=database_url, free_requests_per_minute=0)
    for n in range(30):
        if n == 10:
            server.signal(signal.SIGHUP)
        assert server.chat().status_code == 200
    assert server.terminate() == 0
    assert len(log_of(database)) == 30
    assert len(re.findall('"path":"/api/chat"', server.log())) == 30


def test_the_log_is_trimmed(start_proxy: Callable[..., ProxyServer], database_url: str, database: Database) -> None:
    first = start_proxy(database_url=database_url)
    assert first.chat().status_code == 200
    assert first.terminate() == 0
    old = REQUEST_LOG.update().values(ended_at=time.time() - 8 * 86_400)
    database.run(lambda connection: connection.execute(old), write=True)
    second = start_proxy(database_url=database_url)
    assert second.chat().status_code == 200
    wait_for(lambda: len(log_of(database)) == 1, what="the old row is gone")
