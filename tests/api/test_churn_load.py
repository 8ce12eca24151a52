"""Two hundred chats at once while models fail at random: nobody is left without an end, nothing is left open.

`make prove` has a thousand chats, two hundred at a time.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import requests

from simulator.process import Simulator
from tests.servers import ProxyServer, wait_for

AT_ONCE = 200
MAX_ATTEMPTS = 4
FAILURES = [
    "pool_429",
    "503",
    "502_html",
    "empty",
    "no_answer",
    "early_close_first",
    "early_close",
    "in_stream_error_first",
    "in_stream_error",
    "error_in_200_json",
    "400_provider",
    {"silence": 5, "comment_every": 0.2},
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one chat ended for its client: "answer", "error line" or "error status"."""

    kind: str
    status: int
    seconds: float
    error: str = ""


def chat(proxy: ProxyServer, number: int) -> Outcome:
    began = time.monotonic()
    stream = number % 4 != 0
    response = proxy.chat(text=f"message {number}", stream=stream)
    lines = [json.loads(line) for line in response.iter_lines()]
    seconds = time.monotonic() - began
    last = lines[-1]
    assert all("error" not in line and not line["done"] for line in lines[:-1])
    if "error" in last:
        assert response.status_code >= 400 or stream
        kind = "error line" if response.status_code == 200 else "error status"
        return Outcome(kind, response.status_code, seconds, last["error"])
    assert last["done"] is True
    text = "".join(line["message"]["content"] for line in lines)
    assert text.endswith(f"You said: message {number}")
    return Outcome("answer", response.status_code, seconds)


@pytest.mark.parametrize(
    "chats", [AT_ONCE, pytest.param(1000, marks=pytest.mark.prove)], ids=lambda chats: f"{chats} chats"
)
def test_many_chats_while_models_fail(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, capsys: pytest.CaptureFixture[str], chats: int
) -> None:
    proxy = start_proxy(
        web_concurrency=2,
        max_attempts=MAX_ATTEMPTS,
        first_token_timeout_seconds=2,
        heartbeat_seconds=0.5,
        # Short: with the usual ones all models would cool down after a second of this.
        failure_cooldown_minutes=0.1 / 60,
        ratelimit_cooldown_minutes=0.1 / 60,
        free_requests_per_minute=0,
    )
    simulator.scenario("*", fail_rate=0.3, seed=7, failures=FAILURES, token_delay=0.005)
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        outcomes = list(threads.map(lambda number: chat(proxy, number), range(chats)))
    took = time.monotonic() - began

    kinds = Counter(outcome.kind for outcome in outcomes)
    errors = Counter(outcome.error[:60] for outcome in outcomes if outcome.error)
    sent = Counter(entry["body"]["messages"][-1]["content"] for entry in simulator.chats())
    slowest = sorted(outcome.seconds for outcome in outcomes)
    with capsys.disabled():
        print(f"\n{chats} chats in {took:.1f} s: {dict(kinds)}, {sum(sent.values())} attempts, ", end="")
        print(f"at most {max(sent.values())} a chat; median {slowest[chats // 2]:.2f} s, ", end="")
        print(f"slowest {slowest[-1]:.2f} s; errors {dict(errors)}")

    assert all("upstream error" in outcome.error for outcome in outcomes if outcome.error)
    assert all(outcome.status in (200, 400, 429, 502, 503, 504) for outcome in outcomes)
    assert kinds["answer"] > chats / 2
    assert len(sent) == chats or kinds["error status"] >= chats - len(sent)
    assert max(sent.values()) <= MAX_ATTEMPTS
    wait_for(lambda: simulator.stats()["open_streams"] == 0, what="no upstream request is left open")
    # Connections that stay are idle ones in the pool, and they still work.
    simulator.clear("*")
    wait_for(lambda: proxy.chat().ok, what="a chat after the storm")
    log = [json.loads(line) for line in proxy.log().splitlines() if line.startswith("{")]
    assert not [line for line in log if line.get("exception") or line.get("event") == "the stream broke"]
    assert requests.get(proxy.url, timeout=5).ok
