"""Do the pages slow chats down? Two hundred clients chat, with and without three pages that poll, in turns.

    python -m bench.page --pairs 10 --seconds 8

prints the delays to the first word with and without the pages, pair by pair, and what each page and poll weighs on the
wire. It takes about `pairs` times twice the seconds.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import re
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import servers
from bench.load import Load
from bench.processes import generate
from bench.rows import chat
from bench.servers import Target

#: The pages that poll, and what they ask for every so many seconds (as their templates say).
POLLS = {"/ui": "/ui/now", "/ui/requests": "/ui/requests/live", "/ui/requests?failed=1": "/ui/requests/live?failed=1"}
EVERY = 5.0
PAGES = ("/ui", "/ui/models", "/ui/requests", "/ui/usage", "/ui/playground", "/ui/connect")

_FILE = re.compile(r'(?:href|src)="(/ui/static/[^"]+)"')


@dataclass(frozen=True, slots=True)
class Delays:
    """Milliseconds to the first word, of all chats of one turn."""

    p50: float
    p95: float
    p99: float
    chats: int

    @classmethod
    def of(cls, seconds: list[float]) -> Delays:
        cuts = statistics.quantiles(seconds, n=100)
        return cls(cuts[49] * 1000, cuts[94] * 1000, cuts[98] * 1000, len(seconds))


def fetch(port: int, path: str, *, poll: bool = False) -> tuple[int, bytes, str]:
    """How many bytes an answer has on the wire, its body as it came, and its head. Raises RuntimeError but for 200."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n"
    head += "HX-Request: true\r\n" if poll else ""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(head.encode() + b"\r\n")
        data = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    if not data.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path}: {data[:100]!r}")
    top, _, body = data.partition(b"\r\n\r\n")
    return len(data), body, top.decode("latin-1").lower()


def first_load(port: int, path: str) -> int:
    """The bytes of a page and of all files that it loads, nothing of which the browser has yet."""
    size, body, head = fetch(port, path)
    html = (gzip.decompress(body) if "content-encoding: gzip" in head else body).decode()
    return size + sum(fetch(port, file)[0] for file in sorted(set(_FILE.findall(html))))


@contextmanager
def looked_at(port: int) -> Iterator[None]:
    """Three pages are open: each is loaded once and then polls. Raises what one of them met."""
    over, problems = threading.Event(), []

    def look(page: str, poll: str, begin: float) -> None:
        try:
            over.wait(begin)
            first_load(port, page)
            while not over.wait(EVERY):
                fetch(port, poll, poll=True)
        except (OSError, RuntimeError) as error:
            problems.append(error)

    threads = [
        threading.Thread(target=look, args=(page, poll, EVERY * number / len(POLLS)), daemon=True)
        for number, (page, poll) in enumerate(POLLS.items())
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(15)
    if problems:
        raise problems[0]


def turn(target: Target, clients: int, seconds: float) -> Delays:
    """Let that many clients chat: each answer has 20 words in a second, then its client rests a second or so."""
    load = chat(target, "paced:20:50", path="/api/chat")
    got = generate(Load(**load, clients=clients, seconds=seconds, pause=1.0, ramp=1.0, grace=10))
    if got.lost:
        raise RuntimeError(f"{got.lost} chats were lost: {got.problem}")
    return Delays.of(got.first)


def pair(target: Target, clients: int, seconds: float, chance: random.Random) -> tuple[Delays, Delays]:
    """One turn without and one with the pages, in an order of chance."""
    turns: dict[bool, Delays] = {}
    for pages in chance.sample((False, True), 2):
        if pages:
            with looked_at(target.port):
                turns[pages] = turn(target, clients, seconds)
        else:
            turns[pages] = turn(target, clients, seconds)
    return turns[False], turns[True]


def table(pairs: list[tuple[Delays, Delays]]) -> str:
    """The pairs, and the medians of each column and of the differences."""
    lines = [f"{'pair':>4}{'without: p50':>14}{'p95':>8}{'p99':>8}{'with: p50':>12}{'p95':>8}{'p99':>8}   ms; chats"]
    for number, (bare, looked) in enumerate(pairs, 1):
        columns = f"{bare.p50:>14.2f}{bare.p95:>8.2f}{bare.p99:>8.2f}"
        columns += f"{looked.p50:>12.2f}{looked.p95:>8.2f}{looked.p99:>8.2f}"
        lines.append(f"{number:>4}{columns}   {bare.chats}, {looked.chats}")
    for name in ("p50", "p95", "p99"):
        differences = [getattr(looked, name) - getattr(bare, name) for bare, looked in pairs]
        slower = sum(one > 0 for one in differences)
        middle, low, high = statistics.median(differences), min(differences), max(differences)
        lines.append(
            f"{name}: with the pages {middle:+.2f} ms in the median ({low:+.2f} to {high:+.2f}), "
            f"slower in {slower} of {len(pairs)} pairs"
        )
    return "\n".join(lines)


def sizes(port: int) -> str:
    """What each page and each poll weighs, heads included."""
    lines = [f"first load of {page:<16} {first_load(port, page) / 1000:6.1f} kB" for page in PAGES]
    lines += [f"poll of {poll:<27} {fetch(port, poll, poll=True)[0] / 1000:6.1f} kB" for poll in POLLS.values()]
    return "\n".join(lines)


def main() -> int:
    """Measure and print. Exit code 1 if a chat was lost or a page failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description="Do the pages slow chats down?")
    parser.add_argument("--pairs", type=int, default=10, help="default 10, at most 20")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn (default 8, at most 30)")
    parser.add_argument("--clients", type=int, default=200, help="default 200, at most 1000")
    parser.add_argument("--workers", type=int, default=1, help="the proxy's worker processes (default 1)")
    given = parser.parse_args()
    if not (1 <= given.pairs <= 20 and 2 <= given.seconds <= 30 and 1 <= given.clients <= 1000):
        parser.error("out of bounds")
    print(f"load average before: {os.getloadavg()}")
    with (
        tempfile.TemporaryDirectory(prefix="ollama-proxy-bench-") as folder,
        servers.upstream(Path(folder)) as upstream,
        servers.proxy(Path(folder), upstream, web_concurrency=given.workers) as proxy,
    ):
        chance = random.Random(1)
        try:
            turn(proxy, given.clients, 2)  # what is made at first use
            print(table([pair(proxy, given.clients, given.seconds, chance) for _ in range(given.pairs)]))
            print(sizes(proxy.port))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"load average after: {os.getloadavg()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
