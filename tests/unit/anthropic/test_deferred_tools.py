from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest

from ollama_proxy.anthropic.request import body_for
from ollama_proxy.catalog.records import Model, parse_record

SCHEMA = {"type": "object", "properties": {}}
SEARCH = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
READ = {"name": "read", "input_schema": SCHEMA}
FOUND = {"type": "tool_reference", "tool_name": "read"}
BODY: dict[str, Any] = {
    "max_tokens": 10,
    "tools": [SEARCH, {**READ, "defer_loading": True}, {"name": "write", "input_schema": SCHEMA}],
    "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "ToolSearch", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [FOUND]}]},
        {
            "role": "assistant",
            "content": [
                {"type": "server_tool_use", "id": "s", "name": "tool_search_tool_regex", "input": {"query": "x"}},
                {
                    "type": "tool_search_tool_result",
                    "tool_use_id": "s",
                    "content": {"type": "tool_search_tool_search_result", "tool_references": [FOUND]},
                },
                {"type": "text", "text": "ok"},
            ],
        },
        {"role": "user", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "read"}}]},
    ],
}


def model(model_id: str) -> Model:
    made = parse_record({"id": model_id, "supported_parameters": ["tools"]}, today=date(2026, 1, 1))
    assert made is not None
    return made


def sent(model_id: str) -> dict[str, Any]:
    before = copy.deepcopy(BODY)
    made = body_for(BODY, model(model_id), frozenset(), None, free_mode=False)
    assert before == BODY
    return made


@pytest.mark.parametrize("model_id", ["anthropic/claude-sonnet-4.5", "~anthropic/claude-latest"])
def test_claude_gets_them_as_they_are(model_id: str) -> None:
    assert sent(model_id) == {**BODY, "model": model_id}


def test_others_get_all_tools_and_the_references_in_words() -> None:
    body = sent("v/m")
    assert body["tools"] == [READ, {"name": "write", "input_schema": SCHEMA}]
    _, call, result, searched, added = body["messages"]
    words = {"type": "text", "text": "Found, and can be called now: read"}
    assert call == BODY["messages"][1]
    assert result["content"] == [{"type": "tool_result", "tool_use_id": "t", "content": [words]}]
    assert searched["content"] == [
        {"type": "text", "text": "(Tools were searched for.)"},
        words,
        {"type": "text", "text": "ok"},
    ]
    assert added["content"] == [words]


def test_a_body_without_any_is_not_copied() -> None:
    plain = {"max_tokens": 10, "tools": [READ], "messages": [{"role": "user", "content": [{"type": "text"}]}]}
    body = body_for(plain, model("v/m"), frozenset(), None, free_mode=False)
    assert body["tools"] is plain["tools"]
    assert body["messages"] is plain["messages"]
