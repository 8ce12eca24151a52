from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.anthropic import unavailable
from ollama_proxy.anthropic.request import body_for, read_messages
from ollama_proxy.bodies.client_tools import needed_server_tool
from ollama_proxy.catalog.records import parse_record
from ollama_proxy.errors import BadRequest

PNG = "iVBORw0KGgoAAAANSUhEUg=="
MODEL = parse_record({"id": "v/m:free", "supported_parameters": ["tools"]}, today=date(2026, 1, 1))
CALLS = [{"type": "tool_use", "id": name, "name": "f", "input": {"x": None}} for name in ("t1", "t2")]


def picture(media_type: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": PNG}}


def read(*messages: Any, **fields: Any) -> dict[str, Any]:
    return read_messages(json.dumps({"model": "m", "max_tokens": 5, "messages": messages, **fields}).encode())


def test_results_without_an_id_get_those_of_the_calls_that_are_left() -> None:
    results = [
        {"type": "tool_result", "content": "of 1"},
        {"type": "tool_result", "tool_use_id": "t2", "content": [picture("image/jpg"), None]},
    ]
    body = read({"role": "assistant", "content": CALLS}, {"role": "user", "content": results})
    first, second = body["messages"][1]["content"]
    assert (first["tool_use_id"], second["tool_use_id"]) == ("t1", "t2")
    assert second["content"] == [picture("image/png")]
    assert body["messages"][0]["content"] == CALLS  # a null in arguments is a value


def test_what_needs_no_repair_is_the_same() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"}, *CALLS]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]},
    ]
    tools = [{"name": "f", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}]
    sent = {"tools": tools, "temperature": 1, "stop_sequences": ["x"], "top_k": 3}
    assert read(*messages, **sent) == {"model": "m", "max_tokens": 5, "messages": messages, **sent}


def test_a_compaction_keeps_its_null() -> None:
    block = {"type": "compaction", "content": None}
    assert read({"role": "assistant", "content": [block]})["messages"][0]["content"] == [block]


def test_examples_of_a_tools_input_keep_their_nulls() -> None:
    tools = [{"name": "f", "input_schema": {"type": "object"}, "input_examples": [{"a": None}]}]
    assert read({"role": "user", "content": "x"}, tools=tools)["tools"] == tools


keys = ["type", "role", "content", "text", "source", "name", "tool_name", "tool", "tool_use_id", "id", "input",
        "defer_loading", "tool_references", "data"]  # fmt: skip
words = ["user", "text", "image", "base64", "tool_result", "tool_reference", "tool_addition", "server_tool_use",
         "tool_search_tool_result", "tool_search_tool_bm25", "web_search_20250305", "custom", "x"]  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(words),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(keys), inner, max_size=5),
    max_leaves=25,
)
objects = st.dictionaries(st.sampled_from(keys), anything, max_size=5)


@pytest.mark.parametrize("free_mode", [True, False])
@given(st.lists(objects, min_size=1, max_size=4), st.lists(anything, max_size=4), anything)
def test_any_request_is_read_or_refused(free_mode: bool, messages: list[Any], tools: list[Any], choice: Any) -> None:
    assert MODEL is not None
    try:
        asked = read(*messages, tools=tools, tool_choice=choice)
    except BadRequest:
        return
    body = body_for(asked, MODEL, frozenset(), None, free_mode=free_mode)
    assert all(message["role"] in ("user", "assistant", "system") for message in body["messages"])
    if (kind := needed_server_tool(asked)) is not None:
        assert unavailable.message(asked, kind)["stop_reason"] == "end_turn"
