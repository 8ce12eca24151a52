"""Real servers for tests: the proxy under gunicorn, in a directory of its own, on a port that the system chose."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import requests

from ollama_proxy.config import VARIABLES

ROOT = Path(__file__).resolve().parent.parent

#: Seconds. Far more than any of these takes; a machine under load must not fail a test.
PATIENCE = 30.0

#: Whether coverage is measured (`make coverage`): a process that is killed leaves no figures behind.
MEASURED = "COVERAGE_PROCESS_CONFIG" in os.environ
#: Seconds that a measured server has to end by itself.
MEASURED_END = 5.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(condition: Callable[[], Any], *, what: str, seconds: float = PATIENCE) -> Any:
    """What `condition` returns as soon as that is true; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return result


class ProxyServer:
    """One proxy process tree. Use it as a context manager, or call `stop`."""

    def __init__(
        self,
        directory: Path,
        upstream: str,
        *,
        how: str = "module",
        ready: bool = True,
        ca_file: str | None = None,
        arguments: list[str] | None = None,
        env_file: Sequence[str] = (),
        **settings: object,
    ) -> None:
        """`upstream` is OpenRouter's address, `how` is "module" (`python -m ollama_proxy`, what `make run` does) or
        "gunicorn" (`gunicorn wsgi:app`). `settings` are environment variables in lower case; `env_file` names, in upper
        case, those that stand in `.env` instead. With `ready` the constructor returns when there is a catalogue, else
        as soon as the port answers."""
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log_file = directory / f"server-{self.port}.log"
        metrics = directory / f"metrics-{self.port}"
        metrics.mkdir()
        environment = {name: value for name, value in os.environ.items() if name not in _OURS}
        environment |= {
            "OPENROUTER_API_KEY": "sk-or-test-key",
            "OPENROUTER_BASE_URL": upstream,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "DATABASE_URL": f"sqlite:///{directory / 'proxy.db'}",
            "LOG_FORMAT": "json",
            # Tests say "hello" again and again, and what one of them did must not decide who answers the next.
            "EXPLORE": "0",
            "STICKY_MINUTES": "0",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            "PYTHONFAULTHANDLER": "1",
        }
        if ca_file is not None:
            environment["REQUESTS_CA_BUNDLE"] = ca_file
        environment |= {name.upper(): str(value) for name, value in settings.items()}
        environment["PYTHONPATH"] = str(ROOT)
        if env_file:
            self.write_env_file(**{name: environment.pop(name) for name in env_file})
        commands = {
            "module": [sys.executable, "-m", "ollama_proxy", *(arguments or [])],
            "gunicorn": [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "wsgi:app"],
        }
        with self._log_file.open("wb") as log:
            self.process = subprocess.Popen(
                commands[how], cwd=directory, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_for(self._answers, what="the proxy listens")
            if ready:
                wait_for(lambda: requests.get(f"{self.url}/api/tags", timeout=PATIENCE).ok, what="a catalogue")
        except BaseException as error:
            self._say_where_it_stands(error)
            self.stop()
            raise

    def _say_where_it_stands(self, error: BaseException) -> None:
        """Add to `error` what the server has written, and the stack of each of its threads if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGABRT)  # faulthandler writes the stacks, and the process ends
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(MEASURED_END)
        error.add_note(f"the proxy's log:\n{self.log()}")

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the proxy ended:\n{self.log()}"
        try:
            return requests.get(self.url, timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    def write_env_file(self, **variables: object) -> None:
        """Let `.env` say this and nothing else. The server looks at it when it starts, and on SIGHUP."""
        lines = [f"{name}={value}\n" for name, value in variables.items()]
        (self.directory / ".env").write_text("".join(lines))

    def log(self) -> str:
        """All that it has written."""
        return self._log_file.read_text(errors="replace")

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        """POST a JSON body to `path`."""
        return requests.post(f"{self.url}{path}", json=body, timeout=options.pop("timeout", PATIENCE), **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET `path`."""
        return requests.get(f"{self.url}{path}", timeout=options.pop("timeout", PATIENCE), **options)

    def chat(self, model: str = "free", text: str = "hello", **fields: Any) -> requests.Response:
        """A chat of one message, not streamed unless `fields` say so."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": False, **fields}
        return self.post("/api/chat", body, stream=bool(body["stream"]))

    def signal(self, number: int) -> None:
        """Send a signal to the server's main process."""
        self.process.send_signal(number)

    def terminate(self, seconds: float = PATIENCE) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End it and all its workers at once. How it ends by itself is the business of the tests that signal it."""
        if MEASURED and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(MEASURED_END)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


#: Variables of the developer's own environment that would change what a test sees.
_OURS = VARIABLES.keys() | {
    name + end
    for name, end in [("REQUESTS_CA", "_BUNDLE"), ("CURL_CA", "_BUNDLE"), ("SSL_CERT", "_FILE")]
    + [(scheme, "_PROXY") for scheme in ("HTTP", "HTTPS", "ALL", "NO")]
}
