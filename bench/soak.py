"""Many mixed streams for a long time, with failures injected: does anything grow, get lost, or stay open?

    python -m bench.soak --seconds 600 --streams 200 --workers 2

starts the stand-in OpenRouter and a server in front of it, loads it, and prints what came of it; exit code 1 if an
answer was lost or cut, a stream stayed open, or the ledger has another number of requests than were sent. What it knows
of the server is seen from outside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.process import Simulator
from tests.servers import ProxyServer

TOKENS = 100
WORDS = re.compile(rb"\bt(\d+)\b")

#: What goes wrong upstream: before the first token (nobody notices), and in the middle (the client is told).
FAILURES: list[Any] = ["pool_429", "empty", "early_close", "rst", {"in_stream_error": 50}]

MESSAGES = [{"role": "user", "content": "hello"}]

#: The kinds of request: path, body, and what a whole answer has near its end.
KINDS: dict[str, tuple[str, dict[str, Any], bytes]] = {
    "ollama chat": ("/api/chat", {"model": "free", "messages": MESSAGES}, b'"done":true'),
    "ollama generate": ("/api/generate", {"model": "free", "prompt": "hello"}, b'"done":true'),
    "ollama chat, whole": ("/api/chat", {"model": "free", "messages": MESSAGES, "stream": False}, b'"done":true'),
    "openai chat": ("/v1/chat/completions", {"model": "free", "messages": MESSAGES, "stream": True}, b"data: [DONE]"),
    "anthropic": (
        "/v1/messages",
        {"model": "free", "messages": MESSAGES, "stream": True, "max_tokens": 4096},
        b"message_stop",
    ),
}


@dataclass
class Results:
    """What became of the requests."""

    outcomes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, outcome: str, example: bytes = b"") -> None:
        self.outcomes[outcome] += 1
        if outcome not in ("complete", "left by the client"):
            self.examples.setdefault(f"{outcome}, {kind}", example[-300:].decode(errors="replace"))

    @property
    def bad(self) -> int:
        return self.outcomes["lost"] + self.outcomes["wrong text"]


async def ask(port: int, kind: str, results: Results, leave: bool) -> None:
    """One request on a connection of its own, judged by its end and by its words."""
    path, body, end = KINDS[kind]
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    answer = bytearray()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            while piece := await reader.read(65536):
                answer += piece
                if leave and b"t40" in answer:
                    results.add(kind, "left by the client")
                    return
        finally:
            writer.close()
    except OSError as error:
        results.add(kind, "lost", repr(error).encode())
        return
    results.add(kind, judge(bytes(answer), end), bytes(answer))


def judge(answer: bytes, end: bytes) -> str:
    """Whole, or ended by an error that says so; anything else is lost."""
    status = answer[9:12]
    if status != b"200":
        return f"error status {status.decode()}" if status else "lost"
    whole_http = answer.endswith(b"0\r\n\r\n") or b"Content-Length" in answer[:500]
    if whole_http and end in answer[-600:]:
        return "complete" if [int(word) for word in WORDS.findall(answer)] == list(range(TOKENS)) else "wrong text"
    return "ended by an error line" if whole_http and b'"error"' in answer[-1000:] else "lost"


async def client(port: int, seed: int, until: float, results: Results) -> None:
    """One user: request after request, of any kind; now and then one that leaves in the middle."""
    chance = random.Random(seed)
    await asyncio.sleep(chance.uniform(0, 5))
    while time.monotonic() < until:
        await ask(port, chance.choice(list(KINDS)), results, leave=chance.random() < 0.03)


def workers_of(master: int) -> list[int]:
    """The worker processes of a gunicorn."""
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def memory(pids: list[int]) -> list[float]:
    """Resident memory of processes, in MB."""
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return [int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024 for text in texts]  # type: ignore[index]


def cpu_seconds(pids: list[int]) -> float:
    """CPU time that processes have used."""
    ticks = 0
    for pid in pids:
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def watch(pids: list[int], until: float, samples: list[tuple[float, list[float]]], results: Results) -> None:
    """Memory every five seconds, and a line a minute for whoever waits."""
    began = time.monotonic()
    while (now := time.monotonic()) < until:
        samples.append((now - began, memory(pids)))
        if len(samples) % 12 == 1:
            shown = ", ".join(f"{size:.1f}" for size in samples[-1][1])
            print(f"{now - began:5.0f} s  worker memory {shown} MB  {dict(results.outcomes)}", flush=True)
        await asyncio.sleep(5)


async def load(server: ProxyServer, pids: list[int], options: argparse.Namespace) -> tuple[Results, list[Any]]:
    results, samples = Results(), []  # type: ignore[var-annotated]
    until = time.monotonic() + options.seconds
    tasks = [client(server.port, seed, until, results) for seed in range(options.streams)]
    if options.database_away:
        file, after = server.directory / "proxy.db", options.seconds / 3
        tasks.append(refuse_writes(file, after=after, seconds=options.database_away))
    await asyncio.gather(watch(pids, until, samples, results), *tasks)
    return results, samples


def settled(simulator: Simulator, pids: list[int], before: list[int]) -> dict[str, Any]:
    """What is still open, once the last answers have had time to end."""
    deadline = time.monotonic() + 10
    while simulator.stats()["open_streams"] and time.monotonic() < deadline:
        time.sleep(0.1)
    stats = simulator.stats()
    return {
        "open upstream streams": stats["open_streams"],
        "pooled upstream connections": stats["open_connections"],
        "most upstream streams at once": stats["peak_open_streams"],
        "worker descriptors before": before,
        "worker descriptors after": descriptors(pids),
    }


def recorded(folder: Path, sent: int) -> int:
    """How many requests the ledger has, once it has as many as were `sent`, or has had the time."""
    deadline = time.monotonic() + 10
    while True:
        with closing(sqlite3.connect(f"file:{folder / 'proxy.db'}?mode=ro", uri=True)) as database:
            found = int(database.execute("SELECT coalesce(sum(requests), 0) FROM usage_hourly").fetchone()[0])
        if found == sent or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def descriptors(pids: list[int]) -> list[int]:
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]


def growth(samples: list[tuple[float, list[float]]]) -> list[float]:
    """MB by which each worker's memory at the end is over that after the first minute; means over 15 s."""
    late = [sizes for _, sizes in samples[-3:]]
    early = [sizes for at, sizes in samples if 60 <= at < 75] or [sizes for _, sizes in samples[:3]]
    return [
        round(sum(s[n] for s in late) / len(late) - sum(s[n] for s in early) / len(early), 1)
        for n in range(len(samples[0][1]))
    ]


async def refuse_writes(file: Path, *, after: float, seconds: float) -> None:
    """Hold the database's write lock for so long: every write of the servers fails meanwhile, after a second each."""
    await asyncio.sleep(after)
    with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        print(f"{after:5.0f} s  nobody can write into the database for {seconds:g} s", flush=True)
        await asyncio.sleep(seconds)
        database.execute("ROLLBACK")


def dropped(server: ProxyServer) -> dict[str, float]:
    """How many writes the servers say they have lost, by what they were for."""
    pattern = r'(?m)^ollama_proxy_(?:writes_dropped_total\{queue="(\w+)"\}|ledger_(records)_dropped_total) (\S+)'
    found = re.findall(pattern, server.get("/metrics").text)
    return {queue or records: float(count) for queue, records, count in found}


def main() -> int:
    commands = argparse.ArgumentParser(prog="python -m bench.soak", description="A soak test.")
    commands.add_argument("--seconds", type=float, default=600)
    commands.add_argument("--streams", type=int, default=200)
    commands.add_argument("--workers", type=int, default=2)
    commands.add_argument("--events-per-second", type=float, default=20)
    commands.add_argument("--fail-rate", type=float, default=0.05)
    commands.add_argument(
        "--database-away", type=float, default=0, help="seconds in which nobody can write, after a third of the time"
    )
    options = commands.parse_args()
    settings = {
        "web_concurrency": options.workers,
        "free_requests_per_minute": 0,
        # Failed models come back at once, or soon none would be left to fail.
        "failure_cooldown_minutes": 0,
        "ratelimit_cooldown_minutes": 0,
        "log_level": "error",
    }
    upstream = {"tokens": TOKENS, "reasoning": False, "token_delay": 1 / options.events_per_second}
    upstream |= {"fail_rate": options.fail_rate, "seed": 1, "failures": FAILURES}
    with tempfile.TemporaryDirectory() as folder, Simulator() as simulator:
        simulator.scenario("*", **upstream)
        with ProxyServer(Path(folder), simulator.url, **settings) as server:
            pids = workers_of(server.process.pid)
            before, cpu = descriptors(pids), cpu_seconds(pids)
            simulator_cpu, began = simulator.stats()["cpu_seconds"], time.monotonic()
            results, samples = asyncio.run(load(server, pids, options))
            took = time.monotonic() - began
            own = resource.getrusage(resource.RUSAGE_SELF)
            report = {
                "seconds": round(took, 1),
                "requests": sum(results.outcomes.values()),
                "outcomes": dict(results.outcomes),
                "worker memory at the end, MB": [round(size, 1) for size in samples[-1][1]],
                "growth after the first minute, MB": growth(samples),
                "cores used by the workers": round((cpu_seconds(pids) - cpu) / took, 2),
                "cores used by the simulator": round((simulator.stats()["cpu_seconds"] - simulator_cpu) / took, 2),
                "cores used by the load generator": round((own.ru_utime + own.ru_stime) / took, 2),
                **settled(simulator, pids, before),
                "requests in the ledger": recorded(Path(folder), sum(results.outcomes.values())),
                "writes that were dropped": dropped(server),
            }
            same_workers = workers_of(server.process.pid) == pids
            log = server.log()
    for name, value in report.items():
        print(f"{name:34} {value}")
    for name, example in results.examples.items():
        print(f"\n{name}, for example:\n{example}")
    if log.strip():
        print(f"\nthe server's log:\n{log[-3000:]}")
    is_complete = report["requests in the ledger"] == report["requests"]
    return int(bool(results.bad or report["open upstream streams"] or not same_workers or not is_complete))


if __name__ == "__main__":
    sys.exit(main())
