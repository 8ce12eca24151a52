"""What happens before the first request: settings that cannot be used stop the start with one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT


def start(directory: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a start that is expected to end by itself."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, *command], cwd=directory, env=environment, capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize(
    "command",
    [["-m", "ollama_proxy"], ["-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "wsgi:app"]],
    ids=["module", "gunicorn"],
)
def test_a_missing_key_is_one_line_that_says_what_to_do(tmp_path: Path, command: list[str]) -> None:
    ended = start(tmp_path, *command)
    assert ended.returncode == 1
    [line] = (ended.stderr + ended.stdout).strip().splitlines()
    assert "OPENROUTER_API_KEY" in line
    assert "https://openrouter.ai/settings/keys" in line
    assert "make demo" in line


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("PORT", "eleven", "1 to 65535"),
        ("FREE_MODE", "perhaps", "true or false"),
        ("HEARTBEAT_SECONDS", "-1", "more than 0"),
        ("LOG_FORMAT", "xml", "text, json"),
        ("ALLOW_NETWORKS", "everyone", "networks"),
    ],
)
def test_a_setting_that_cannot_be_read_is_one_line(tmp_path: Path, variable: str, value: str, allowed: str) -> None:
    ended = start(tmp_path, "-m", "ollama_proxy", OPENROUTER_API_KEY="sk-or-x", **{variable: value})
    assert ended.returncode == 1
    [line] = ended.stderr.strip().splitlines()
    assert line.startswith(f"{variable}={value!r}")
    assert allowed in line


@pytest.mark.parametrize("command", [["models"], ["failures", "clear"], ["run"], ["--help"]], ids=" ".join)
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "eleven", "PORT='eleven'"),
        ("MODELS_FILTER", "nowhere.txt", "nowhere.txt"),
        ("DATABASE_URL", "mysql://u:secret@host/db", "DATABASE_URL"),
    ],
    ids=["a bad value", "a missing filter file", "another database"],
)
def test_a_flask_command_says_it_in_one_line_too(
    tmp_path: Path, command: list[str], variable: str, value: str, said: str
) -> None:
    ended = start(tmp_path, "-m", "flask", "--app", "wsgi", *command, **{variable: value})
    assert ended.returncode == 1
    [line] = (ended.stderr + ended.stdout).strip().splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert "secret" not in line


def test_outside_the_command_line_the_error_is_raised_for_gunicorn_to_stop(tmp_path: Path) -> None:
    ended = start(tmp_path, "-c", "import wsgi", PORT="eleven")
    assert "SettingsError: PORT='eleven'" in ended.stderr


def test_the_settings_are_read_from_dotenv_in_the_working_directory_only(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENROUTER_API_KEY=sk-or-x\nPORT=nonsense\n")
    below = tmp_path / "below"
    below.mkdir()
    assert "PORT='nonsense'" in start(tmp_path, "-m", "ollama_proxy").stderr
    assert "OPENROUTER_API_KEY" in start(below, "-m", "ollama_proxy").stderr


def test_options_override_the_environment(tmp_path: Path) -> None:
    ended = start(tmp_path, "-m", "ollama_proxy", "--port", "none", OPENROUTER_API_KEY="sk-or-x", PORT="1")
    assert "PORT='none'" in ended.stderr


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_the_key_on_the_command_line_replaces_both_other_forms(tmp_path: Path, place: str) -> None:
    other = {"OPENROUTER_API_KEY_FILE": str(tmp_path / "nowhere"), "OPENROUTER_API_KEY": "sk-or-other"}
    if place == ".env":
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in other.items()))
        other = {}
    ended = start(tmp_path, "-m", "ollama_proxy", "--api-key", "sk-or-x", "--port", "none", **other)
    assert "PORT='none'" in ended.stderr, "the key is read before the port"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        pytest.param({"PROXY_API_KEYS": ""}, "PROXY_API_KEYS is set but empty", id="no client key"),
        pytest.param(
            {"OPENROUTER_API_KEY_FILE": "/nowhere/key"},
            "OPENROUTER_API_KEY and OPENROUTER_API_KEY_FILE='/nowhere/key' are both set",
            id="the key twice",
        ),
        pytest.param(
            {"OPENROUTER_API_KEY": "", "OPENROUTER_API_KEY_FILE": "/nowhere/key"},
            "OPENROUTER_API_KEY_FILE='/nowhere/key' cannot be read",
            id="a key's file that is not there",
        ),
    ],
)
def test_a_secret_that_is_missing_or_ambiguous_is_one_line(
    tmp_path: Path, variables: dict[str, str], line: str
) -> None:
    ended = start(tmp_path, "-m", "ollama_proxy", **{"OPENROUTER_API_KEY": "sk-or-s3cret", **variables})
    assert ended.returncode == 1
    [said] = (ended.stderr + ended.stdout).strip().splitlines()
    assert said.startswith(line)
    assert "s3cret" not in said


def test_certificates_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    ended = start(tmp_path, "-m", "ollama_proxy", OPENROUTER_API_KEY="sk-or-x", REQUESTS_CA_BUNDLE="/nowhere.pem")
    assert ended.returncode == 1
    [said] = (ended.stderr + ended.stdout).strip().splitlines()
    assert said.startswith("the certificates that REQUESTS_CA_BUNDLE"), said


def test_a_flask_command_takes_the_same_secret_as_the_server(tmp_path: Path) -> None:
    """Flask copies `.env` into the environment, where its `NAME_FILE` would stand beside the real `NAME`."""
    (tmp_path / ".env").write_text("OPENROUTER_API_KEY_FILE=/nowhere/key\n")
    ended = start(tmp_path, "-m", "flask", "--app", "wsgi", "db", "history", OPENROUTER_API_KEY="sk-or-x")
    assert ended.returncode == 0, ended.stderr


def test_a_named_filter_file_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    ended = start(tmp_path, "-m", "ollama_proxy", "--models-filter", "nowhere.txt", OPENROUTER_API_KEY="sk-or-x")
    assert ended.returncode == 1
    [line] = ended.stderr.strip().splitlines()
    assert "nowhere.txt" in line
