"""`ollama-proxy personas`: in the server that runs, else in the database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ollama_proxy.__main__ import command
from simulator.process import Simulator
from tests.neighbours import REAL_OLLAMA, serving
from tests.servers import ProxyServer, free_port

EMBER = "tidal/ember-4:free"
MODELFILE = '''FROM ember-4:free
SYSTEM """You are Mario.
It is you."""
PARAMETER temperature 0.6
PARAMETER stop USER:
PARAMETER mirostat 1
LICENSE MIT
TEMPLATE {{ .Prompt }}
MESSAGE user who are you?
MESSAGE assistant It's me!
'''

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `ollama-proxy personas` in the folder, and with the database, of the server that `start_proxy` starts.

    In this process: a new one takes a second to start.
    """
    (tmp_path / "Modelfile").write_text(MODELFILE)
    monkeypatch.chdir(tmp_path)
    variables = {
        "OPENROUTER_BASE_URL": simulator.url,
        "OPENROUTER_API_KEY": "sk-or-test",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'proxy.db'}",
    }

    def run(*words: str, port: int, code: int = 0, text: str = "") -> Result:
        ended = CliRunner().invoke(command, ["personas", *words], env=variables | {"PORT": str(port)}, input=text)
        assert ended.exit_code == code, ended.output
        assert "Traceback" not in ended.output
        return ended

    return run


@pytest.mark.parametrize("where", ["the server", "the database"])
def test_the_life_of_a_persona(start_proxy: Callable[..., ProxyServer], run: Run, where: str) -> None:
    server = start_proxy()
    port = server.port
    if where == "the database":
        server.terminate()
    made = run("create", "mario", port=port)
    assert made.stdout == "created: mario\n"
    assert "warning: parameter mirostat is deprecated" in made.stderr
    assert ("this is about the database" in made.stderr) is (where == "the database")
    exported = run("export", "mario", port=port).stdout
    assert f"FROM {EMBER}\n" in exported
    assert "PARAMETER temperature 0.6\n" in exported
    run("create", "luigi", "-f", "-", port=port, text=exported)
    run("copy", "mario", "claude-haiku-4-5", port=port)
    listed = json.loads(run("list", "--json", port=port).stdout)["personas"]
    assert [(one["name"], one["base"], one["means"]) for one in listed] == [
        (f"{name}:latest", EMBER, EMBER) for name in ("claude-haiku-4-5", "luigi", "mario")
    ]
    assert len({one["digest"] for one in listed}) == 1
    assert run("remove", "mario", port=port).stdout == "removed: mario\n"
    assert "mario" not in run("list", port=port).stdout
    assert "mario" in run("remove", "mario", port=port, code=1).stderr
    if where == "the server":
        assert server.chat("luigi").ok


def test_options_make_one_too(start_proxy: Callable[..., ProxyServer], run: Run) -> None:
    port = start_proxy().port
    words = ("--from", "free", "--system", "Be kind.", "--parameter", "top_k=9", "--parameter", "stop=a")
    run("create", "kind", *words, "--parameter", "stop=b", port=port)
    shown = run("show", "kind", port=port).stdout
    for line in ("made of    free:latest", "parameter  stop a", "parameter  stop b", "parameter  top_k 9", "Be kind."):
        assert f"{line}\n" in shown


NUMBER = ("--parameter", "top_k=a")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(("create", "x", "--from", "no/body"), 1, "file does not exist", id="no such base"),
        pytest.param(("create", "ember-4:free", "--from", "free"), 1, "choose another name", id="a model's name"),
        pytest.param(("create", "x", "--from", "free", *NUMBER), 1, "invalid int value", id="no number"),
        pytest.param(("create", "x", "-f", "-"), 1, "no FROM line", id="no Modelfile"),
        pytest.param(("copy", "no/body", "x"), 1, "no/body", id="nothing to copy"),
        pytest.param(("show", "nobody"), 1, "no persona is called 'nobody'", id="no persona"),
        pytest.param(("remove", ""), 2, "is no name", id="no name"),
        pytest.param(("remove", "ember-4:free"), 1, "OpenRouter's", id="a model"),
    ],
)
def test_what_cannot_be_is_said(proxy: ProxyServer, run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    assert said in run(*words, port=proxy.port, code=code).stderr


@pytest.mark.parametrize(
    "words",
    [("remove", "llama3"), ("copy", "llama3", "x"), ("create", "x", "--from", "llama3")],
    ids=lambda one: one[0],
)
def test_nothing_is_changed_in_a_real_ollama(run: Run, words: tuple[str, ...]) -> None:
    with serving(REAL_OLLAMA) as port:
        ended = run(*words, "--url", f":{port}", port=free_port(), code=1)
    assert "a real Ollama answers" in ended.stderr


def test_what_is_missing_is_said_without_a_server_too(start_proxy: Callable[..., ProxyServer], run: Run) -> None:
    server = start_proxy()
    server.terminate()
    for name in ("x", "free", "a b"):
        run("create", name, "--from", "", port=server.port, code=1)
    assert "'from'" in run("create", "x", "--from", "", port=server.port, code=1).stderr
    run("copy", "free", "mario:local", port=server.port)
    assert run("remove", "mario:local", port=server.port).stdout == "removed: mario:local\n"
