"""`pip install -e .` gives the command `ollama-proxy`, which works in any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ollama_proxy.version import __version__
from tests.servers import ROOT


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of a fresh environment in which this project is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    scripts = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "install", "--no-deps", "--editable", ROOT], capture_output=True, text=True, timeout=180, check=False
    )
    if "NewConnectionError" in done.stderr or "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    return scripts


def run(scripts: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in `folder`; the packages it needs are those of this environment."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": sysconfig.get_paths()["purelib"]}
    command = [str(scripts / "ollama-proxy"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_knows_its_version_and_its_help(scripts: Path, tmp_path: Path) -> None:
    assert run(scripts, tmp_path, "--version").stdout == f"ollama-proxy {__version__}\n"
    assert run(scripts, tmp_path, "--help").stdout.startswith("Usage: ollama-proxy ")


def test_what_is_installed_has_the_version_of_the_code(scripts: Path) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps(m.version('ollama-proxy')))"
    assert json.loads(subprocess.check_output([scripts / "python", "-c", code])) == __version__


def test_it_serves_as_the_module_does(scripts: Path, tmp_path: Path) -> None:
    ended = run(scripts, tmp_path)
    assert ended.returncode == 1
    [line] = (ended.stdout + ended.stderr).strip().splitlines()
    assert line.startswith("OPENROUTER_API_KEY is not set")
