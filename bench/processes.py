"""Starting and ending the processes of a run, and what `/proc` says of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.load import Load, Measured

ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE = 30.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """A process tree of its own, with its output in a file."""

    def __init__(
        self, command: list[str], *, folder: Path, name: str, environ: Mapping[str, str] | None = None
    ) -> None:
        self.log = folder / f"{name}.log"
        inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**inherited, "PYTHONPATH": str(ROOT), **(environ or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End the tree."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5)

    def pids(self) -> list[int]:
        """The process and all that it started."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int(_stat(int(entry.name))[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu(self) -> float:
        """Seconds of CPU, user and system, that the tree's living processes have used."""
        total = 0.0
        for pid in self.pids():
            try:
                fields = _stat(pid)
            except OSError:
                continue
            total += (int(fields[11]) + int(fields[12])) / _TICKS
        return total

    def pss_kb(self) -> int:
        """Memory of the tree in kB, shared pages counted once (proc(5), smaps_rollup)."""
        total = 0
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (proc(5)); the name before them may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextmanager
def running(server: Server, port: int, ready: Callable[[], bool] | None = None) -> Iterator[Server]:
    """Wait until `port` answers and `ready()`; end the tree afterwards."""
    try:
        wait_for(lambda: answers(port), server)
        if ready is not None:
            wait_for(ready, server)
        yield server
    finally:
        server.stop()


def wait_for(condition: Callable[[], bool], server: Server, seconds: float = _PATIENCE) -> None:
    """Returns when `condition` holds. RuntimeError with the server's output if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{server.log.stem} did not start:\n{server.log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.01)


def answers(port: int) -> bool:
    """Whether somebody accepts connections on `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Generating:
    """A load generator at work, in a process of its own."""

    def __init__(self, load: Load) -> None:
        self._limit = load.seconds + load.grace + load.ramp + 15
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load", "-"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(load)))
        self._process.stdin.close()
        self._process.stdin = None

    def result(self) -> Measured:
        """Wait for the end; what was measured."""
        try:
            output, _ = self._process.communicate(timeout=self._limit)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return Measured(**json.loads(output))


def generate(load: Load) -> Measured:
    """Run one load to its end."""
    return Generating(load).result()
