"""The rebuilt clients refuse what the real ones fail on; good answers are shown to them everywhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.schemas import Refused, validate
from tests.servers import ProxyServer

JSON = "application/json"
LINE = {"model": "m", "created_at": "2026-01-02T03:04:05.123456789Z", "done": False}


def said(**message: Any) -> dict[str, Any]:
    return LINE | {"message": {"role": "assistant", "content": "", **message}}


CALL = {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {}}}
KNOWN_MISTAKES = {
    "copilot: too old": ("version", {"version": "0.1.0"}),
    "codex: a suffix": ("version", {"version": "0.32.7-openrouter"}),
    "open_webui: a build": ("version", {"version": "0.32.7+openrouter"}),
    "ollama4j: one key more": ("version", {"version": "0.32.7", "proxy": "1.0"}),
    "content null": ("chat", said(content=None)),
    "no content": ("chat", LINE | {"message": {"role": "assistant"}}),
    "arguments as text": ("chat", said(tool_calls=[CALL | {"function": {"name": "f", "arguments": "{}"}}])),
    "zed: two calls in a line": ("chat", said(tool_calls=[CALL, CALL])),
    "ollama4j: a type in a call": ("chat", said(tool_calls=[CALL | {"type": "function"}])),
    "a time without a zone": ("chat", said() | {"created_at": "2026-01-02T03:04:05"}),
    "a null anywhere": ("chat", said() | {"done_reason": None}),
    "continue: an error key": ("chat", said() | {"error": ""}),
    "anythingllm: thinking beside content": ("chat", said(content="a", thinking="b")),
    "spring_ai: an end without a reason": ("chat", said() | {"done": True}),
    "dotnet: half a nanosecond": (
        "chat",
        said() | {"done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1, "eval_duration": 1.5},
    ),
    "generate without a response": ("generate", LINE),
    "dotnet: an error object": ("chat", {"error": {"message": "x"}}),
}


@pytest.mark.parametrize("case", KNOWN_MISTAKES.values(), ids=KNOWN_MISTAKES)
def test_a_known_mistake_is_refused(case: tuple[str, Any]) -> None:
    kind, body = case
    with pytest.raises(Refused):
        validate(f"/api/{kind}", 200, JSON, json.dumps(body).encode())


TAG_MISTAKES: dict[str, dict[str, Any]] = {
    "a name without a tag": {"name": "m", "model": "m"},
    "no digest": {"digest": None},
    "half a size": {"size": 1.5},
    "a time that is none": {"modified_at": ""},
    "families null": {"details": None},
}
SHOW_MISTAKES: dict[str, dict[str, Any]] = {
    "no capabilities": {"capabilities": None},
    "koog: an unknown capability": {"capabilities": ["completion", "image"]},
    "two windows": {"model_info": {"general.architecture": "a", "a.context_length": 1, "b.context_length": 1}},
    "no window among the parameters": {"parameters": "temperature 1"},
    "a license that is a list": {"license": []},
    "a template that can insert": {"template": "{{ .Prompt }}{{ .Suffix }}"},
}


@pytest.mark.parametrize("change", TAG_MISTAKES.values(), ids=TAG_MISTAKES)
def test_a_mistake_in_the_list_is_refused(proxy: ProxyServer, change: dict[str, Any]) -> None:
    models = proxy.get("/api/tags").json()["models"]
    validate("/api/tags", 200, JSON, json.dumps({"models": models}).encode())
    models[-1] |= change
    with pytest.raises(Refused):
        validate("/api/tags", 200, JSON, json.dumps({"models": models}).encode())


@pytest.mark.parametrize("change", SHOW_MISTAKES.values(), ids=SHOW_MISTAKES)
def test_a_mistake_in_show_is_refused(proxy: ProxyServer, change: dict[str, Any]) -> None:
    show = proxy.post("/api/show", {"model": "plain-8b"}).json()
    validate("/api/show", 200, JSON, json.dumps(show).encode())
    with pytest.raises(Refused):
        validate("/api/show", 200, JSON, json.dumps(show | change).encode())
