"""Traffic as a household has it, for what looks at a server: several callers, all three APIs, all kinds of failures.

The server must trust its peer to name the caller (`SETTINGS`).
"""

from __future__ import annotations

from typing import Any

from simulator.process import Simulator
from tests.servers import ProxyServer

#: What a server needs so that it serves this traffic: callers are told by X-Forwarded-For.
SETTINGS: dict[str, Any] = {"trusted_proxies": "127.0.0.1", "free_requests_per_minute": 0, "ratelimit_wait_seconds": 0}

CIRRUS, LUMEN = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free"
EMBER, ANCHOR, BEACON = "tidal/ember-4:free", "harbor/anchor-mini:free", "harbor/beacon-24b:free"

LAPTOP, PHONE, HOME, SERVER = "192.168.1.20", "192.168.1.31", "192.168.1.5", "10.0.0.7"

_TEXT = "Why is the sky blue, and the evening sky red?"
_MESSAGES = [{"role": "user", "content": _TEXT}]
_OPENAI, _MESSAGES_API = "/v1/chat/completions", "/v1/messages"


def make_traffic(simulator: Simulator, server: ProxyServer, *, times: int = 1, limit: bool = False) -> int:
    """Serve it, `times` times over; how many requests that were. With `limit` the account's limit is met at the end."""
    made = 0
    for _ in range(times):
        made += _good_ones(simulator, server)
        made += _failures(simulator, server)
    if limit:
        simulator.scenario("*", error_name="free_per_min", reset_in=45, times=1)
        made += _ask(server, PHONE, "free")
    simulator.clear("*")
    return made


def _good_ones(simulator: Simulator, server: ProxyServer) -> int:
    made = 0
    for number, model in enumerate((CIRRUS, LUMEN, EMBER, ANCHOR)):
        simulator.scenario(model, tokens=60 + 40 * number, delay_first=0.03 * (number + 1), token_delay=0.001)
    for caller, model in (
        (LAPTOP, "free:coding"),
        (LAPTOP, "free"),
        (PHONE, "lumen-vl-32b:free"),
        (HOME, "ember-4:free"),
        (SERVER, "anchor-mini:free"),
        (HOME, "free:fast"),
        (LAPTOP, "free"),
    ):
        made += _ask(server, caller, model)
    made += _ask(server, LAPTOP, "free:coding", path=_OPENAI)
    made += _ask(server, SERVER, "cirrus-ultra", path=_MESSAGES_API, max_tokens=500)
    server.post("/api/embed", {"model": "embed-small", "input": "hello"}, headers=_from(HOME))
    return made + 1


def _failures(simulator: Simulator, server: ProxyServer) -> int:
    """A pool's limit and an empty answer that others make good, a break, a slow one, a gone model, wrong requests."""
    simulator.queue(CIRRUS, {"error_name": "pool_429_retry_after", "retry_after": 300})
    made = _ask(server, LAPTOP, "cirrus-ultra")
    simulator.queue(LUMEN, {"empty": True})
    made += _ask(server, PHONE, "lumen-vl-32b")
    simulator.queue(EMBER, {"tokens": 40, "in_stream_error": 12, "error_name": "502_network"})
    made += _ask(server, HOME, "ember-4:free")
    simulator.queue(ANCHOR, {"tokens": 20, "delay_first": 0.6})
    made += _ask(server, SERVER, "anchor-mini:free")
    simulator.queue(BEACON, {"error_name": "404_no_endpoints"})
    made += _ask(server, LAPTOP, "harbor/beacon-24b:free")
    simulator.queue("quarry/schema-12b:free", {"error_name": "400_provider"}, {"early_close": 0})
    made += _ask(server, SERVER, "schema-12b:free", path=_OPENAI)
    made += _ask(server, PHONE, "beacon-24b")
    made += _ask(server, PHONE, "embed-small")
    return made


def _ask(server: ProxyServer, caller: str, model: str, *, path: str = "/api/chat", **fields: Any) -> int:
    """One chat, to its end, however that is."""
    body = {"model": model, "messages": _MESSAGES, "stream": True, **fields}
    with server.post(path, body, stream=True, headers=_from(caller)) as answer:
        for _ in answer.iter_content(None):
            pass
    return 1


def _from(caller: str) -> dict[str, str]:
    return {"X-Forwarded-For": caller}
