"""Chaos: many clients with words of their own, while upstream fails in sixteen ways.

Does anybody get too little, something wrong, or what was meant for somebody else?

    python -m bench.chaos --seconds 180 --clients 200 --workers 2

Each request says sixty words that no other request has, and the stand-in upstream says them back, one a token. So every
word of an answer tells whose it is and where it belongs. Half-way through, the server is told to start new workers
(SIGHUP). Exit code 1 if an answer was lost, wrong or crossed, or an upstream stream stayed open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.process import Simulator
from tests.servers import ProxyServer

WORDS = 60
_WORD = re.compile(rb"\bm(\d+)x(\d+)w(\d+)\b")

#: Before the first token, where another model answers and nobody notices; and in the middle, where the client is told.
FAILURES: list[Any] = [
    "pool_429",
    "500",
    "502_html",
    "503",
    "529",
    "524_html",
    "empty",
    "early_close_first",
    "in_stream_error_first",
    "error_in_200_json",
    "no_answer",
    "half_head",
    {"silence": 8, "before_headers": True},
    {"in_stream_error": 30},
    {"early_close": 30, "rst": True},
    {"early_end": 30},
]

#: The kinds of request: path, body (`said` is filled in), and what a whole answer has near its end.
KINDS: dict[str, tuple[str, dict[str, Any], bytes]] = {
    "ollama chat": ("/api/chat", {"messages": None}, b'"done":true'),
    "ollama chat, whole": ("/api/chat", {"messages": None, "stream": False}, b'"done":true'),
    "ollama generate": ("/api/generate", {"prompt": None}, b'"done":true'),
    "openai chat": ("/v1/chat/completions", {"messages": None, "stream": True}, b"data: [DONE]"),
    "openai chat, whole": ("/v1/chat/completions", {"messages": None}, b'"finish_reason":"stop"'),
    "messages": ("/v1/messages", {"messages": None, "stream": True, "max_tokens": 4096}, b"message_stop"),
    "messages, whole": ("/v1/messages", {"messages": None, "max_tokens": 4096}, b'"stop_reason":"end_turn"'),
}


@dataclass
class Results:
    """What became of the requests: outcomes, the slowest one, and an example of each that went wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    longest: float = 0.0

    def add(self, kind: str, outcome: str, seconds: float, answer: bytes = b"") -> None:
        self.outcomes[outcome] += 1
        self.longest = max(self.longest, seconds)
        if outcome not in ("complete", "left by the client"):
            self.examples.setdefault(f"{outcome}, {kind}", answer[-300:].decode(errors="replace"))

    @property
    def bad(self) -> int:
        return sum(self.outcomes[outcome] for outcome in ("lost", "wrong", "crossed"))


def request_bytes(kind: str, said: str) -> bytes:
    """One request of a kind, on a connection of its own."""
    path, members, _ = KINDS[kind]
    filled = {"messages": [{"role": "user", "content": said}], "prompt": said}
    body = json.dumps(
        {"model": "free"} | {name: filled.get(name) if value is None else value for name, value in members.items()}
    )
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def judge(answer: bytes, owner: tuple[int, int], end: bytes) -> str:
    """`owner` is the client's number and the request's."""
    words = [tuple(map(int, found)) for found in _WORD.findall(answer)]
    if any(word[:2] != owner for word in words):
        return "crossed"
    said = [word[2] for word in words]
    if said != list(range(len(said))):
        return "wrong"
    head, _, _ = answer.partition(b"\r\n\r\n")
    status = head[9:12]
    whole = answer.endswith(b"0\r\n\r\n") or b"content-length" in head.lower()
    if not whole:
        return "lost"
    if status != b"200":
        return f"error status {status.decode()}" if b"error" in answer[len(head) :] else "lost"
    if end in answer[-1500:]:
        return "complete" if len(said) == WORDS else "wrong"
    return "ended by an error line" if b'"error"' in answer[-1500:] else "lost"


async def ask(port: int, kind: str, owner: tuple[int, int], results: Results, *, leaves: bool) -> None:
    """One request, judged by its end and by its words. Who `leaves` does so after some of them."""
    said = " ".join(f"m{owner[0]}x{owner[1]}w{index}" for index in range(WORDS))
    answer, began = bytearray(), time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request_bytes(kind, said))
            while piece := await reader.read(65536):
                answer += piece
                if leaves and b"w20" in answer:
                    results.add(kind, "left by the client", time.monotonic() - began)
                    return
        finally:
            writer.close()
    except OSError as error:
        answer += repr(error).encode()
        results.add(kind, "lost", time.monotonic() - began, bytes(answer))
        return
    results.add(kind, judge(bytes(answer), owner, KINDS[kind][2]), time.monotonic() - began, bytes(answer))


async def client(port: int, number: int, until: float, results: Results) -> None:
    """One user: request after request, of any kind; now and then one that leaves in the middle."""
    chance = random.Random(number)
    await asyncio.sleep(chance.uniform(0, 3))
    asked = 0
    while time.monotonic() < until:
        kind = chance.choice(list(KINDS))
        await ask(port, kind, (number, asked), results, leaves=chance.random() < 0.03)
        asked += 1


async def load(server: ProxyServer, options: argparse.Namespace) -> Results:
    """All clients for `options.seconds`; SIGHUP half-way."""
    results, until = Results(), time.monotonic() + options.seconds
    clients = [client(server.port, number, until, results) for number in range(options.clients)]
    asyncio.get_running_loop().call_later(options.seconds / 2, server.process.send_signal, signal.SIGHUP)
    await asyncio.gather(*clients)
    return results


def open_streams(simulator: Simulator) -> int:
    """Upstream streams that are open still, once the last ones have had time to end."""
    deadline = time.monotonic() + 10
    while (count := int(simulator.stats()["open_streams"])) and time.monotonic() < deadline:
        time.sleep(0.1)
    return count


def main() -> int:
    commands = argparse.ArgumentParser(prog="python -m bench.chaos", description="Clients with words of their own.")
    commands.add_argument("--seconds", type=float, default=180)
    commands.add_argument("--clients", type=int, default=200)
    commands.add_argument("--workers", type=int, default=2)
    commands.add_argument("--fail-rate", type=float, default=0.2)
    options = commands.parse_args()
    settings = {
        "web_concurrency": options.workers,
        "free_requests_per_minute": 0,
        "first_token_timeout_seconds": 5,
        # Failed models come back at once, or soon none would be left to fail.
        "failure_cooldown_minutes": 0,
        "ratelimit_cooldown_minutes": 0,
        "log_level": "error",
    }
    upstream = {
        "reasoning": False,
        "token_delay": 0.02,
        "fail_rate": options.fail_rate,
        "seed": 1,
        "failures": FAILURES,
    }
    with tempfile.TemporaryDirectory() as folder, Simulator() as simulator:
        simulator.scenario("*", **upstream)
        with ProxyServer(Path(folder), simulator.url, **settings) as server:
            results = asyncio.run(load(server, options))
            still_open, asked = open_streams(simulator), simulator.stats()["total"]
            log = server.log()
    print(f"requests {results.outcomes.total()}, upstream requests {asked}, kinds of failure {len(FAILURES)}")
    for outcome, count in results.outcomes.most_common():
        print(f"    {outcome:26} {count}")
    print(f"lost, wrong or crossed: {results.bad}; the slowest took {results.longest:.1f} s; still open: {still_open}")
    for name, example in results.examples.items():
        print(f"\n{name}, for example:\n{example}")
    if log.strip():
        print(f"\nthe server's log:\n{log[-3000:]}")
    return int(bool(results.bad or still_open))


if __name__ == "__main__":
    sys.exit(main())
