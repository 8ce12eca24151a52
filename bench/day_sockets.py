"""A short stretch of bench/day.py over sockets: the server as users start it, in front of the simulator.

    python -m bench.day_sockets [--requests 60]

The model with the largest window takes a second to begin, the next one's provider is often full, the others are quick;
`SLOW_FIRST_TOKEN_SECONDS` is half a second. Halfway the quickest of the others breaks down. It says nothing about real
models: it shows that what bench/day.py finds with an invented clock also happens on the wire.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import requests

from bench import servers
from bench.day import percentile
from simulator.process import Simulator

SLOW, FULL, BREAKS = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free", "quarry/schema-12b:free"
NAMES = {"context": "whatever", "free (balanced)": "free", "free:fast": "free:fast"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.day_sockets", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=60, help="how many for each name")
    number = parser.parse_args().requests
    print("| name | answered | first p50 | p95 | attempts | who answered |\n|---|---|---|---|---|---|")
    with Simulator() as simulator:
        for title, name in NAMES.items():
            print(f"| {title} | {_measured(simulator, name, number)} |", flush=True)


def _measured(simulator: Simulator, name: str, number: int) -> str:
    """The cells for one name, on a server and a database of its own."""
    simulator.reset()
    simulator.scenario(SLOW, delay_first=1.0)
    simulator.scenario(FULL, fail_rate=0.4, failures=["pool_429"])
    upstream = cast(Any, SimpleNamespace(port=int(simulator.url.rsplit(":", 1)[1].split("/")[0])))
    settings = {
        "slow_first_token_seconds": 0.5,
        "free_requests_per_minute": 0,
        "ratelimit_cooldown_minutes": 0.02,
        "failure_cooldown_minutes": 0.05,
    }
    firsts, attempts, who = [], [], Counter[str]()
    with tempfile.TemporaryDirectory() as folder, servers.proxy(Path(folder), upstream, **settings) as proxy:
        for place in range(number):
            if place == number // 2:
                simulator.scenario(BREAKS, error_name="503")
            body = {"model": name, "messages": [{"role": "user", "content": f"question {place}"}], "stream": True}
            began = time.monotonic()
            with requests.post(f"http://127.0.0.1:{proxy.port}/api/chat", json=body, stream=True, timeout=60) as answer:
                next(answer.iter_lines(), b"")
                firsts.append(time.monotonic() - began)
                if answer.ok:
                    who[answer.headers["X-OpenRouter-Model"]] += 1
                    attempts.append(int(answer.headers["X-Proxy-Attempts"]))
                list(answer.iter_lines())
    named = ", ".join(f"{model} {times}" for model, times in who.most_common(4))
    mean = sum(attempts) / max(len(attempts), 1)
    p50, p95 = percentile(firsts, 50), percentile(firsts, 95)
    return f"{sum(who.values())} of {number} | {p50:.2f} s | {p95:.2f} s | {mean:.2f} | {named}"


if __name__ == "__main__":
    main()
