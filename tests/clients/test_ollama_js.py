"""The official JavaScript package under node, pinned in js/package-lock.json."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.process import Simulator
from tests.servers import ProxyServer

SOURCES = Path(__file__).parent / "js"
HELLO = [{"role": "user", "content": "hello"}]
SECONDS = 120

Call = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it; skips where node, npm or the registry are missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("js")
    for source in SOURCES.iterdir():
        shutil.copy(source, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    if installed.returncode:
        pytest.skip(f"npm ci failed: {installed.stderr.strip()[-300:]}")
    return folder


@pytest.fixture
def call(package: Path) -> Call:
    """`call(server, method, args)`: what call.mjs prints."""

    def run(server: ProxyServer, method: str, args: Any = None, *, abort_after: int = 0) -> dict[str, Any]:
        command = ["node", "call.mjs", server.url, method, json.dumps(args or {}), str(abort_after)]
        done = subprocess.run(command, cwd=package, capture_output=True, text=True, timeout=SECONDS, check=True)
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    return run


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "ember-4", "messages": HELLO, **fields}


def text_of(parts: list[dict[str, Any]]) -> str:
    return "".join(part["message"]["content"] for part in parts)


def test_chat_whole_and_streamed(proxy: ProxyServer, call: Call) -> None:
    whole = call(proxy, "chat", chat())["result"]["message"]["content"]
    said = call(proxy, "chat", chat(stream=True))
    assert "error" not in said, "a stream that does not end with done throws"
    assert text_of(said["parts"]) == whole
    assert said["parts"][-1]["done"] is True


def test_generate(proxy: ProxyServer, call: Call) -> None:
    args = {"model": "ember-4", "prompt": "hello \u2028 \U0001f600", "stream": True}
    parts = call(proxy, "generate", args)["parts"]
    assert "".join(part["response"] for part in parts).endswith("hello \u2028 \U0001f600")


def test_list_show_ps_and_version(proxy: ProxyServer, call: Call) -> None:
    assert any(model["name"] == "ember-4:free" for model in call(proxy, "list")["result"]["models"])
    assert call(proxy, "show", {"model": "ember-4"})["result"]["capabilities"] == ["completion", "tools"]
    assert isinstance(call(proxy, "ps")["result"]["models"], list)
    assert call(proxy, "version")["result"] == {"version": "0.32.7"}


def test_tools(proxy: ProxyServer, call: Call) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    parts = call(proxy, "chat", chat(messages=[{"role": "user", "content": "weather?"}], tools=tools, stream=True))
    calls = [made for part in parts["parts"] for made in part["message"].get("tool_calls", [])]
    assert [made["function"]["arguments"] for made in calls] == [{"city": "text"}]
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_name": "get_weather", "content": "rain"},
    ]
    answer = call(proxy, "chat", chat(messages=messages, tools=tools))["result"]
    assert answer["message"]["content"].endswith("The tool said: rain")


def test_thinking_and_format(proxy: ProxyServer, call: Call) -> None:
    assert call(proxy, "chat", chat(model="cirrus-ultra", think=True))["result"]["message"]["thinking"]
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    answer = call(proxy, "chat", chat(model="schema-12b", format=schema))["result"]
    assert json.loads(answer["message"]["content"]) == {"age": 1}


def test_embed(proxy: ProxyServer, call: Call) -> None:
    answer = call(proxy, "embed", {"model": "embed-small", "input": ["a", "b"]})["result"]
    assert [len(vector) for vector in answer["embeddings"]] == [384, 384]


def test_pull(proxy: ProxyServer, call: Call) -> None:
    said = call(proxy, "pull", {"model": "ember-4", "stream": True})
    assert "error" not in said
    assert said["parts"][-1] == {"status": "success"}


def test_errors_have_status_and_text(proxy: ProxyServer, call: Call) -> None:
    assert call(proxy, "chat", chat(model="beacon-24b"))["error"]["status"] == 404
    error = call(proxy, "pull", {"model": "nosuch:cloud"})["error"]
    assert (error["status"], error["message"]) == (501, "pull model manifest: file does not exist")


def test_an_error_in_the_middle_of_a_stream_throws(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, call: Call
) -> None:
    simulator.scenario("tidal/ember-4:free", times=1, tokens=20, in_stream_error=9, error_name="502_network")
    said = call(start_proxy(), "chat", chat(stream=True))
    assert len(said["parts"]) == 9
    assert "upstream error" in said["error"]["message"]


def test_abort_ends_the_upstream_request(proxy: ProxyServer, simulator: Simulator, call: Call) -> None:
    simulator.scenario("tidal/ember-4:free", times=1, tokens=50, hold="rest", hold_at=5)
    said = call(proxy, "chat", chat(stream=True), abort_after=3)
    assert said["error"]["name"] == "AbortError"
    assert simulator.log(outcome="client_gone", wait=5)


def test_personas_are_made_copied_used_and_deleted(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, call: Call
) -> None:
    server = start_proxy()
    made = {"model": "mario", "from": "tidal/ember-4:free", "system": "You are Mario.", "parameters": {"seed": 7}}
    assert call(server, "create", {**made, "stream": True})["parts"][-1] == {"status": "success"}
    assert call(server, "copy", {"source": "mario", "destination": "luigi"})["result"] == {"status": "success"}
    assert call(server, "show", {"model": "luigi"})["result"]["system"] == "You are Mario."
    assert "result" in call(server, "chat", chat(model="luigi"))
    body = simulator.chats()[-1]["body"]
    assert (body["messages"][0], body["seed"]) == ({"role": "system", "content": "You are Mario."}, 7)
    assert call(server, "delete", {"model": "luigi"})["result"] == {"status": "success"}
    assert "luigi:latest" not in {model["name"] for model in call(server, "list")["result"]["models"]}
