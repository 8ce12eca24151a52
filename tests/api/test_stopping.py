"""Ctrl-C: it reaches every process of the terminal's group, and ends the server like SIGTERM, without a word too many.

Nothing is left in the temporary directory, however a start or a run ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ROOT, ProxyServer, free_port, wait_for

TOKENS = 20


@pytest.fixture
def start(start_proxy: Callable[..., ProxyServer], tmp_path: Path) -> Callable[..., ProxyServer]:
    """A server with a temporary directory and a metrics folder of its own."""

    def start(**settings: Any) -> ProxyServer:
        return start_proxy(prometheus_multiproc_dir="", tmpdir=tmp_path, free_requests_per_minute=0, **settings)

    return start


def press(server: ProxyServer) -> None:
    """Ctrl-C in the server's terminal."""
    os.killpg(server.process.pid, signal.SIGINT)


def is_listening(server: ProxyServer) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except OSError:
        return False
    return True


def ended_well(server: ProxyServer, folder: Path) -> None:
    assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in server.log()
    assert "SystemExit" not in server.log()
    assert not list(folder.glob("ollama-proxy-metrics-*"))


@contextmanager
def a_stream(server: ProxyServer, simulator: Simulator) -> Iterator[Iterator[dict[str, Any]]]:
    """A streamed chat of which the first line is there; upstream waits at the gate "rest"."""
    simulator.scenario("*", tokens=TOKENS, reasoning=False, hold="rest", hold_at=5)
    with server.chat(stream=True) as answer:
        lines = map(json.loads, answer.iter_lines())
        assert next(lines)["done"] is False
        yield lines


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_lets_answers_end(
    start: Callable[..., ProxyServer], simulator: Simulator, tmp_path: Path, workers: int
) -> None:
    server = start(web_concurrency=workers)
    with a_stream(server, simulator) as lines:
        press(server)
        wait_for(lambda: not is_listening(server), what="the drain begins")
        simulator.release("rest")
        assert list(lines)[-1]["done_reason"] == "stop"
    ended_well(server, tmp_path)


def test_what_ctrl_c_cuts_short_says_so(
    start: Callable[..., ProxyServer], simulator: Simulator, tmp_path: Path
) -> None:
    server = start(drain_seconds=0.3)
    with a_stream(server, simulator) as lines:
        press(server)
        assert "shutting down" in list(lines)[-1]["error"]
    ended_well(server, tmp_path)


def test_a_second_ctrl_c_ends_at_once(start: Callable[..., ProxyServer], simulator: Simulator, tmp_path: Path) -> None:
    server = start(drain_seconds=600)
    with a_stream(server, simulator) as lines:
        press(server)
        wait_for(lambda: not is_listening(server), what="the drain begins")
        press(server)
        assert "shutting down" in list(lines)[-1]["error"]
    ended_well(server, tmp_path)


@pytest.mark.parametrize("pause", [0.0, 0.02, 0.3])
def test_ctrl_c_many_times(
    start: Callable[..., ProxyServer], simulator: Simulator, tmp_path: Path, pause: float
) -> None:
    server = start(drain_seconds=0.5, web_concurrency=2)
    with a_stream(server, simulator) as lines:
        for _ in range(5):
            if server.process.poll() is None:
                press(server)
            time.sleep(pause)  # the time between two presses is what this is about
        assert "shutting down" in list(lines)[-1]["error"]
    ended_well(server, tmp_path)


def test_ctrl_c_in_one_process_alone_is_no_end(start: Callable[..., ProxyServer]) -> None:
    """The worker's is the master's business."""
    server = start()
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGINT)
    assert server.chat().status_code == 200


def begin(folder: Path, upstream: str, port: int, **variables: str) -> subprocess.Popen[bytes]:
    """A start that a test may end before it is done."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OPENROUTER_API_KEY": "sk-or-x"}
    environment |= {"HOST": "127.0.0.1", "PORT": str(port), "TMPDIR": str(folder), "OPENROUTER_BASE_URL": upstream}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ollama_proxy"],
            cwd=folder,
            env={**environment, **variables},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def test_ctrl_c_during_the_start_is_silent(tmp_path: Path) -> None:
    """While OpenRouter is asked for the key, which nobody answers here."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        starting = begin(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}/api/v1", free_port())
        silent.settimeout(PATIENCE)
        silent.accept()[0].close()
        os.killpg(starting.pid, signal.SIGINT)
        assert starting.wait(PATIENCE) != 0
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert not list(tmp_path.glob("ollama-proxy-metrics-*"))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_one_line_that_says_so(tmp_path: Path, simulator: Simulator, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = begin(tmp_path, simulator.url, port, HOST=host)
        assert ended.wait(PATIENCE) == 1
    [line] = (tmp_path / "log").read_text().splitlines()
    assert line.startswith(f"PORT={port} is taken")
    assert not list(tmp_path.glob("ollama-proxy-metrics-*"))


def test_a_port_that_may_be_taken_again_is(start: Callable[..., ProxyServer], tmp_path: Path) -> None:
    """A server that was just stopped leaves connections behind that wait for their end (TIME_WAIT)."""
    first = start()
    kept = requests.Session()
    assert kept.get(first.url, timeout=PATIENCE).ok
    assert first.terminate() == 0
    again = begin(tmp_path, "http://127.0.0.1:9/api/v1", first.port)
    try:
        wait_for(lambda: is_listening(first), what="the port is taken again")
    finally:
        again.terminate()
        assert again.wait(PATIENCE) == 0


def test_no_more_files_is_one_line(start: Callable[..., ProxyServer], tmp_path: Path) -> None:
    """Not a traceback for each try; and whoever waits is served when there are files again."""
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60)); "
    limited += "runpy.run_module('ollama_proxy', run_name='__main__')"
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OPENROUTER_API_KEY": "sk-or-x"}
    environment |= {"HOST": "127.0.0.1", "PORT": str(port), "OPENROUTER_BASE_URL": "http://127.0.0.1:9/api/v1"}
    log = tmp_path / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-c", limited], cwd=tmp_path, env=environment, stdout=out, stderr=out
        )
    try:
        wait_for(lambda: "Booting worker" in log.read_text(), what="a worker")
        clients = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(80)]
        wait_for(lambda: "No more connections" in log.read_text(), what="the line")
        late = clients.pop()
        late.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for client in clients:
            client.close()
        assert late.recv(12) == b"HTTP/1.1 200"
        late.close()
    finally:
        server.terminate()
        assert server.wait(PATIENCE) == 0
    assert log.read_text().count("No more connections can be taken for now: Too many open files") == 1
    assert "Traceback" not in log.read_text()
