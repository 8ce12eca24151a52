"""What Ollama takes on /v1 and OpenRouter refuses: the stand-in upstream refuses it too, so an answer is the proof."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.process import Simulator
from tests.servers import ProxyServer

MODEL = "ember-4:free"
VISION = "lumen-vl-32b:free"
PNG = "iVBORw0KGgoAAAANSUhEUg=="
USER = {"role": "user", "content": "a b c"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
FLAT = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def call(*, call_id: str | None = None, name: str = "f") -> dict[str, Any]:
    made = {"type": "function", "function": {"name": name, "arguments": "{}"}}
    return made if call_id is None else {"id": call_id, **made}


def picture(url: Any) -> list[Any]:
    return [USER, {"role": "user", "content": [{"type": "image_url", "image_url": url}]}]


CHATS: dict[str, Any] = {
    "a tool result without an id": {
        "tools": [TOOL],
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call(call_id="c1")]},
            {"role": "tool", "content": "sunny"},
        ],
    },
    "neither calls nor results with ids, told by name": {
        "tools": [TOOL],
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call(name="f"), call(name="g")]},
            {"role": "tool", "name": "g", "content": "of g"},
            {"role": "tool", "name": "f", "content": "of f"},
        ],
    },
    "a result of nothing": {"messages": [USER, {"role": "tool", "content": "x", "tool_call_id": "none"}]},
    "an image as a string": {"model": VISION, "messages": picture(f"data:image/png;base64,{PNG}")},
    "an image of a wrong type": {"model": VISION, "messages": picture({"url": f"data:image/jpg;base64,{PNG}"})},
    "an image without a type": {"model": VISION, "messages": picture(f"data:;base64,{PNG}")},
    "a tool without a type": {"tools": [{"function": {"name": "f"}}]},
    "a tool whose type is null": {"tools": [{"type": None, "function": {"name": "f", "description": None}}, None]},
    "roles in capitals": {"messages": [{"role": "System", "content": "s"}, {"role": "USER", "content": "a b c"}]},
    "an unknown role": {"messages": [{"role": "narrator", "content": "a b c"}]},
    "too many stop strings": {"stop": ["1", "2", "3", "4", "5", "6"]},
    "stop strings that are none": {"stop": [None, 5, "", "zzz"]},
    "stop is a number": {"stop": 5},
    "two efforts": {"reasoning": {"effort": "low"}, "reasoning_effort": "high"},
    "nulls": {
        "temperature": None,
        "tools": None,
        "stop": None,
        "provider": None,
        "stream_options": None,
        "messages": [{**USER, "name": None, "tool_calls": None}],
    },
    "nulls as the SDKs dump an answer": {
        "messages": [
            USER,
            {"role": "assistant", "content": "x", "refusal": None, "audio": None, "tool_calls": None, "name": None},
            USER,
        ]
    },
    "numbers out of range": {"temperature": 7, "top_p": 1.5, "frequency_penalty": -9, "seed": -1, "top_k": 0},
    "top_logprobs out of range": {"logprobs": True, "top_logprobs": 99},
    "parts that are strings": {"messages": [{"role": "user", "content": ["a", "b"]}]},
}

RESPONSES: dict[str, Any] = {
    "an assistant's message without id and status": {
        "input": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
            {"role": "user", "content": "c"},
        ]
    },
    "what is stored elsewhere": {"store": True, "previous_response_id": "resp_1", "input": "a b c"},
    "unknown things to include": {
        "input": "a",
        "include": ["web_search_call.action.sources", "reasoning.encrypted_content"],
    },
    "thinking without an id": {"input": [{"type": "reasoning", "encrypted_content": "x"}, {**USER, "type": "message"}]},
    "roles in capitals": {"input": [{"role": "USER", "content": "a b c"}]},
    "an image of a wrong type": {
        "model": VISION,
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": f"data:image/jpg;base64,{PNG}"}]}],
    },
    "an image as an object": {
        "model": VISION,
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": {"url": f"data:;base64,{PNG}"}}]}],
    },
    "results without ids": {
        "tools": [FLAT],
        "input": [
            {"role": "user", "content": "a"},
            {"type": "function_call", "name": "f", "arguments": {"a": 1}},
            {"type": "function_call_output", "output": {"b": 2}},
        ],
    },
    "a tool without a type or a schema": {"input": "a", "tools": [{"name": "f"}, {"type": "function", "name": "g"}]},
    "marked tools without a search": {"input": "a", "tools": [{**FLAT, "defer_loading": True}]},
    "nulls": {"input": "a", "tools": None, "instructions": None, "metadata": None, "temperature": None, "store": None},
    "nulls in items": {"input": [{"role": "user", "content": "a", "id": None, "status": None, "name": None}]},
    "numbers out of range": {"input": "a", "temperature": -1, "top_p": 7, "max_output_tokens": 0},
}

MESSAGES: dict[str, Any] = {
    "roles in capitals": {"messages": [{"role": "User", "content": "a b c"}]},
    "no content": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]},
    "an image of a wrong type": {
        "model": VISION,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/jpg", "data": PNG}},
                    {"type": "text", "text": "a"},
                ],
            }
        ],
    },
    "a result without an id": {
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": "sunny"}]},
        ],
    },
    "a tool whose type is null, and without a schema": {"tools": [{"type": None, "name": "f"}, {"name": "g"}, None]},
    "nulls": {
        "temperature": None,
        "system": None,
        "stop_sequences": None,
        "metadata": None,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": None}, None]}],
    },
    "stop sequences that are none": {"stop_sequences": [None, 5, "", "zzz"]},
    "numbers out of range": {"temperature": 5, "top_p": -1, "top_k": -1},
}

CASES = [
    pytest.param(path, {**start, **fields}, id=f"{path}: {name}")
    for path, start, table in (
        ("/v1/chat/completions", {"model": MODEL, "messages": [USER]}, CHATS),
        ("/v1/responses", {"model": MODEL}, RESPONSES),
        ("/v1/messages", {"model": MODEL, "max_tokens": 100, "messages": [USER]}, MESSAGES),
    )
    for name, fields in table.items()
]


@pytest.mark.parametrize(("path", "body"), CASES)
def test_it_is_answered(proxy: ProxyServer, simulator: Simulator, path: str, body: dict[str, Any]) -> None:
    response = proxy.post(path, body)
    assert response.status_code == 200, response.text
    assert len(simulator.chats()) == 1  # the first model took it


def test_results_go_to_their_calls(proxy: ProxyServer, simulator: Simulator) -> None:
    asked = CHATS["neither calls nor results with ids, told by name"]
    assert proxy.post("/v1/chat/completions", {"model": MODEL, **asked}).ok
    sent = simulator.chats()[0]["body"]["messages"]
    named = {one["id"]: one["function"]["name"] for one in sent[1]["tool_calls"]}
    assert [(named[one["tool_call_id"]], one["content"]) for one in sent[2:]] == [("f", "of f"), ("g", "of g")]


def test_the_type_of_an_image_is_that_of_its_bytes(proxy: ProxyServer, simulator: Simulator) -> None:
    for path, table in (("/v1/chat/completions", CHATS), ("/v1/responses", RESPONSES)):
        assert proxy.post(path, {"model": VISION, **table["an image of a wrong type"]}).ok
    urls = [str(entry["body"]) for entry in simulator.chats()]
    assert all(f"data:image/png;base64,{PNG}" in text for text in urls)


def test_a_body_that_needs_no_repair_goes_up_as_it_is(proxy: ProxyServer, simulator: Simulator) -> None:
    messages = [
        {"role": "developer", "content": "s", "name": "boss"},
        {**USER, "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [call(call_id="c1"), call(call_id="c2")]},
        {"role": "tool", "tool_call_id": "c2", "content": "2"},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "1"}]},
        {"role": "assistant", "content": "x", "reasoning_details": [{"type": "reasoning.text", "text": "t"}]},
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
    ]
    sent = {"model": MODEL, "messages": messages, "tools": [TOOL], "stop": ["q"], "temperature": 1, "seed": 3}
    assert proxy.post("/v1/chat/completions", sent).ok
    body = simulator.chats()[0]["body"]
    body.pop("provider")
    assert body == {**sent, "model": "tidal/ember-4:free"}
