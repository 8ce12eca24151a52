"""Runs the simulator as a child process, for tests: starts it, steers it over HTTP, stops it by its pid.

It uses the standard library only and works with and without gevent's patches.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import ssl
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
LINE = re.compile(r"simulator listening on (?P<url>\S+)(?: ca-file (?P<ca>.+))?\s*$")


class Simulator:
    """A running simulator; a context manager. `url` is for `OPENROUTER_BASE_URL`, `ca_file` for TLS."""

    def __init__(
        self,
        *,
        tls: bool = False,
        models: str | Path | None = None,
        port: int = 0,
        scenario: Json | None = None,
        start_seconds: float = 15.0,
    ) -> None:
        command = [sys.executable, "-m", "simulator", "--port", str(port), "--until-stdin-closes"]
        command += ["--tls"] if tls else []
        command += ["--models", str(models)] if models else []
        command += ["--scenario", json.dumps(scenario)] if scenario else []
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            found = LINE.search(self._first_line(start_seconds))
            if found is None:
                raise RuntimeError(f"the simulator did not start (exit code {self._process.poll()})")
        except BaseException:
            self.stop()
            raise
        self.url: str = found["url"]
        self.ca_file: str | None = found["ca"]
        self.pid = self._process.pid
        parts = urlsplit(self.url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.port = parts.port or 0
        self._address = parts.hostname or "127.0.0.1"
        self._tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None

    def _first_line(self, seconds: float) -> str:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline, line = time.monotonic() + seconds, b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(descriptor, 4096) if ready else b""
            if not data:
                break
            line += data
        return line.decode()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process (SIGTERM, after 5 s SIGKILL). May be called twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    # control

    def _call(self, method: str, path: str, body: Any = None, *, seconds: float = 10.0) -> Any:
        connection: http.client.HTTPConnection
        if self._tls is not None:
            connection = http.client.HTTPSConnection(self._address, self.port, timeout=seconds, context=self._tls)
        else:
            connection = http.client.HTTPConnection(self._address, self.port, timeout=seconds)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, f"/_control/{path}", data, {"Connection": "close"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"simulator: {answer['error']}")
        return answer

    def control(self, name: str, body: Json | None = None) -> Any:
        """POST to /_control/`name`. Raises ValueError with the simulator's text if it refuses."""
        return self._call("POST", name, body or {})

    def scenario(
        self, model: str = "*", /, *, times: int | None = None, for_seconds: float | None = None, **members: Any
    ) -> None:
        """Set what `model` (id, endpoint or "*") does, `times` times (None: until changed or for `for_seconds`)."""
        body = {"model": model, "scenario": members, "times": times, "for_seconds": for_seconds}
        self.control("scenario", body)

    def queue(self, model: str, *scenarios: Json) -> None:
        """Append scenarios that are used for one request each; then the model behaves normally again."""
        self.control("scenario", {"model": model, "scenarios": list(scenarios)})

    def clear(self, model: str = "*") -> None:
        """Drop all scenarios of `model`."""
        self.control("scenario", {"model": model, "scenario": None})

    def release(self, hold: str, count: int | None = None) -> None:
        """Open the gate `hold`, for good or for `count` waiters."""
        self.control("release", {"hold": hold, "count": count})

    def reset(self) -> None:
        """Reset scenarios, catalogue, key, down and log; requests under way are cut off."""
        self.control("reset")

    def log(self, since: int = 0, *, wait: float = 0.0, minimum: int = 1, **filters: Any) -> list[Json]:
        """Return log entries with n > `since`; waits up to `wait` seconds until there are `minimum` of them.

        `filters`: model, path (its end), method, outcome, holding, min_events.
        """
        query = urlencode({"since": since, "wait": wait, "min": minimum, **filters})
        entries: list[Json] = self._call("GET", f"log?{query}", seconds=wait + 10)
        return entries

    def chats(self, since: int = 0, **filters: Any) -> list[Json]:
        """Return the log without the GET requests for models and keys."""
        return self.log(since, method="POST", **filters)

    def charges(self) -> list[Json]:
        """Return what each answer cost: generation, session, model, cost (dollars), ended."""
        charges: list[Json] = self._call("GET", "charges")
        return charges

    def stats(self) -> Json:
        """Return open_connections, open_streams, peak_open_streams, total, cpu_seconds, max_rss_kb, uptime."""
        answer: Json = self._call("GET", "stats")
        return answer
