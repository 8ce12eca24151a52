"""Personas through the clients that people have: made, shown, chatted with and deleted by each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ollama
import openai
import pytest

from simulator.process import Simulator
from tests.clients.ollama_cli import CommandLine, StatusError
from tests.servers import PATIENCE, ProxyServer

anthropic = pytest.importorskip("anthropic")

EMBER = "tidal/ember-4:free"
SYSTEM = "You are Mario."
HI: Any = [{"role": "user", "content": "hi"}]
SYSTEM_MESSAGE = {"role": "system", "content": SYSTEM}
ASK, SAY = {"role": "user", "content": "who?"}, {"role": "assistant", "content": "It's me!"}
MODELFILE: dict[str, Any] = {
    "from": EMBER,
    "system": SYSTEM,
    "template": "{{ .System }} {{ .Prompt }}",
    "license": ["MIT"],
    "parameters": {"temperature": 0.6, "stop": ["USER:"]},
    "messages": [ASK, SAY],
}


@pytest.fixture(scope="module")
def shared_server(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    with ProxyServer(tmp_path_factory.mktemp("clients"), shared_simulator.url, free_requests_per_minute=0) as server:
        yield server


@pytest.fixture
def server(shared_server: ProxyServer, simulator: Simulator) -> ProxyServer:
    """A server of this module's own; each test takes other names."""
    return shared_server


def sent(simulator: Simulator) -> dict[str, Any]:
    body: dict[str, Any] = simulator.chats()[-1]["body"]
    return body


def test_the_command_line(server: ProxyServer, simulator: Simulator) -> None:
    cli = CommandLine(server)
    said = cli.create("mario", **MODELFILE)
    assert said[-2:] == ["writing manifest", "success"]
    assert cli.run("mario", "hi") == f"This is {EMBER} speaking. You said: hi"
    assert sent(simulator)["messages"] == [SYSTEM_MESSAGE, ASK, SAY, *HI]
    assert (sent(simulator)["temperature"], sent(simulator)["stop"]) == (0.6, ["USER:"])
    shown = cli.show("mario")
    assert (shown["system"], shown["license"], shown["messages"]) == (SYSTEM, "MIT", [ASK, SAY])
    assert cli.copy("mario", "luigi") == "copied 'mario' to 'luigi'"
    assert cli.remove("mario") == "deleted 'mario'"
    with pytest.raises(StatusError, match="not found"):
        cli.remove("mario")
    names = {model["name"] for model in cli.call("GET", "/api/tags")["models"]}
    assert "luigi:latest" in names
    assert "mario:latest" not in names


def test_what_a_session_saves_keeps_the_system_prompt(server: ProxyServer, simulator: Simulator) -> None:
    cli = CommandLine(server)
    cli.create("wario", **MODELFILE)
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    cli.save("wario-2", "wario", messages=talk, parameters={"seed": 1})
    cli.run("wario-2", "hi")
    assert sent(simulator)["messages"] == [SYSTEM_MESSAGE, *talk, *HI]
    assert (sent(simulator)["temperature"], sent(simulator)["seed"]) == (0.6, 1)


def test_what_cannot_be_made_is_said_in_a_line(server: ProxyServer) -> None:
    cli = CommandLine(server)
    with pytest.raises(RuntimeError, match="pull model manifest: file does not exist"):
        cli.create("peach", **{"from": "nobody/knows"})
    with pytest.raises(StatusError, match="choose another name"):
        cli.create("ember-4:free", **MODELFILE)


def test_the_official_python_package(server: ProxyServer, simulator: Simulator) -> None:
    client = ollama.Client(server.url)
    made = client.create("toad", from_=EMBER, system=SYSTEM, parameters={"temperature": 0.6}, messages=[ASK, SAY])
    assert made.status == "success"
    statuses = [part.status for part in client.create("toad", from_="toad", license="MIT", stream=True)]
    assert statuses[-1] == "success"
    assert client.copy("toad", "toadette").status == "success"
    shown = client.show("toadette")
    assert shown.parameters is not None
    assert "temperature" in shown.parameters
    client.chat("toadette", HI)
    assert sent(simulator)["messages"] == [SYSTEM_MESSAGE, ASK, SAY, *HI]
    assert client.delete("toadette").status == "success"
    with pytest.raises(ollama.ResponseError, match="not found"):
        client.delete("toadette")


def test_the_openai_package(server: ProxyServer, simulator: Simulator) -> None:
    ollama.Client(server.url).create("bowser", from_=EMBER, system=SYSTEM)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="ollama", max_retries=0, timeout=PATIENCE) as client:
        assert "bowser:latest" in {model.id for model in client.models.list()}
        assert client.models.retrieve("bowser").owned_by == "library"
        client.chat.completions.create(model="bowser", messages=HI)
        assert sent(simulator)["messages"] == [SYSTEM_MESSAGE, *HI]
        client.responses.create(model="bowser", input="hi")
        assert simulator.log(path="/api/v1/responses")[-1]["body"]["instructions"] == SYSTEM


def test_a_copy_says_what_a_built_in_name_means(server: ProxyServer, simulator: Simulator) -> None:
    """`ollama cp ember-4:free claude-haiku-4-5`, then what Claude's programs send."""
    assert CommandLine(server).copy("tidal/ember-4:free", "claude-haiku-4-5")
    client = anthropic.Anthropic(base_url=server.url, api_key="ollama", max_retries=0, timeout=PATIENCE)
    answer = client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=HI, system="be kind")
    assert answer.content[-1].text.startswith(f"This is {EMBER} speaking")
    body = simulator.log(path="/api/v1/messages")[-1]["body"]
    assert (body["model"], body["system"], body["messages"]) == (EMBER, "be kind", HI)
    with client.messages.stream(model="claude-haiku-4-5", max_tokens=50, messages=HI) as stream:
        assert stream.get_final_message().content[-1].text.startswith(f"This is {EMBER} speaking")
