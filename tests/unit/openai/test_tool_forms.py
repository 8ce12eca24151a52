from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy import limits
from ollama_proxy.bodies.client_tools import tools_of
from ollama_proxy.errors import BadRequest
from ollama_proxy.openai.request import PassedRequest, read_responses
from ollama_proxy.openai.tool_forms import ToolForms

SCHEMA = {"type": "object", "properties": {}}
QUERY = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
SEARCH = {"type": "tool_search", "execution": "client"}
SERVERS_SEARCH = {"type": "tool_search"}
NAMED_SEARCH = {"type": "function", "name": "tool_search", "parameters": SCHEMA}
MORE = {"type": "additional_tools", "role": "developer"}
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


@pytest.mark.parametrize("tools", [[NAMED_SEARCH, SEARCH], [SEARCH, NAMED_SEARCH]], ids=["before", "behind"])
def test_a_function_of_the_client_may_be_called_tool_search(tools: list[Any]) -> None:
    """Two functions of one name would be refused, and its calls would come back as searches."""
    call = {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"query": "x"}}
    asked = read(input=[call, {"type": "tool_search_output", "call_id": "c", "tools": [READ]}], tools=tools)
    assert sorted(names_of(asked.body["tools"])) == ["read", "tool_search", "tool_search_2"]
    assert asked.body["input"][0]["name"] == "tool_search_2"
    assert asked.forms is not None
    called = [asked.forms.original_of({"type": "function_call", "name": f"tool_search{end}"}) for end in ("", "_2")]
    assert called == [None, ("tool_search", "tool_search", "")]


def brought(*tools: Any, **fields: Any) -> PassedRequest:
    """A request whose input brings these tools."""
    return read(input=[{"role": "user", "content": "x"}, {**MORE, "tools": list(tools)}], **fields)


def test_tools_that_the_input_brings_are_known() -> None:
    """`additional_tools`: they count, have the same forms, and those of unknown types are left out."""
    space = {"type": "namespace", "name": "n", "tools": [READ, {"type": "custom", "name": "c"}]}
    asked = brought({"name": "g"}, space, SEARCH, {"type": "nonsense"}, {**READ, "defer_loading": True})
    assert asked.needs.tools
    search = {"type": "function", "name": "tool_search", "parameters": QUERY}
    named = {"type": "function", "name": "g", "parameters": SCHEMA}
    assert asked.body["input"][1] == {**MORE, "tools": [named, {"description": "", **space}, search, READ]}
    assert "tools" not in asked.body
    assert asked.forms is not None
    expanded = asked.forms.expanded(asked.body)
    assert "tools" not in expanded
    assert names_of(expanded["input"][1]["tools"]) == ["g", "n__read", "n__c", "tool_search", "read"]
    assert asked.forms.original_of({"type": "function_call", "name": "n__c"}) == ("custom", "c", "n")


def test_a_choice_may_name_a_tool_that_the_input_brings() -> None:
    choice = {"type": "function", "name": "read"}
    for tools in ([{"type": "web_search"}], [{"type": "web_search"}, {**READ, "name": "other"}], [SERVERS_SEARCH]):
        asked = brought(READ, tools=tools, tool_choice=choice)
        assert asked.body["tool_choice"] == choice
        assert asked.unavailable is None
        assert not any(tool["type"] != "function" for tool in asked.body.get("tools", ()))


def test_a_server_tool_alone_in_the_input_is_needed() -> None:
    assert brought({"type": "web_search"}).unavailable == "web_search"
    assert brought({"type": "web_search"}, READ).unavailable is None
    assert brought({"type": "web_search"}, tools=[READ]).unavailable is None


def test_there_is_a_limit_to_the_tools_that_the_input_brings() -> None:
    many = [{**READ, "name": f"f{number}"} for number in range(limits.TOOLS)]
    assert brought(*many).needs.tools
    with pytest.raises(BadRequest):
        brought(*many, tools=[READ])


def test_an_escaped_type_is_the_same_type() -> None:
    data = rb'{"model":"m","input":[{"type":"tool_search\u005foutput","call_id":"c","tools":[{"name":"g"}]}]}'
    asked = read_responses(data, free_mode=True)
    assert names_of(asked.body["tools"]) == ["g"]
    assert asked.body["input"][0]["type"] == "function_call_output"


kinds = ["additional_tools", "function",
         "custom", "namespace", "local_shell", "tool_search", "tool_search_output", "tool_search_call",
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
        kept = [tool["type"] for tool in tools_of(expanded)]
        assert {"custom", "namespace", "local_shell", "tool_search"}.isdisjoint(kept)
