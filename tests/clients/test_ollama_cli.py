"""Ollama's command line, as its source works, against the proxy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ollama_proxy.errors import ShuttingDown
from simulator.process import Simulator
from tests.clients.ollama_cli import SIGN_IN, AuthorizationError, CommandLine, StatusError, picked, session_ends_with
from tests.servers import ProxyServer


def test_a_missing_key_is_said_and_not_taken_for_a_sign_in(start_proxy: Callable[..., ProxyServer]) -> None:
    proxy = start_proxy(proxy_api_keys="sesame", ready=False)
    cli = CommandLine(proxy)
    said = cli.run("free", "hello")
    assert said != SIGN_IN
    assert "needs an API key" in said
    with pytest.raises(StatusError, match="403 Forbidden: unauthorized: this server needs an API key"):
        cli.stream("/api/pull", {"model": "free"})
    with pytest.raises(AuthorizationError):
        CommandLine(proxy, **{"User-Agent": "ollama-python/0.6.3"}).call("GET", "/api/tags")
    wrong = CommandLine(proxy, Authorization="Bearer wrong")
    with pytest.raises(StatusError, match="needs an API key"):
        wrong.call("GET", "/api/tags")


def test_an_unknown_name_runs_in_free_mode(proxy: ProxyServer) -> None:
    cli = CommandLine(proxy)
    assert cli.stream("/api/pull", {"model": "gpt-oss"})[-1] == {"status": "success"}
    assert "You said: hello" in cli.run("gpt-oss", "hello")
    assert "gpt-oss:latest" in {model["name"] for model in cli.call("GET", "/api/ps")["models"]}


def test_an_ambiguous_name_says_which_ones_it_may_mean(proxy: ProxyServer) -> None:
    said = CommandLine(proxy).run("beacon-24b", "hello")
    assert said.startswith("Error: 501 Not Implemented: pull model manifest: file does not exist")
    assert "'harbor/beacon-24b:free' or 'lantern/beacon-24b:free'" in said


def test_the_pickers_show_the_best_first(proxy: ProxyServer) -> None:
    cli = CommandLine(proxy)
    shown = picked(cli.call("GET", "/api/experimental/model-recommendations"), cli.call("GET", "/api/tags"))
    assert shown[0] == "free"
    assert not any(name.endswith(":latest") for name in shown)


def test_a_status_reads_as_go_writes_it(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    simulator.scenario("*", error_name="402_credits")
    said = CommandLine(start_proxy()).run("ember-4:free", "hello")
    assert said.startswith("Error: 502 Bad Gateway: upstream error")


def test_a_restart_of_the_server_ends_no_session() -> None:
    assert not session_ends_with(ShuttingDown().message)


MODELFILE = '''# A plumber
FROM z-ai/glm-5.2:free
SYSTEM """You are Mario,
the plumber. Say "It's me!"."""
PARAMETER temperature 0.6
PARAMETER stop USER:
PARAMETER stop "AI assistant:"
TEMPLATE {{ .System }} tools {{ .Prompt }}
LICENSE MIT
MESSAGE user Who are you?
MESSAGE assistant It's me!
'''


def test_personas_from_the_command_line(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    cli, modelfile = CommandLine(start_proxy()), MODELFILE.replace("z-ai/glm-5.2:free", "tidal/ember-4:free")
    said = cli.create("mario", modelfile)
    assert said.endswith("\nwriting manifest\nsuccess")
    assert "You said: hello" in cli.run("mario", "hello")
    body = simulator.chats()[-1]["body"]
    assert body["temperature"] == 0.6
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    digests = {model["name"]: model["digest"] for model in cli.call("GET", "/api/tags")["models"]}
    # What is shown can be given to create again, here or elsewhere.
    assert cli.create("again", cli.show("mario")["modelfile"]).endswith("success")
    again = {model["name"]: model["digest"] for model in cli.call("GET", "/api/tags")["models"]}
    assert again["again:latest"] == digests["mario:latest"]
    assert cli.cp("mario", "luigi") == "copied 'mario' to 'luigi'"
    assert cli.cp("ember-4:free", "claude-haiku-4-5") == "copied 'ember-4:free' to 'claude-haiku-4-5'"
    assert "tidal/ember-4:free" in cli.run("claude-haiku-4-5", "hello")
    for name in ("mario", "luigi", "claude-haiku-4-5"):
        assert cli.rm(name) == f"deleted '{name}'"
    with pytest.raises(StatusError, match="model 'mario' not found"):
        cli.call("DELETE", "/api/delete", {"model": "", "name": "mario"})


def test_a_session_that_is_saved_keeps_the_personas_system_prompt(start_proxy: Callable[..., ProxyServer]) -> None:
    cli = CommandLine(start_proxy())
    cli.create("mario", "FROM ember-4\nSYSTEM You are Mario.\nMESSAGE user Who are you?")
    assert cli.save("mario", "later", messages=[{"role": "assistant", "content": "Me!"}]) == "Created new model 'later'"
    saved = cli.show("later")
    assert saved["system"] == "You are Mario."
    assert [message["content"] for message in saved["messages"]] == ["Who are you?", "Me!"]
    assert cli.save("mario", "a b", messages=[]) == "error: The model name 'a b' is invalid"


ERRORS = {
    "an unknown base": ("FROM nosuch", "Error: pull model manifest: file does not exist"),
    "a template": (
        "FROM ember-4\nTEMPLATE {{ .Prompt",
        "Error: 400 Bad Request: template error: template: :1: unclosed action",
    ),
    "a Modelfile": ("FORM ember-4", "Error: (line 1): command must be one of"),
    "a parameter": ("FROM ember-4\nPARAMETER temp 1", "Error: unknown parameter 'temp'"),
}


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_what_create_cannot_do_is_said(proxy: ProxyServer, case: tuple[str, str]) -> None:
    assert CommandLine(proxy).create("new", case[0]).startswith(case[1])
