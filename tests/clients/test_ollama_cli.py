"""Ollama's command line, as its source works, against the proxy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ollama_proxy.errors import ShuttingDown
from ollama_proxy.modelfile.parser import parse
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
FROM tidal/ember-4:free
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


def test_a_modelfile_and_what_is_shown_of_it_make_the_same(start_proxy: Callable[..., ProxyServer]) -> None:
    cli = CommandLine(start_proxy())
    for name, text in (("mario", MODELFILE), ("again", "")):
        given = parse(text or cli.show("mario")["modelfile"]).as_request(name)
        assert cli.create(**{"name": given.pop("model"), **given})[-1] == "success"
    digests = {model["name"]: model["digest"] for model in cli.call("GET", "/api/tags")["models"]}
    assert digests["again:latest"] == digests["mario:latest"]
    assert cli.show("again")["parameters"].splitlines()[1:] == [
        'stop                           "USER:"',
        'stop                           "AI assistant:"',
        "temperature                    0.6",
    ]


def test_a_saved_name_that_is_no_name_ends_no_session(proxy: ProxyServer) -> None:
    with pytest.raises(StatusError, match="invalid model name"):
        CommandLine(proxy).save("a b", "ember-4", messages=[])
