"""Each limit of docs/contract.md, "Limits": what it allows is served, one more is a 400 that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy import limits
from tests.unit.limits.ways import FREE, OLLAMA_CHAT, OLLAMA_GENERATE, PNG, WAYS, go

USER = {"role": "user", "content": "a"}
CALL = {"function": {"name": "f", "arguments": {}}}


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "ember:free", "messages": [USER], **fields}


def calling(count: int) -> dict[str, Any]:
    """So many calls, in two messages."""
    first, second = [CALL] * (count // 2), [CALL] * (count - count // 2)
    return chat(messages=[{"role": "assistant", "tool_calls": first}, {"role": "assistant", "tool_calls": second}])


def picturing(count: int) -> dict[str, Any]:
    half = count // 2
    return chat(messages=[{**USER, "images": [PNG] * half}, {**USER, "images": [PNG] * (count - half)}])


#: The route, a body with so much of something, how much is allowed, and what one more is answered with.
LIMITS: dict[str, tuple[str, Any, int, str]] = {
    "a duration": (
        "/api/chat",
        lambda n: chat(keep_alive="0" * (n - 1) + "m"),
        limits.KEEP_ALIVE,
        "time: invalid duration",
    ),
    "messages": ("/api/chat", lambda n: chat(messages=[USER] * n), limits.MESSAGES, "too many messages: 10001, and at"),
    "tools": ("/api/chat", lambda n: chat(tools=[{}] * n), limits.TOOLS, "too many tools"),
    "tool calls": ("/api/chat", calling, limits.TOOL_CALLS, "too many tool calls"),
    "images": ("/api/chat", picturing, limits.IMAGES, "too many images"),
    "stop strings": ("/api/chat", lambda n: chat(options={"stop": ["a"] * n}), limits.STOPS, "too many stop strings"),
    "options": (
        "/api/chat",
        lambda n: chat(options={f"o{k}": 1 for k in range(n)}),
        limits.OPTIONS,
        "too many options",
    ),
    "a template": (
        "/api/generate",
        lambda n: {"model": "ember:free", "prompt": "a", "template": "a" * n},
        limits.TEMPLATE,
        "template: more than 65536 characters",
    ),
    "images of a prompt": (
        "/api/generate",
        lambda n: {"model": "ember:free", "prompt": "a", "images": [PNG] * n},
        limits.IMAGES,
        "too many images",
    ),
    "OpenAI's messages": (
        "/v1/chat/completions",
        lambda n: chat(messages=[USER] * n),
        limits.MESSAGES,
        "too many messages",
    ),
    "OpenAI's tools": (
        "/v1/chat/completions",
        lambda n: chat(tools=[{"type": "function"}] * n),
        limits.TOOLS,
        "too many tools",
    ),
    "items of a response": (
        "/v1/responses",
        lambda n: {"model": "ember:free", "input": [USER] * n},
        limits.MESSAGES,
        "too many items in input",
    ),
    "a response's tools": (
        "/v1/responses",
        lambda n: {"model": "ember:free", "input": "a", "tools": [{"type": "function", "name": "f"}] * n},
        limits.TOOLS,
        "too many tools",
    ),
    "Anthropic's messages": (
        "/v1/messages",
        lambda n: chat(max_tokens=5, messages=[USER] * n),
        limits.MESSAGES,
        "too many messages",
    ),
    "Anthropic's tools": (
        "/v1/messages",
        lambda n: chat(max_tokens=5, tools=[{"name": "f"}] * n),
        limits.TOOLS,
        "too many tools",
    ),
    "values": ("/api/chat", lambda n: chat(unknown=[0] * (n - 2)), limits.VALUES, "more than 100000 values"),
    "objects and lists": (
        "/api/chat",
        lambda n: chat(unknown=[{}] * (n - 4)),
        limits.CONTAINERS,
        "more than 50000 objects and lists",
    ),
}


@pytest.mark.parametrize(("path", "body", "most", "text"), LIMITS.values(), ids=LIMITS)
def test_what_is_allowed_and_what_is_not(path: str, body: Any, most: int, text: str) -> None:
    assert go(path, json.dumps(body(most)).encode()) is None
    refused = go(path, json.dumps(body(most + 1)).encode())
    assert refused is not None
    assert text.encode() in refused


NAMED = [
    *[(path, "model") for path in WAYS if path != "/api/copy"],
    ("/api/show", "name"),
    ("/api/copy", "source"),
    ("/api/copy", "destination"),
]


@pytest.mark.parametrize(("path", "field"), NAMED, ids=" ".join)
@pytest.mark.parametrize("text", ["a", ":", " ", "a/"], ids=repr)
def test_a_name_that_is_too_long_is_no_name(path: str, field: str, text: str) -> None:
    body = {**WAYS[path][1], field: text * (limits.NAME // len(text) + 1)}
    refused = go(path, json.dumps(body).encode())
    assert refused is not None
    assert b"invalid model name" in refused


def test_a_long_name_in_a_path_is_no_name() -> None:
    assert FREE.resolve("a/" * 5000).kind == "invalid"


def test_the_limits_are_far_over_what_agents_send() -> None:
    messages = [{**USER, "content": [{"type": "text", "text": "a"}] * 3}, {"role": "assistant", "tool_calls": [CALL]}]
    properties = {f"p{number}": {"type": "string", "description": "d", "enum": ["a", "b"]} for number in range(15)}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": properties}}}
    picture = PNG[:-4] + "A" * 10_000_000
    body = chat(messages=[*messages * 400, {**USER, "images": [picture] * 4}], tools=[tool] * 200)
    assert go("/api/chat", json.dumps(body).encode()) is None
    assert go("/v1/chat/completions", json.dumps({**body, "messages": messages * 400}).encode()) is None


def test_the_table_in_the_contract_names_every_limit() -> None:
    contract = (Path(__file__).resolve().parents[3] / "docs" / "contract.md").read_text()
    table = contract.partition("### Limits\n")[2].partition("\n## ")[0]
    numbers = {name: value for name, value in vars(limits).items() if name.isupper()}
    shown = table.replace(" ", "").replace("\u00a0", "")
    assert [name for name, value in numbers.items() if str(value) not in shown] == []


def test_the_templates_of_these_tests_are_served() -> None:
    assert go("/api/chat", json.dumps(OLLAMA_CHAT).encode()) is None
    assert go("/api/generate", json.dumps(OLLAMA_GENERATE).encode()) is None
    for path, (_, body, _) in WAYS.items():
        assert go(path, json.dumps(body).encode()) is None, path
