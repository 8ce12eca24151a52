"""A real Prometheus for tests, and its `promtool`, if they are installed (Debian: prometheus)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from tests.servers import PATIENCE, free_port, wait_for

CONFIGURATION = """
global:
  scrape_interval: 250ms
  scrape_timeout: 250ms
scrape_configs:
  - job_name: ollama-proxy
    authorization:
      credentials_file: {folder}/key
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`. Skips the test where it is not installed."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/bin")
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: prometheus)")
    return path


def promtool(*arguments: str | Path, given: bytes = b"") -> str:
    """What promtool says; AssertionError if it finds something wrong."""
    done = subprocess.run([program("promtool"), *map(str, arguments)], input=given, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


class Prometheus:
    """Scrapes the server at `port` four times a second, with `key`. Use it as a context manager."""

    def __init__(self, folder: Path, port: int, *, key: str) -> None:
        command = program("prometheus")
        folder.mkdir()
        (folder / "key").write_text(key)
        (folder / "prometheus.yml").write_text(CONFIGURATION.format(folder=folder, port=port))
        own = free_port()
        self.url = f"http://127.0.0.1:{own}"
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    command,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{own}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(self._is_ready, what="Prometheus is ready")
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return requests.get(f"{self.url}/-/ready", timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The samples that `expression` finds now: `metric` (labels) and `value` (time, text) of each."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=PATIENCE)
        said = answer.json()
        assert said["status"] == "success", f"{expression}: {said.get('error')}"
        result: list[dict[str, Any]] = said["data"]["result"]
        return result

    def values(self, expression: str, *labels: str) -> dict[Any, float]:
        """The values that `expression` finds now by the value of one label, or by those of several; by () of none."""
        found = {}
        for sample in self.ask(expression):
            key = tuple(sample["metric"].get(label, "") for label in labels)
            found[key[0] if len(labels) == 1 else key] = float(sample["value"][1])
        return found

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
