"""The log of a real server: what is in it, at which level, and what never is."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer, wait_for

BEST = "nimbus/cirrus-ultra:free"
KEY = "alice-key-0123456789abcdef"
SECRETS = ("xyzzy-prompt", "xyzzy-tool", "xyzzy-header", KEY, "sk-or-v1-0123456789abcdef", "sk-or-test-key")


def lines(server: ProxyServer, event: str, **fields: Any) -> list[dict[str, Any]]:
    """The log's lines of that event that have these fields."""
    found = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event and fields.items() <= line.items()]


def test_debug_explains_a_request_and_quotes_nothing_of_it(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    server = start_proxy(log_level="debug", proxy_api_keys=KEY, ready=False)
    headers = {"Authorization": f"Bearer {KEY}", "X-Mark": "xyzzy-header"}
    wait_for(lambda: server.get("/api/tags", headers=headers).json()["models"], what="a catalogue")
    simulator.queue(BEST, {"error_name": "pool_429"})
    tool = {"type": "function", "function": {"name": "xyzzy-tool", "parameters": {"type": "object", "properties": {}}}}
    body = {"model": "free", "messages": [{"role": "user", "content": "xyzzy-prompt"}], "tools": [tool]}
    answer = server.post("/v1/chat/completions", body, headers=headers)
    assert answer.status_code == 200
    request_id = answer.headers["X-Request-Id"]
    [choice] = wait_for(lambda: lines(server, "candidates", request_id=request_id), what="the candidates")
    assert choice["candidates"].split(", ")[0] == BEST
    assert "does not support tools: " in choice["left_out"]
    assert "not free: " in choice["left_out"]
    failed, answered = lines(server, "attempt", request_id=request_id)
    assert (failed["model"], failed["upstream_status"], failed["reason"]) == (BEST, 429, "rate limited upstream")
    assert answered["upstream_status"] == 200
    assert 0 < answered["headers_ms"] <= answered["first_token_ms"]
    [line] = wait_for(lambda: lines(server, "request", request_id=request_id), what="the request's line")
    assert (line["client"], line["key"], line["level"]) == ("127.0.0.1", "key 1", "info")
    # People paste keys where models are named.
    for pasted in ("sk-or-v1-0123456789abcdef", KEY):
        chat = {"model": pasted, "messages": [{"role": "user", "content": "hi"}]}
        assert server.post("/api/chat", chat, headers=headers).status_code
        assert server.get(f"/v1/models/{pasted}", headers=headers).status_code
        assert server.get(f"/{pasted}/api/chat", headers=headers).status_code == 404
    for path in ("/v1/models/***", "/***/api/chat"):
        wait_for(lambda path=path: len(lines(server, "request", path=path)) == 2, what=f"the lines of {path}")
    assert not [secret for secret in SECRETS if secret in server.log()]
    assert "Current configuration" not in server.log()
    assert "worker_connections" not in server.log()


def test_probes_and_scrapes_are_not_logged(proxy: ProxyServer) -> None:
    probes = [proxy.get(path).headers["X-Request-Id"] for path in ("/", "/health", "/health/ready", "/metrics")]
    probes.append(requests.head(proxy.url, timeout=PATIENCE).headers["X-Request-Id"])
    other = proxy.get("/api/version").headers["X-Request-Id"]
    wait_for(lambda: other in proxy.log(), what="a line of what is no probe")
    assert not [probe for probe in probes if probe in proxy.log()]


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_no_count_falls_when_a_worker_ends(start_proxy: Callable[..., ProxyServer], tmp_path: Path) -> None:
    server = start_proxy(web_concurrency=2)

    def sample(name: str) -> float:
        page = server.get("/metrics").text
        return float(next(line for line in page.splitlines() if line.startswith(f"{name} ")).split()[1])

    for _ in range(4):
        assert server.chat().status_code == 200
    wait_for(lambda: sample("ollama_proxy_request_attempts_count") == 4, what="four requests")
    assert sample("ollama_proxy_workers") == 2
    cpu, start = sample("process_cpu_seconds_total"), sample("process_start_time_seconds")
    assert cpu > 0.5  # both workers have loaded the application
    before = children(server.process.pid)
    ended = min(before)
    os.kill(ended, signal.SIGTERM)
    wait_for(lambda: len(children(server.process.pid) - before) == 1, what="gunicorn has another worker")
    wait_for(lambda: sample("ollama_proxy_workers") == 2, what="which is counted")
    assert sample("process_cpu_seconds_total") >= cpu
    assert sample("process_start_time_seconds") == start
    # Its files are gone: each page would read them for ever.
    folder = tmp_path / f"metrics-{server.port}"
    assert (folder / "counter_0.db").exists()
    assert not list(folder.glob(f"*_{ended}.db"))
    assert sample("ollama_proxy_request_attempts_count") == 4
