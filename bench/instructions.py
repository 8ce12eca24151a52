"""Counts the processor instructions of a start, a request and a burst, with valgrind: figures that do not drift.

    python -m bench.instructions                     # of this checkout
    python -m bench.instructions --tree ../other     # of another one, such as the version before a change

The whole server runs under `valgrind --tool=cachegrind --cache-sim=no` (every process of it, gunicorn's parser and
writer included) in front of the stand-in upstream, with and without the requests of a kind. The difference is what they
cost. It takes some minutes; two runs of one tree differ by less than a hundredth, but the first run of a tree counts
the compiling of its modules too.

Valgrind takes fifty times as long, so what a server does every second or two (look for news in the database, write the
ledger, arrange the models) would be done fifty times as often for each request. `pace/` makes it as rare as it is
without valgrind. What a request adds to the ledger's writes is in its row, as all records are written at the end; the
last row is what one such write costs besides, which is made every two seconds while requests come.
`--clock` leaves the clock as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench import servers
from bench.load import Generator, Load
from bench.processes import ROOT, Server, answers, free_port, wait_for

_TOTAL = re.compile(r"^summary:\s+(\d+)", re.MULTILINE)
_PATIENCE = 300.0
#: Requests before those that count, for what is made once: connections, caches, the first log line.
_WARM_UP = 100
#: Seconds after the first answer for what a start still does in the background: it must not fall into one run only.
_SETTLING = 5.0

#: How many times as long everything takes under valgrind, roughly.
_LONGER = 50
#: What is done by the clock: "module:NAME" and seconds, as they are without valgrind (`pace/sitecustomize.py`).
_BY_THE_CLOCK = {
    "ollama_proxy.fallback.measurements:WRITE_WITHIN": 30.0,
    "ollama_proxy.fallback.memory:RELOAD_SECONDS": 5.0,
    "ollama_proxy.fallback.order:HOLDS_SECONDS": 1.0,
    "ollama_proxy.ledger.key_counting:SETTLE_WITHIN": 0.05,
    "ollama_proxy.ledger.quota_keeper:ASK_EVERY": 60.0,
    "ollama_proxy.ledger.upkeep:EVERY": 2.0,
    "ollama_proxy.storage.batches:WITHIN": 2.0,
    "ollama_proxy.storage.revisions:FRESH_SECONDS": 1.0,
}
_SLOWED = {name: seconds * _LONGER for name, seconds in _BY_THE_CLOCK.items()}
#: With these the ledger is written after each request, if the next one comes late enough.
_WRITES_AT_ONCE = {**_SLOWED, "ollama_proxy.storage.batches:WITHIN": 0.0}
_BETWEEN_WRITES = 1.0

CHAT = {"model": "fast:free", "messages": [{"role": "user", "content": "bench:whole:20"}], "stream": False}
BURST = {"model": "fast:free", "messages": [{"role": "user", "content": "bench:burst:200"}], "stream": True}

#: Name: path, body, words in an answer, how many are sent.
KINDS = {
    "request, Ollama": ("/api/chat", CHAT, 20, 1000),
    "request, OpenAI": ("/v1/chat/completions", CHAT, 20, 1000),
    "burst of 200 events, Ollama": ("/api/chat", BURST, 200, 300),
    "burst of 200 events, OpenAI": ("/v1/chat/completions", BURST, 200, 300),
}

#: Names of kinds whose requests show a key, and the options of `ollama-proxy keys add` with which it is made.
KEYS = {
    "a key without limits, OpenAI": [],
    "a capped key, OpenAI": ["--free-day", "1000000"],
}
KINDS |= dict.fromkeys(KEYS, KINDS["request, OpenAI"])

#: A request as the first kind for OpenAI, and a write of the ledger for each.
WRITE, _WRITTEN, _WRITES = "a write of the ledger", "request, OpenAI", 20


def count(
    tree: Path, upstream_port: int, kind: str, number: int, *, paces: Mapping[str, float], pause: float = 0.0
) -> int:
    """The instructions of one run: a start, the warm-up, `number` requests of `kind`, a stop. Raises RuntimeError.

    `paces` are the numbers that `pace/sitecustomize.py` sets, `pause` is the time between these requests in seconds.
    """
    with tempfile.TemporaryDirectory(prefix="ollama-proxy-instructions-") as name:
        folder, port = Path(name), free_port()
        environ = {
            "PYTHONPATH": f"{Path(__file__).parent / 'pace'}{os.pathsep}{tree}",
            "BENCH_SECONDS": json.dumps(paces),
            "OPENROUTER_API_KEY": "sk-or-bench",
            "OPENROUTER_BASE_URL": f"http://127.0.0.1:{upstream_port}/api/v1",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "DATABASE_URL": f"sqlite:///{folder / 'proxy.db'}",
            "FREE_REQUESTS_PER_MINUTE": "0",
            "GUNICORN_CMD_ARGS": f"--timeout {_PATIENCE:g}",
            # Under valgrind everything takes fifty times as long: no time limit may change what is done.
            "HEARTBEAT_SECONDS": "600",
            "FIRST_TOKEN_TIMEOUT_SECONDS": "600",
            "PYTHONHASHSEED": "0",
        }
        key = _new_key(tree, folder, environ, KEYS[kind]) if kind in KEYS else ""
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--trace-children=yes", "-q"]
        valgrind.append(f"--cachegrind-out-file={folder}/count.%p")
        server = Server([*valgrind, sys.executable, "-m", "ollama_proxy"], folder=folder, name="proxy", environ=environ)
        try:
            wait_for(lambda: answers(port), server, seconds=_PATIENCE)
            time.sleep(_SETTLING)
            path, body, words, _ = KINDS[kind]
            for times, between in ((_WARM_UP, 0.0), (number, pause))[: 2 if number else 1]:
                load = Load(
                    port,
                    path,
                    json.dumps(body),
                    words=words,
                    requests_each=times,
                    seconds=_PATIENCE,
                    pause=between,
                    key=key,
                )
                if (measured := Generator(load).run()).lost:
                    raise RuntimeError(f"{measured.lost} requests were lost ({measured.problem})")
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(_PATIENCE)
        finally:
            server.stop()
        return sum(int(_TOTAL.findall(file.read_text(errors="replace"))[-1]) for file in folder.glob("count.*"))


def _new_key(tree: Path, folder: Path, environ: Mapping[str, str], options: list[str]) -> str:
    """Make a key with these options in the database of `environ`, and return it."""
    command = [sys.executable, "-m", "ollama_proxy", "keys", "add", "bench", *options]
    there = {"PATH": os.environ["PATH"], **environ, "PYTHONPATH": str(tree)}
    made = subprocess.run(command, cwd=folder, env=there, check=True, capture_output=True, text=True)
    return made.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__.partition("\n")[0])
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout to measure (default: this one)")
    parser.add_argument("--only", default="", help="only the kinds whose name begins so, such as request")
    parser.add_argument("--clock", action="store_true", help="do what is done by the clock as often as it says")
    given = parser.parse_args()
    paces = {} if given.clock else _SLOWED
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed (Debian: valgrind)")
    tree = given.tree.resolve()
    with tempfile.TemporaryDirectory() as folder, servers.upstream(Path(folder)) as upstream:
        for kind, (_, _, _, number) in KINDS.items():
            if kind.startswith(given.only):
                start = count(tree, upstream.port, kind, 0, paces=paces)
                each = (count(tree, upstream.port, kind, number, paces=paces) - start) / number
                print(f"{kind:30} {each / 1e3:10.1f} thousand; a start {start / 1e6:9.1f} million", flush=True)
        if WRITE.startswith(given.only):
            written = _instructions_of_a_write(tree, upstream.port)
            print(f"{WRITE:30} {written / 1e3:10.1f} thousand, every two seconds while requests come", flush=True)


def _instructions_of_a_write(tree: Path, upstream_port: int) -> float:
    """What a write of one record costs more than having it written with others. Nothing where there is no ledger."""
    alone, together = (
        count(tree, upstream_port, _WRITTEN, _WRITES, paces=paces, pause=_BETWEEN_WRITES)
        - count(tree, upstream_port, _WRITTEN, 0, paces=paces, pause=_BETWEEN_WRITES)
        for paces in (_WRITES_AT_ONCE, _SLOWED)
    )
    return (alone - together) / _WRITES


if __name__ == "__main__":
    main()
