"""`ollama-proxy` and `python -m ollama_proxy`: which words serve, what becomes of options, what is imported for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from ollama_proxy import __main__ as program
from ollama_proxy.config import Settings
from ollama_proxy.version import __version__
from tests.servers import ROOT

VARIABLES = ("OPENROUTER_API_KEY", "HOST", "PORT", "MODELS_FILTER", "PYTHONPATH", "FLASK_SKIP_DOTENV")
NAMED = ["--api-key", "K", "--host", "H", "--port", "8080", "--models-filter", "F"]
NAMED_VARIABLES = {"OPENROUTER_API_KEY": "K", "HOST": "H", "PORT": "8080", "MODELS_FILTER": "F"}


class Becomes(Exception):
    """Raised in the place of os.execv."""


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Runs the command in an empty folder and environment; what it would become is the result's exception."""

    def become(*command: object) -> None:
        raise Becomes(*command)

    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")  # so that what the command sets is undone, too
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execv", become)
    # The command blocks Ctrl-C for what it becomes. Left so, each program that a later test starts would be deaf to it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield lambda *arguments: CliRunner().invoke(program.command, arguments, prog_name="ollama-proxy")
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def becomes(result: Result) -> list[str]:
    """The command line of what the process would have become."""
    assert isinstance(result.exception, Becomes), result.output
    file, command = result.exception.args
    assert file == command[0] == sys.executable
    return list(command[1:])


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param(["serve"], {}, id="the word"),
        pytest.param(["--port", "8080"], {"PORT": "8080"}, id="an option without the word"),
        pytest.param(["--port=8080"], {"PORT": "8080"}, id="an option with an equals sign"),
        pytest.param(["serve", "--port", "8080"], {"PORT": "8080"}, id="an option behind the word"),
        pytest.param(NAMED, NAMED_VARIABLES, id="all options without the word"),
        pytest.param(["serve", *NAMED], NAMED_VARIABLES, id="all options behind the word"),
        pytest.param(["--port", "models"], {"PORT": "models"}, id="a value that is a command's name"),
        pytest.param(["--host", ""], {"HOST": ""}, id="an empty value hides what .env says"),
    ],
)
def test_serve_sets_the_environment_and_becomes_gunicorn(
    run: Run, arguments: list[str], variables: dict[str, str]
) -> None:
    command = becomes(run(*arguments))
    assert command == ["-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py"), "ollama_proxy:create_app()"]
    assert {name: os.environ[name] for name in VARIABLES if name in os.environ} == {
        **variables,
        "PYTHONPATH": str(ROOT),
    }


def test_a_python_path_that_is_set_stays_behind_the_projects_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    becomes(run())
    assert os.environ["PYTHONPATH"] == f"{ROOT}{os.pathsep}/elsewhere"


def test_serve_debug_becomes_flasks_development_server_without_its_debugger(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = SimpleNamespace(settings=Settings(openrouter_api_key="sk-or-x", host="[::1]", port=8080))
    application = SimpleNamespace(extensions={"ollama_proxy": runtime})
    migrated: list[Settings] = []
    monkeypatch.setattr(program, "_application", lambda: application)
    monkeypatch.setattr("ollama_proxy.ops.starting.migrate_database", lambda settings, _: migrated.append(settings))
    command = becomes(run("--debug"))
    assert command[:4] == ["-m", "flask", "--app", str(ROOT / "wsgi.py")]
    assert command[4:] == ["run", "--debug", "--no-debugger", "--host", "::1", "--port", "8080"]
    assert os.environ["FLASK_SKIP_DOTENV"] == "1"
    assert migrated == [runtime.settings]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(["--debug", "--api-key", "k", "--port", "eleven"], 1, "PORT='eleven'", id="a bad setting"),
        pytest.param(["--port"], 2, "requires an argument", id="an option without its value"),
        pytest.param(["--prot", "1"], 2, "No such option", id="an option that is none"),
        pytest.param(["server"], 2, "No such command 'server'", id="a command that is none"),
        pytest.param(["--port", "1", "models"], 2, "unexpected extra argument", id="a command behind an option"),
    ],
)
def test_what_cannot_be_is_said(run: Run, arguments: list[str], code: int, words: str) -> None:
    ended = run(*arguments)
    assert ended.exit_code == code
    # SystemExit with a text: the interpreter prints it and ends with 1.
    assert words in ended.output


def test_the_version(run: Run) -> None:
    assert run("--version").output == f"ollama-proxy {__version__}\n"


def test_nothing_is_imported_for_a_start_but_click() -> None:
    """What loads ssl before gevent's patch breaks TLS, and what takes long makes a start slow."""
    code = "import json, sys; import ollama_proxy.__main__; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env={}))
    assert not {"ssl", "requests", "flask", "gevent", "marshmallow", "sqlalchemy"}.intersection(loaded)
    ours = {name for name in loaded if name.startswith("ollama_proxy")}
    assert ours == {
        "ollama_proxy",
        "ollama_proxy.__main__",
        "ollama_proxy.ops",
        "ollama_proxy.ops.commands",
        "ollama_proxy.version",
    }


def test_the_installed_script_is_this_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["ollama-proxy"].partition(":")
    assert getattr(import_module(module), function) is program.main
