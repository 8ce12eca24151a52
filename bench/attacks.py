"""What one client that means harm, or is broken, costs the others: the longest wait of an innocent client meanwhile.

    python -m bench.attacks                 # all, some two minutes
    python -m bench.attacks --only pipelined,chunks --seconds 5

starts the stand-in OpenRouter and one worker in front of it. While an attack runs, another process asks for
`GET /api/version` again and again and notes its longest wait; the memory is the worker's, before and after. All of it
goes to 127.0.0.1.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import select
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import requests
import zstandard

from simulator.process import Simulator
from tests.servers import ProxyServer

MEGABYTE = 1 << 20
#: An attack's single request may take so long; then it is given up.
PATIENCE = 90.0
VERSION = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMALL_CHUNKS = "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


# Streams of bytes: sent as fast as the server takes them, until the time is over.


def _flood(port: int, until: float, head: str, piece: bytes, *, connections: int = 1, rate: float = 50.0) -> str:
    """Send `head`, then `piece` after piece on each connection, at most `rate` MB/s; a closed one is made anew."""
    open_ones: list[socket.socket] = []
    sent = made = 0
    began = time.monotonic()
    while (now := time.monotonic()) < until:
        try:
            while len(open_ones) < connections:
                fresh = socket.create_connection(("127.0.0.1", port), timeout=1)
                open_ones.append(fresh)
                made += 1
                fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                fresh.sendall(head.encode())
                fresh.setblocking(False)
            ready, takes, _ = select.select(open_ones, open_ones, [], 0.01)
            for one in takes:
                sent += one.send(piece)
            for one in ready:
                if not one.recv(MEGABYTE):
                    raise ConnectionError
        except OSError:
            for one in open_ones:
                one.close()
            open_ones = []
        time.sleep(max(0.0, sent / (rate * MEGABYTE) - (now - began)))
    for one in open_ones:
        one.close()
    return f"{sent / MEGABYTE:.1f} MB on {made} connections"


def pipelined(port: int, until: float) -> str:
    return _flood(port, until, "", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)


def pipelined_without_a_path(port: int, until: float) -> str:
    return _flood(port, until, "", b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)


def new_connections(port: int, until: float) -> str:
    """Requests, each on a connection of its own, 200 connections at a time."""
    made = 0
    while time.monotonic() < until:
        batch = []
        with suppress(OSError):
            for _ in range(200):
                batch.append(socket.create_connection(("127.0.0.1", port), timeout=5))
                batch[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                made += 1
            batch[-1].recv(1000)
        for one in batch:
            one.close()
    return f"{made} connections"


def one_byte_chunks(port: int, until: float) -> str:
    return _flood(port, until, SMALL_CHUNKS, b"1\r\n \r\n" * 2000)


def chunk_extensions(port: int, until: float) -> str:
    return _flood(port, until, SMALL_CHUNKS, b"1;" + b"a;" * 8000 + b"a\r\n \r\n")


def endless_trailers(port: int, until: float) -> str:
    return _flood(port, until, SMALL_CHUNKS + "0\r\n", b"A: b\r\n" * 50, connections=20)


def one_byte_segments(port: int, until: float) -> str:
    head = "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99000000\r\n\r\n"
    return _flood(port, until, head, b" ", connections=20)


def slow_heads(port: int, until: float) -> str:
    """Heads that grow by a few bytes at a time."""
    return _flood(port, until, "GET / HTTP/1.1\r\n", b"A: " + b"b" * 200 + b"\r\n", connections=20)


def refused_uploads(port: int, until: float) -> str:
    """Bodies of requests that do not want one."""
    head = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99000000\r\n\r\n"
    return _flood(port, until, head, bytes(MEGABYTE))


def unfinished_bodies(port: int, _until: float) -> str:
    """Six bodies of 95 MB that lack their end, so that each is given up after BODY_TIMEOUT_SECONDS."""
    head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99000000\r\n\r\n"
    told: list[str] = []

    def upload() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
            with suppress(OSError):
                sock.sendall(head + bytes(95_000_000))
            with suppress(OSError):
                told.append(sock.recv(12)[9:].decode())

    uploads = [threading.Thread(target=upload) for _ in range(6)]
    for one in uploads:
        one.start()
    for one in uploads:
        one.join()
    time.sleep(1.5)  # what is not needed any more is given back within a second
    return f"6 bodies, answered {', '.join(sorted(told))}"


# Single requests: each costs processor time by what stands in one field.


@dataclass(frozen=True)
class Post:
    """One request of an attack. `body` is made when it is needed: they are large."""

    path: str
    body: Callable[[], bytes]
    headers: tuple[tuple[str, str], ...] = ()

    def __call__(self, port: int, until: float) -> str:
        body, began = self.body(), time.monotonic()
        try:
            answer = requests.post(
                f"http://127.0.0.1:{port}{self.path}", data=body, headers=dict(self.headers), timeout=PATIENCE
            )
            told = f"{answer.status_code} {answer.text[:60]!r}"
        except requests.RequestException as error:
            told = type(error).__name__
        return f"{len(body) / MEGABYTE:.1f} MB: {told} in {time.monotonic() - began:.2f} s"


MESSAGES = [{"role": "user", "content": "hello"}]


def _json(**fields: Any) -> bytes:
    return json.dumps({"model": "ember-4:free", "stream": False, "messages": MESSAGES, **fields}).encode()


def _calls(count: int) -> bytes:
    """Ids of the kind that the proxy makes itself, and as many that it has to replace."""
    ids = [f"m{n:08d}" for n in range(count // 2)] + [f"call_{n}" for n in range(count // 2)]
    calls = [{"id": one, "function": {"name": "f", "arguments": {}}} for one in ids]
    history = [*MESSAGES, {"role": "assistant", "tool_calls": calls}]
    return json.dumps({"model": "mistralai/gale-24b", "stream": False, "messages": history}).encode()


EMPTY_FRAME = zstandard.ZstdCompressor().compress(b"")
SKIPPABLE_FRAME = b"\x50\x2a\x4d\x18\x00\x00\x00\x00"
ZSTD = (("Content-Encoding", "zstd"),)

SINGLE: dict[str, Post] = {
    "keep_alive": Post("/api/chat", lambda: _json(keep_alive="1m" * 5 * MEGABYTE)),
    "tool_call_ids": Post("/api/chat", lambda: _calls(14_000)),
    "images_of_newlines": Post("/api/chat", lambda: _json(messages=[{"images": ["\n" * 20 * MEGABYTE]}])),
    "template": Post("/api/generate", lambda: _json(prompt="a", template="{{}}" * 5 * MEGABYTE)),
    "name_of_colons": Post("/api/chat", lambda: _json(model=":" * 20 * MEGABYTE)),
    "name_of_slashes": Post("/api/chat", lambda: _json(model="a/" * 10 * MEGABYTE)),
    "openai_name_of_colons": Post("/v1/chat/completions", lambda: _json(model="a:" * 10 * MEGABYTE)),
    "lone_surrogates": Post("/api/chat", lambda: _json(model="\udc00" * 4 * MEGABYTE)),
    "zstd_empty_frames": Post("/v1/chat/completions", lambda: EMPTY_FRAME * (20 * MEGABYTE // len(EMPTY_FRAME)), ZSTD),
    "zstd_skippable_frames": Post("/v1/chat/completions", lambda: SKIPPABLE_FRAME * (20 * MEGABYTE // 8), ZSTD),
}

#: The attacks by name: called with the port and the end of the attack, each says what it has done.
ATTACKS: dict[str, Callable[[int, float], str]] = {
    "none": lambda _, until: (time.sleep(max(0.0, until - time.monotonic())), "")[1],
    "pipelined": pipelined,
    "pipelined_404": pipelined_without_a_path,
    "connections": new_connections,
    "chunks": one_byte_chunks,
    "chunk_extensions": chunk_extensions,
    "trailers": endless_trailers,
    "segments": one_byte_segments,
    "heads": slow_heads,
    "refused_uploads": refused_uploads,
    "unfinished_bodies": unfinished_bodies,
    **SINGLE,
}


def watch(port: int, over: Event, waits: Any) -> None:
    """An innocent client: its longest wait in seconds, and how often it was answered."""
    longest, answers = 0.0, 0
    while not over.is_set():
        began = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
                for _ in range(50):
                    began = time.monotonic()
                    sock.sendall(VERSION)
                    if not sock.recv(4096):
                        raise ConnectionError("cut off")
                    longest, answers = max(longest, time.monotonic() - began), answers + 1
                    if over.wait(0.002):
                        break
        except OSError:
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.1)
    waits.put((longest, answers))


def resident(server: ProxyServer) -> float:
    """MB of memory that the worker has resident."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in children]
    return sum(int(found[1]) for text in texts if (found := re.search(r"VmRSS:\s+(\d+)", text))) / 1024


def measured(server: ProxyServer, attack: Callable[[int, float], str], seconds: float) -> tuple[float, int, str]:
    """The longest wait of the innocent client, the number of its answers, and what the attack says."""
    spawning = multiprocessing.get_context("spawn")
    over, waits = spawning.Event(), spawning.Queue()
    innocent = spawning.Process(target=watch, args=(server.port, over, waits))
    innocent.start()
    time.sleep(0.5)
    try:
        did = attack(server.port, time.monotonic() + seconds)
    finally:
        over.set()
    longest, answers = waits.get(timeout=PATIENCE + 5)
    innocent.join(5)
    return longest, answers, did


def rows(names: list[str], seconds: float) -> Iterator[str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ollama-proxy-bench-")))
        simulator = stack.enter_context(Simulator())
        simulator.control(
            "models",
            {"add": [{"id": "mistralai/gale-24b", "supported_parameters": ["tools"], "context_length": 10**7}]},
        )
        settings = {"free_mode": "false", "log_level": "warning", "body_timeout_seconds": 3}
        server = stack.enter_context(ProxyServer(folder, simulator.url, **settings))
        for name in names:
            before = resident(server)
            longest, answers, did = measured(server, ATTACKS[name], seconds)
            after = resident(server)
            yield f"{name:22} {longest * 1000:9.1f} ms {answers:6} answers  {before:6.0f} -> {after:4.0f} MB  {did}"
        if text := server.log().strip():
            yield f"the server's log:\n{text[-2000:]}"


def main() -> None:
    commands = argparse.ArgumentParser(prog="python -m bench.attacks", description="What one client costs the others.")
    commands.add_argument("--only", default=",".join(ATTACKS), help=f"of {', '.join(ATTACKS)} (default: all)")
    commands.add_argument("--seconds", type=float, default=5.0, help="for an attack that goes on (default 5)")
    given = commands.parse_args()
    names = given.only.split(",")
    if unknown := set(names) - set(ATTACKS):
        commands.error(f"no such attack: {', '.join(sorted(unknown))}")
    print(f"{'attack':22} {'longest wait':>12}")
    for row in rows(names, min(given.seconds, 60)):
        print(row, flush=True)


if __name__ == "__main__":
    main()
