"""gunicorn.conf.py: what it refuses to start with, and how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def print_config(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """gunicorn with our file, which tells its settings and ends. Run in `folder`, so that no .env is found."""
    command = [sys.executable, "-m", "gunicorn", "-c", ROOT / "gunicorn.conf.py", "--print-config"]
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(folder), **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        pytest.param({"OPENROUTER_API_KEY": "k", "PORT": "abc"}, "PORT='abc'", id="a value that cannot be read"),
        pytest.param({}, "OPENROUTER_API_KEY is not set", id="no key"),
    ],
)
def test_bad_settings_stop_the_start_with_one_line(tmp_path: Path, variables: dict[str, str], line: str) -> None:
    ended = print_config(tmp_path, **variables)
    assert ended.returncode == 1
    assert ended.stderr.startswith(line)
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param(
            {},
            {
                "bind": "['0.0.0.0:11434']",
                "workers": "1",
                "graceful_timeout": "25",
                "secure_scheme_headers": "{}",
                "forwarded_allow_ips": "[]",
                "preload_app": "False",
            },
            id="defaults",
        ),
        pytest.param(
            {"HOST": "::1", "PORT": "8000", "WEB_CONCURRENCY": "3", "DRAIN_SECONDS": "60.5"},
            {"bind": "['[::1]:8000']", "workers": "3", "graceful_timeout": "66"},
            id="set",
        ),
    ],
)
def test_settings_reach_gunicorn(tmp_path: Path, variables: dict[str, str], expected: dict[str, str]) -> None:
    shown = print_config(tmp_path, OPENROUTER_API_KEY="k", **variables)
    settings = dict(map(str.strip, row.split("=", 1)) for row in shown.stdout.splitlines() if "=" in row)
    assert {name: settings[name] for name in expected} == expected
