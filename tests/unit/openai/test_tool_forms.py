from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.errors import BadRequest
from ollama_proxy.openai.request import PassedRequest, read_responses
from ollama_proxy.openai.tool_forms import ToolForms

SCHEMA = {"type": "object", "properties": {}}
READ = {"type": "function", "name": "read", "parameters": SCHEMA}


def read(*, free_mode: bool = True, **fields: Any) -> PassedRequest:
    return read_responses(json.dumps({"model": "m", "input": "x", **fields}).encode(), free_mode=free_mode)


def names_of(tools: list[Any]) -> list[str]:
    return [tool["name"] for tool in tools]


def test_functions_alone_have_no_other_form() -> None:
    assert read(tools=[READ]).forms is None
    assert read(tools=[{"name": "f"}]).forms is None
    assert read().forms is None


def test_names_of_functions_are_taken_once() -> None:
    """A namespace's tool does not take the name of a function, and all names are such that providers accept them."""
    space = {"type": "namespace", "name": "a.b", "tools": [READ, {"type": "custom", "name": "c d"}]}
    asked = read(tools=[{"type": "function", "name": "a_b__read", "parameters": SCHEMA}, space])
    assert asked.forms is not None
    expanded = asked.forms.expanded(asked.body)
    assert names_of(expanded["tools"]) == ["a_b__read", "a_b__read_2", "a_b__c_d"]
    back = [asked.forms.original_of({"type": "function_call", "name": name}) for name in names_of(expanded["tools"])]
    assert back == [None, ("function", "read", "a.b"), ("custom", "c d", "a.b")]


def test_a_grammar_is_told_in_words() -> None:
    patch = {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}}
    asked = read(tools=[patch])
    assert asked.forms is not None
    [tool] = asked.forms.expanded(asked.body)["tools"]
    assert "start: x" in tool["description"]
    assert tool["parameters"]["required"] == ["input"]


def test_found_tools_join_their_namespace() -> None:
    one, two = ({"type": "function", "name": name, "parameters": SCHEMA} for name in ("one", "two"))
    space = {"type": "namespace", "name": "n", "description": "d"}
    found = {"type": "tool_search_output", "call_id": "c", "tools": [{**space, "tools": [one, two]}, READ]}
    call = {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"query": "x"}}
    asked = read(input=[call, found], tools=[{**space, "tools": [one]}, READ])
    assert asked.body["tools"] == [{**space, "tools": [one, two]}, READ]
    assert [item["type"] for item in asked.body["input"]] == ["function_call", "function_call_output"]


def test_arguments_that_are_no_json_are_the_text() -> None:
    forms = ToolForms([{"type": "custom", "name": "p"}, {"type": "tool_search", "execution": "client"}])
    call = {"type": "function_call", "call_id": "c", "name": "p", "arguments": "*** Begin"}
    assert forms.restored(call) == {"type": "custom_tool_call", "call_id": "c", "name": "p", "input": "*** Begin"}
    search = {"type": "function_call", "call_id": "c", "name": "tool_search", "arguments": "["}
    assert forms.restored(search)["arguments"] == {}


kinds = ["function", "custom", "namespace", "local_shell", "tool_search", "tool_search_output", "tool_search_call",
         "message", "function_call", "function_call_output", "local_shell_call_output", "reasoning", "n"]  # fmt: skip
keys = ["type", "name", "tools", "role", "content", "output", "call_id", "id", "arguments", "namespace", "execution",
        "action", "input", "parameters", "format", "description"]  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(kinds),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(keys), inner, max_size=5),
    max_leaves=25,
)


@given(st.lists(anything, max_size=4), st.lists(anything, max_size=4), anything, st.booleans())
def test_any_request_is_read_or_refused(tools: list[Any], items: list[Any], choice: Any, free_mode: bool) -> None:
    try:
        asked = read(tools=tools, input=items, tool_choice=choice, free_mode=free_mode)
    except BadRequest:
        return
    if asked.forms is not None:
        expanded = asked.forms.expanded(asked.body)
        for item in expanded["input"]:
            asked.forms.restored(item)
        kept = [tool["type"] for tool in expanded["tools"]]
        assert {"custom", "namespace", "local_shell", "tool_search"}.isdisjoint(kept)
