"""What agents do when they meet an Ollama server, step by step, as their sources and their traffic show it."""

from __future__ import annotations

import json
from typing import Any

import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}


def events(answer: requests.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.content.decode().split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_vs_code_copilot(proxy: ProxyServer, simulator: Simulator) -> None:
    """Version, tags, every model's details one by one, then a streamed chat with tools and an empty bearer."""
    session = requests.Session()
    session.headers["User-Agent"] = "GitHubCopilotChat/0.38.0"
    version = session.get(f"{proxy.url}/api/version", timeout=PATIENCE).json()["version"]
    assert [int(part) for part in version.split(".")] >= [0, 6, 4]
    names = []
    for tag in session.get(f"{proxy.url}/api/tags", timeout=PATIENCE).json()["models"]:
        shown = session.post(f"{proxy.url}/api/show", json={"model": tag["model"]}, timeout=PATIENCE).json()
        info = shown["model_info"]
        assert info[f"{info['general.architecture']}.context_length"] > 0 or "embedding" in shown["capabilities"]
        assert shown["remote_model"] if "remote_model" in shown else info["general.basename"]
        if "tools" in shown["capabilities"]:
            names.append(tag["model"])
    assert "ember-4:free" in names
    body = {
        "model": "ember-4:free",
        "messages": [{"role": "system", "content": "you code"}, {"role": "user", "content": "weather"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "n": 1,
        "temperature": 0.1,
        "top_p": 1,
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}],
    }
    answer = session.post(
        f"{proxy.url}/v1/chat/completions", json=body, headers={"Authorization": "Bearer "}, timeout=PATIENCE
    )
    assert answer.status_code == 200
    flushed, pending = 0, ""
    *chunks, done = events(answer)
    assert done == "[DONE]"
    for chunk in chunks:
        for choice in chunk["choices"]:
            for call in choice["delta"].get("tool_calls") or []:
                pending += call["function"].get("arguments") or ""
            if choice["finish_reason"] in ("tool_calls", "stop"):
                flushed += 1
                assert json.loads(pending).keys() == {"city"}
    assert flushed == 1
    assert [chunk["choices"] for chunk in chunks if "usage" in chunk] == [[]]
    assert simulator.chats()[-1]["body"]["n"] == 1


GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: x"}


def test_codex(proxy: ProxyServer, simulator: Simulator) -> None:
    """Models, version, tags, a pull, then a response with tools of every kind."""
    assert requests.get(f"{proxy.url}/v1/models", timeout=PATIENCE).ok
    version = requests.get(f"{proxy.url}/api/version", timeout=PATIENCE).json()["version"]
    assert [int(part) for part in version.split(".")] >= [0, 13, 4]
    names = [tag["name"] for tag in requests.get(f"{proxy.url}/api/tags", timeout=PATIENCE).json()["models"]]
    assert "ember-4:free" in names
    pulled = requests.post(
        f"{proxy.url}/api/pull", json={"model": "ember-4:free", "stream": True}, timeout=PATIENCE
    ).text.splitlines()
    assert json.loads(pulled[-1]) == {"status": "success"}
    body = {
        "model": "ember-4:free",
        "instructions": "you code",
        "stream": True,
        "input": [
            {"type": "message", "id": "m1", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
            {"type": "message", "id": "m2", "role": "user", "content": [{"type": "input_text", "text": "weather"}]},
        ],
        "tools": [
            {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False},
            {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "x", "parameters": {}}]},
            {"type": "web_search", "external_web_access": False},
            {"type": "custom", "name": "apply_patch", "format": GRAMMAR},
            {"type": "local_shell"},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "thread",
        "client_metadata": {"x": "y"},
    }
    answer = requests.post(f"{proxy.url}/v1/responses", json=body, timeout=PATIENCE)
    assert answer.status_code == 200
    said = events(answer)
    names = [line.removeprefix("event: ") for line in answer.text.split("\n") if line.startswith("event: ")]
    assert names == [event["type"] for event in said]
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] == "response.completed"
    items = [event["item"] for event in said if event["type"] == "response.output_item.done"]
    assert [item["name"] for item in items if item["type"] == "function_call"] == ["get_weather"]
    assert said[-1]["response"]["usage"]["output_tokens"] > 0
    [entry] = simulator.chats()
    assert [tool["type"] for tool in entry["body"]["tools"]] == ["function", "namespace", "custom", "local_shell"]
    assert entry["body"]["input"] == body["input"]
