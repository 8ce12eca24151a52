"""`make demo` works whatever the settings of the shell and of the project are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.servers import PATIENCE, ROOT, free_port, wait_for


@pytest.mark.parametrize("keys", ["", "some-key"], ids=["no client key", "a client key"])
def test_the_demo_answers_under_any_settings_of_the_shell(tmp_path: Path, keys: str) -> None:
    port = free_port()
    settings = {"PROXY_API_KEYS": keys, "OPENROUTER_API_KEY_FILE": "/nowhere/key", "MODELS_FILTER": "nowhere.txt"}
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "PORT": str(port), **settings}
    output = tmp_path / "output"
    with output.open("wb") as out:
        command = [sys.executable, "-m", "simulator.demo"]
        demo = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        wait_for(
            lambda: demo.poll() is not None or "Ctrl-C ends it." in output.read_text(), what="the demo says all it has"
        )
        assert demo.poll() is None, output.read_text()
        assert "You said: Say hello to whoever runs this demo." in output.read_text()
        assert requests.get(f"http://127.0.0.1:{port}/api/tags", timeout=PATIENCE).ok
    finally:
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(PATIENCE) == 0
