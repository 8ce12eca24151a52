"""A tool that a server runs, in free mode: the answer says that it is not available, and no model is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from simulator.process import Simulator
from tests.api.test_openai import events, text_of
from tests.servers import ProxyServer

QUERY = "Perform a web search for the query: weather"
USER = [{"role": "user", "content": QUERY}]
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
CLIENTS = {"name": "f", "input_schema": {"type": "object"}}
FUNCTION = {"type": "function", "function": {"name": "f"}}
FLAT = {"type": "function", "name": "f", "parameters": {}}
ALONE: dict[str, Any] = {
    "/v1/messages": {"max_tokens": 100, "messages": USER, "tools": [SEARCH]},
    "/v1/chat/completions": {"messages": USER, "tools": [{"type": "openrouter:web_search"}]},
    "/v1/responses": {"input": QUERY, "tools": [{"type": "web_search"}]},
}
CHOSEN: dict[str, Any] = {
    "/v1/messages": {
        "max_tokens": 100,
        "messages": USER,
        "tools": [CLIENTS, SEARCH],
        "tool_choice": {"type": "tool", "name": "web_search"},
    },
    "/v1/chat/completions": {
        "messages": USER,
        "tools": [FUNCTION, {"type": "openrouter:web_search"}],
        "tool_choice": {"type": "openrouter:web_search"},
    },
    "/v1/responses": {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": QUERY}]}],
        "tools": [FLAT, {"type": "web_search_preview"}],
        "tool_choice": {"type": "web_search_preview"},
    },
}


def said(path: str, body: Any) -> str:
    if path == "/v1/messages":
        return "".join(block.get("text", "") for block in body["content"])
    return text_of(body)


@pytest.mark.parametrize("bodies", [ALONE, CHOSEN], ids=["the only tool", "the chosen tool"])
@pytest.mark.parametrize("path", ALONE)
def test_it_is_said_and_nobody_is_asked(
    proxy: ProxyServer, simulator: Simulator, path: str, bodies: dict[str, Any]
) -> None:
    whole = proxy.post(path, {"model": "free", **bodies[path]})
    assert whole.status_code == 200, whole.text
    assert "Web search is not available" in said(path, whole.json())
    streamed = proxy.post(path, {"model": "free", **bodies[path], "stream": True})
    assert streamed.headers["Content-Type"] == "text/event-stream"
    assert "Web search is not available" in streamed.text
    assert simulator.chats() == []


def test_messages_get_the_error_of_a_search(proxy: ProxyServer) -> None:
    body = proxy.post("/v1/messages", {"model": "free", **ALONE["/v1/messages"]}).json()
    use, result, _ = body["content"]
    assert (use["type"], use["name"], use["input"]) == ("server_tool_use", "web_search", {"query": QUERY})
    error = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    assert (result["type"], result["tool_use_id"], result["content"]) == ("web_search_tool_result", use["id"], error)
    assert (body["stop_reason"], body["model"]) == ("end_turn", "free")


def test_responses_get_a_search_that_failed(proxy: ProxyServer) -> None:
    text = proxy.post("/v1/responses", {"model": "free", **CHOSEN["/v1/responses"], "stream": True}).text
    found = events(text)
    assert found[0]["type"] == "response.created"
    assert found[-1]["type"] == "response.completed"
    calls = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert calls[0]["type"] == "web_search_call"
    assert (calls[0]["status"], calls[0]["action"]) == ("failed", {"type": "search", "query": QUERY})


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/v1/messages", {"tools": [CLIENTS, SEARCH]}),
        ("/v1/messages", {"tool_choice": {"type": "none"}}),
        ("/v1/chat/completions", {"tool_choice": "none"}),
        ("/v1/responses", {"tools": [FLAT, {"type": "web_search"}], "tool_choice": "auto"}),
        ("/v1/responses", {"tools": [{"type": "unheard_of"}]}),
    ],
    ids=str,
)
def test_a_model_that_can_do_something_else_is_asked(
    proxy: ProxyServer, simulator: Simulator, path: str, changes: Any
) -> None:
    assert proxy.post(path, {"model": "free", **ALONE[path], **changes}).ok
    [entry] = simulator.chats()
    assert "web_search" not in json.dumps(entry["body"].get("tools", []))


def test_the_name_is_looked_at_all_the_same(start_proxy: Callable[..., ProxyServer]) -> None:
    strict = start_proxy(strict_models=True)
    for path, body in ALONE.items():
        assert strict.post(path, {"model": "nobody", **body}).status_code == 404


def test_outside_free_mode_the_tool_goes_up(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    paid = start_proxy(free_mode=False)
    for path, body in ALONE.items():
        assert paid.post(path, {"model": "tidal/ember-4", **body}).ok
    assert [entry["body"]["tools"] for entry in simulator.chats()] == [body["tools"] for body in ALONE.values()]
