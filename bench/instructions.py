"""Counts the processor instructions of a start, a request and a burst, with valgrind: figures that do not drift.

    python -m bench.instructions                     # of this checkout
    python -m bench.instructions --tree ../other     # of another one, such as the version before a change

The whole server runs under `valgrind --tool=cachegrind --cache-sim=no` (every process of it, gunicorn's parser and
writer included) in front of the stand-in upstream, with and without the requests of a kind. The difference is what they
cost. It takes some minutes; two runs of one tree differ by less than a hundredth.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bench import servers
from bench.load import Generator, Load
from bench.processes import ROOT, Server, answers, free_port, wait_for

_TOTAL = re.compile(r"^summary:\s+(\d+)", re.MULTILINE)
_PATIENCE = 300.0
#: Requests before those that count, for what is made once: connections, caches, the first log line.
_WARM_UP = 20

CHAT = {"model": "fast:free", "messages": [{"role": "user", "content": "bench:whole:20"}], "stream": False}
BURST = {"model": "fast:free", "messages": [{"role": "user", "content": "bench:burst:200"}], "stream": True}

#: Name: path, body, words in an answer, how many are sent.
KINDS = {
    "request, Ollama": ("/api/chat", CHAT, 20, 200),
    "request, OpenAI": ("/v1/chat/completions", CHAT, 20, 200),
    "burst of 200 events, Ollama": ("/api/chat", BURST, 200, 60),
    "burst of 200 events, OpenAI": ("/v1/chat/completions", BURST, 200, 60),
}


def count(tree: Path, upstream_port: int, kind: str, number: int) -> int:
    """The instructions of one run: a start, the warm-up, `number` requests of `kind`, a stop. Raises RuntimeError."""
    with tempfile.TemporaryDirectory(prefix="ollama-proxy-instructions-") as name:
        folder, port = Path(name), free_port()
        environ = {
            "PYTHONPATH": str(tree),
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
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--trace-children=yes", "-q"]
        valgrind.append(f"--cachegrind-out-file={folder}/count.%p")
        server = Server([*valgrind, sys.executable, "-m", "ollama_proxy"], folder=folder, name="proxy", environ=environ)
        try:
            wait_for(lambda: answers(port), server, seconds=_PATIENCE)
            path, body, words, _ = KINDS[kind]
            for times in (_WARM_UP, number) if number else (_WARM_UP,):
                load = Load(port, path, body=json.dumps(body), words=words, requests_each=times, seconds=_PATIENCE)
                if (measured := Generator(load).run()).lost:
                    raise RuntimeError(f"{measured.lost} requests were lost ({measured.problem})")
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(_PATIENCE)
        finally:
            server.stop()
        return sum(int(_TOTAL.findall(file.read_text(errors="replace"))[-1]) for file in folder.glob("count.*"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__.partition("\n")[0])
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout to measure (default: this one)")
    parser.add_argument("--only", default="", help="only the kinds whose name begins so, such as request")
    given = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed (Debian: valgrind)")
    tree = given.tree.resolve()
    with tempfile.TemporaryDirectory() as folder, servers.upstream(Path(folder)) as upstream:
        for kind, (_, _, _, number) in KINDS.items():
            if not kind.startswith(given.only):
                continue
            start = count(tree, upstream.port, kind, 0)
            each = (count(tree, upstream.port, kind, number) - start) / number
            print(f"{kind:30} {each / 1e3:10.1f} thousand; a start {start / 1e6:9.1f} million", flush=True)


if __name__ == "__main__":
    main()
