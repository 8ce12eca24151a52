"""The command in processes of its own: both spellings, JSON, what is remembered, the development server, the demo."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ollama_proxy.version import __version__
from simulator.process import Simulator
from tests.servers import PATIENCE, ROOT, ProxyServer, free_port, wait_for

COMMAND = ("-m", "ollama_proxy")
FLASK = ("-m", "flask", "--app", str(ROOT / "wsgi.py"))
BEST = "nimbus/cirrus-ultra:free"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, simulator: Simulator) -> Run:
    """Runs a command beside the server that `start_proxy` starts, on its database; without a key.

    It does not find that server: what the commands do when they ask it is in test_report.py.
    """
    environment = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "OPENROUTER_BASE_URL": simulator.url}
    environment["DATABASE_URL"] = f"sqlite:///{tmp_path / 'proxy.db'}"
    # Nobody answers there, so that the commands look into the database; a test may name the server's port.
    environment["PORT"] = str(free_port())

    def run(
        *words: str, by: tuple[str, ...] = COMMAND, code: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [sys.executable, *by, *words],
            cwd=tmp_path,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended

    return run


def outcome(run: Run, *words: str, **options: Any) -> Any:
    """The JSON that a command prints."""
    return json.loads(run(*words, "--json", **options).stdout)


@pytest.fixture
def failed(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> ProxyServer:
    """A server that remembers a failure of the best model."""
    server = start_proxy()
    simulator.scenario(BEST, error_name="pool_429", times=1)
    assert server.chat().ok
    return server


def remembered(run: Run) -> list[str]:
    return [failure["id"] for failure in outcome(run, "failures", "list")["failures"]]


def test_models_and_failures_are_told_as_json_and_as_tables(run: Run, failed: ProxyServer) -> None:
    wait_for(lambda: remembered(run) == [BEST], what="the failure is in the table")
    first, second, *_ = outcome(run, "models")["models"]
    assert (first["id"], first["name"], first["state"]) == (BEST, "cirrus-ultra:free", "cooling")
    assert first["reason"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["until"])
    assert (second["state"], second["reason"], second["until"]) == ("ready", None, None)
    [failure] = outcome(run, "failures", "list")["failures"]
    assert (failure["name"], failure["state"], failure["until"]) == ("cirrus-ultra:free", "cooling", first["until"])
    head, line = run("failures", "list").stdout.splitlines()
    assert head.split() == ["MODEL", "STATE", "FAILURES", "LAST", "BLAME", "REASON", "TIME", "LEFT"]
    assert line.split()[:2] == ["cirrus-ultra:free", "cooling"]


def test_flask_has_the_same_commands(run: Run, failed: ProxyServer) -> None:
    wait_for(lambda: remembered(run) == [BEST], what="the failure is in the table")
    for words in (["failures", "list", "--json"], ["db", "current", "--json"]):
        assert run(*words, by=FLASK).stdout == run(*words).stdout
    one, other = (json.loads(run("models", "--json", by=by).stdout) for by in (FLASK, COMMAND))
    assert [model["id"] for model in one["models"]] == [model["id"] for model in other["models"]]
    assert run("failures", "clear", "no-such-model", by=FLASK, code=1).stdout == ""
    assert run("failures", "clear", BEST, by=FLASK).stdout.startswith("forgotten: 1")


def test_failures_are_forgotten_by_name_and_by_id(run: Run, failed: ProxyServer) -> None:
    wait_for(lambda: remembered(run) == [BEST], what="the failure is in the table")
    assert run("failures", "clear", "schema-12b:free").stdout.startswith("forgotten: 0")
    assert run("failures", "clear", "Cirrus-Ultra").stdout.startswith("forgotten: 1")
    assert run("failures", "list").stdout == "nothing is remembered\n"
    assert run("failures", "clear", BEST).stdout.startswith("forgotten: 0")
    assert run("failures", "clear").stdout.startswith("forgotten: 0")
    assert run("failures", "clear").stdout == "forgotten: 0\n", "nor is anything measured left"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such-model", "Error: no model is called 'no-such-model', and nothing is remembered of one"),
        ("beacon-24b:free", "lantern/beacon-24b:free"),
    ],
    ids=["nobody's name", "a name that two share"],
)
def test_forgetting_a_name_that_means_no_model_is_an_error(
    run: Run, start_proxy: Callable[..., ProxyServer], name: str, said: str
) -> None:
    start_proxy()
    ended = run("failures", "clear", name, code=1)
    assert ended.stdout == ""
    *_, line = ended.stderr.splitlines()
    assert said in line


def test_a_failure_of_a_model_that_is_gone_is_forgotten_by_its_id(run: Run, failed: ProxyServer) -> None:
    wait_for(lambda: remembered(run) == [BEST], what="the failure is in the table")
    failed.stop()
    with sqlite3.connect(failed.directory / "proxy.db") as database:
        database.execute("UPDATE model_failures SET model = 'gone/model:free'")
    [failure] = outcome(run, "failures", "list")["failures"]
    assert (failure["id"], failure["name"]) == ("gone/model:free", None)
    assert run("failures", "clear", "gone/model:free").stdout.startswith("forgotten: 1")
    run("failures", "clear", "gone/model:free", code=1)


def test_the_databases_version(run: Run) -> None:
    before = outcome(run, "db", "current")
    assert before["current"] is None
    assert run("db", "current").stdout == f"at nothing yet, newest {before['newest']}\n"
    assert "migrated to" in run("db", "upgrade").stdout
    assert "already at" in run("db", "upgrade").stdout
    assert outcome(run, "db", "current") == before | {"current": before["newest"]}
    assert run("db", "history").stdout.splitlines()[0].split()[0] == before["newest"]


@pytest.mark.parametrize(
    "words", [("failures", "list"), ("failures", "clear"), ("db", "current"), ("db", "upgrade")], ids=" ".join
)
def test_a_database_that_is_away_is_one_line(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words, code=1, DATABASE_URL="sqlite:////proc/none/proxy.db")
    lines = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "Traceback" not in ended.stderr


def test_the_doctors_findings_as_json_with_its_exit_code(run: Run) -> None:
    report = outcome(run, "doctor", code=1, PORT=str(free_port()))
    wrong = [finding["subject"] for finding in report["findings"] if finding["grade"] == "wrong"]
    assert wrong == ["key", "database"]
    assert report["wrong"] == 2
    assert {"version", "models", "port"} <= {finding["subject"] for finding in report["findings"]}


@pytest.mark.parametrize("words", [("models",), ("failures", "clear"), ("db", "current"), ("doctor",)], ids=" ".join)
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "eleven", "PORT='eleven'"),
        ("MODELS_FILTER", "nowhere.txt", "nowhere.txt"),
        ("DATABASE_URL", "mysql://u:secret@host/db", "DATABASE_URL"),
    ],
    ids=["a bad value", "a missing filter file", "another database"],
)
def test_settings_that_cannot_be_used_are_one_line(
    run: Run, words: tuple[str, ...], variable: str, value: str, said: str
) -> None:
    ended = run(*words, code=1, **{variable: value})
    [line] = (ended.stderr + ended.stdout).strip().splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert "secret" not in line


@pytest.mark.parametrize("words", [("serve",), ("serve", "--debug"), ("--port", "1")], ids=" ".join)
def test_only_serving_needs_a_key(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words, code=1)
    [line] = (ended.stderr + ended.stdout).strip().splitlines()
    assert line.startswith("OPENROUTER_API_KEY is not set")
    assert run("models").stdout.startswith("MODEL ")


def test_it_serves_in_a_folder_that_has_a_wsgi_file_of_its_own(
    start_proxy: Callable[..., ProxyServer], tmp_path: Path
) -> None:
    (tmp_path / "wsgi.py").write_text("raise RuntimeError('somebody else')\n")
    assert start_proxy(arguments=["serve"]).chat().ok


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts processes that are ended with their children behind the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
        environment = {"PATH": os.environ["PATH"], **variables}
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def version_at(url: str) -> str | None:
    """The version of the server there; None while nobody answers, or while it starts anew in the middle of that."""
    try:
        return str(requests.get(f"{url}/health", timeout=PATIENCE).json()["version"])
    except requests.RequestException:
        return None


def test_the_development_server_reloads_when_code_changes(
    started: Callable[..., subprocess.Popen[str]], simulator: Simulator, tmp_path: Path
) -> None:
    for name in ("ollama_proxy", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wsgi.py", tmp_path)
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    # Below the project, so that its .env must not be found.
    (tmp_path / ".env").write_text("PORT=nonsense\n")
    folder = tmp_path / "below"
    folder.mkdir()
    (folder / ".env").write_text(f"OPENROUTER_API_KEY=sk-or-x\nPORT={port}\nOPENROUTER_BASE_URL={simulator.url}\n")
    started(*COMMAND, "serve", "--debug", "--host", "127.0.0.1", cwd=folder, PYTHONPATH=str(tmp_path))
    wait_for(lambda: version_at(url) == __version__, what="it serves")
    asked = {"model": "free", "messages": [{"role": "user", "content": "hello"}], "stream": False}
    assert requests.post(f"{url}/api/chat", json=asked, timeout=PATIENCE).ok
    # Werkzeug's console would answer here, whoever asks.
    assert requests.get(f"{url}/console", timeout=PATIENCE).status_code == 404
    file = tmp_path / "ollama_proxy" / "version.py"
    file.write_text(file.read_text().replace(__version__, "9.9.9"))
    wait_for(lambda: version_at(url) == "9.9.9", what="the changed code serves")


def test_the_demo_lists_models_streams_a_chat_and_stays_until_it_is_ended(
    started: Callable[..., subprocess.Popen[str]],
) -> None:
    port = str(free_port())
    demo = started("-m", "simulator.demo", cwd=ROOT, PORT=port)
    assert demo.stdout is not None
    lines: list[str] = []
    for line in demo.stdout:
        lines.append(line.rstrip())
        if line.startswith("Ctrl-C"):
            break
    said = "\n".join(lines)
    assert "  cirrus-ultra:free" in said
    assert "You said: Say hello to whoever runs this demo." in said
    assert f"answered by {BEST}" in said
    assert demo.poll() is None
    assert version_at(f"http://127.0.0.1:{port}") == __version__
    demo.terminate()
    assert demo.wait(PATIENCE) == 0
    assert version_at(f"http://127.0.0.1:{port}") is None
