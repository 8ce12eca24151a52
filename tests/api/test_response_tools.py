"""Tools of /v1/responses that are no functions: they go up, and come back as calls even where a model refuses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from simulator.process import Simulator
from tests.api.test_openai import events
from tests.servers import ProxyServer

PATH = "/v1/responses"
MODEL, ID = "ember-4:free", "tidal/ember-4:free"
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
READ = {"type": "function", "name": "read", "description": "reads", "parameters": SCHEMA, "strict": False}
FILES = {"type": "namespace", "name": "mcp__files", "description": "files", "tools": [READ]}
PATCH = {"type": "custom", "name": "apply_patch", "description": "patches", "format": {"type": "text"}}
SHELL = {"type": "local_shell"}
SEARCH = {"type": "tool_search", "execution": "client", "description": "finds", "parameters": SCHEMA}


def ask(proxy: ProxyServer, text: str, *, tools: list[Any], stream: bool, **more: Any) -> list[Any]:
    """The output items of an answer."""
    body = {"model": MODEL, "input": text, "tools": tools, "stream": stream, **more}
    response = proxy.post(PATH, body)
    assert response.status_code == 200, response.text
    if not stream:
        output: list[Any] = response.json()["output"]
        return output
    found = events(response.text)
    items = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert found[-1]["response"]["output"] == items
    return items


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_they_go_up_as_they_are(proxy: ProxyServer, simulator: Simulator, stream: bool) -> None:
    tools = [FILES, PATCH, SHELL]
    read, patch = ask(proxy, "call read call apply_patch", tools=tools, stream=stream)
    assert (read["type"], read["name"], read["namespace"]) == ("function_call", "read", "mcp__files")
    assert (patch["type"], patch["name"], patch["input"]) == (
        "custom_tool_call",
        "apply_patch",
        "input for apply_patch",
    )
    assert simulator.chats()[0]["body"]["tools"] == tools


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_model_that_refuses_them_gets_functions(forgetful: ProxyServer, simulator: Simulator, stream: bool) -> None:
    simulator.scenario(ID, error_name="400_tool_type", only_for='"namespace"', times=1)
    calls = [
        {"name": "mcp__files__read", "arguments": '{"path":"a"}'},
        {"name": "apply_patch", "arguments": '{"input":"*** Begin"}'},
        {"name": "local_shell", "arguments": '{"command":["ls"],"timeout_ms":5}'},
    ]
    simulator.scenario(ID, tool_calls=calls)
    read, patch, shell = ask(forgetful, "go", tools=[FILES, PATCH, SHELL, READ], stream=stream)
    assert (read["type"], read["name"], read["namespace"]) == ("function_call", "read", "mcp__files")
    assert read["arguments"] == '{"path":"a"}'
    assert (patch["type"], patch["name"], patch["input"]) == ("custom_tool_call", "apply_patch", "*** Begin")
    assert shell["type"] == "local_shell_call"
    assert shell["action"] == {"type": "exec", "command": ["ls"], "timeout_ms": 5, "env": {}}
    first, second = simulator.chats()
    assert (first["model"], second["model"]) == (ID, ID)
    names = [(tool["type"], tool["name"]) for tool in second["body"]["tools"]]
    assert names == [("function", name) for name in ("mcp__files__read", "apply_patch", "local_shell", "read")]


def test_the_history_is_rewritten_with_them(forgetful: ProxyServer, simulator: Simulator) -> None:
    simulator.scenario(ID, error_name="400_not_responses", only_for='"namespace"', times=1)
    items = [
        {"role": "user", "content": "go"},
        {"type": "function_call", "call_id": "c1", "namespace": "mcp__files", "name": "read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "r"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "p"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
    ]
    assert ask(forgetful, "", tools=[FILES, PATCH], stream=True, **{"input": items})
    sent = simulator.chats()[-1]["body"]["input"]
    assert [(item["type"], item.get("name")) for item in sent[1:]] == [
        ("function_call", "mcp__files__read"),
        ("function_call_output", None),
        ("function_call", "apply_patch"),
        ("function_call_output", None),
    ]
    assert json.loads(sent[3]["arguments"]) == {"input": "p"}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_search_for_tools_is_the_clients(proxy: ProxyServer, simulator: Simulator, stream: bool) -> None:
    [call] = ask(proxy, "call tool_search", tools=[SEARCH, READ], stream=stream)
    assert (call["type"], call["execution"], call["arguments"]) == ("tool_search_call", "client", {"path": "text"})
    found = {"type": "tool_search_output", "call_id": call["call_id"], "execution": "client", "tools": [FILES]}
    items = [{"role": "user", "content": "go"}, {**call, "status": "completed"}, found]
    assert ask(proxy, "", tools=[SEARCH, READ], stream=stream, **{"input": items})
    body = simulator.chats()[-1]["body"]
    assert [tool["name"] for tool in body["tools"]] == ["tool_search", "read", "mcp__files"]
    assert [item["type"] for item in body["input"][1:]] == ["function_call", "function_call_output"]
    assert "read" in body["input"][2]["output"]


@pytest.mark.parametrize("place", ["tools", "input"])
def test_in_free_mode_no_server_tool_hides_in_them(proxy: ProxyServer, simulator: Simulator, place: str) -> None:
    paid = {"type": "openrouter:web_search"}
    hidden = {**FILES, "tools": [READ, paid, {"type": "namespace", "name": "n", "tools": [paid]}]}
    body: dict[str, Any] = {"model": MODEL, "input": [{"role": "user", "content": "a"}], "tools": [hidden, READ]}
    if place == "input":
        found = {"type": "tool_search_output", "call_id": "c", "tools": [paid, hidden]}
        call = {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {}}
        more = {"type": "additional_tools", "role": "developer", "tools": [paid, hidden]}
        body |= {"input": [*body["input"], call, found, more], "tools": [READ]}
    assert proxy.post(PATH, body).ok
    assert "openrouter:" not in json.dumps(simulator.chats()[0]["body"])


def test_they_count_as_tools(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    """Only a model that takes tools is asked, though the named one takes none."""
    plain = {"id": "quill/plain-1:free", "supported_parameters": ["max_tokens"], "context_length": 500_000}
    simulator.control("models", {"add": [plain]})
    proxy = start_proxy()
    assert proxy.post(PATH, {"model": "plain-1:free", "input": "a", "tools": [FILES]}).ok
    assert simulator.chats()[0]["model"] != plain["id"]


def test_a_request_that_cannot_be_changed_is_sent_once(proxy: ProxyServer, simulator: Simulator) -> None:
    error = {"status": 400, "body": {"error": {"code": 400, "message": "Invalid Responses API request"}}}
    simulator.queue(ID, error, error)
    body = {"model": MODEL, "input": [{"role": "user", "content": "a"}], "tools": [READ]}
    assert proxy.post(PATH, body).status_code == 400
    assert len(simulator.chats()) == 1


def test_a_server_tool_alone_in_the_input_is_said_to_be_missing(proxy: ProxyServer, simulator: Simulator) -> None:
    """A model that is asked to search without a search makes results up."""
    more = {"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]}
    answer = proxy.post(PATH, {"model": MODEL, "input": [{"role": "user", "content": "a"}, more]}).json()
    assert answer["output"][0]["type"] == "web_search_call"
    assert simulator.chats() == []
