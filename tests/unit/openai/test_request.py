from __future__ import annotations

import json
from typing import Any

import pytest

from ollama_proxy.errors import BadRequest
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.openai.request import PassedRequest, read_chat, read_completion, read_responses

USER = {"role": "user", "content": "12345678"}
FUNCTION = {"type": "function", "function": {"name": "f"}}
PLAIN = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
NAMESPACE = {"type": "namespace", "name": "n", "description": "", "tools": [PLAIN]}
CUSTOM = {"type": "custom", "name": "apply_patch"}
SEARCH = {"type": "openrouter:web_search"}


def chat(*, free_mode: bool = False, **fields: Any) -> PassedRequest:
    body = {"model": "m", "messages": [USER], **fields}
    return read_chat(json.dumps(body).encode(), free_mode=free_mode)


def responses(*, free_mode: bool = False, **fields: Any) -> PassedRequest:
    return read_responses(json.dumps({"model": "m", "input": "12345678", **fields}).encode(), free_mode=free_mode)


def fields_of(value: Any) -> str:
    """The id of a case: its fields. The text of a set is another one in each process."""
    return str(value) if isinstance(value, dict) else "needs"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, Needs(prompt_tokens=2)),
        ({"max_tokens": 7, "max_completion_tokens": 9}, Needs(prompt_tokens=2, output_tokens=9)),
        ({"messages": [{"role": "user", "content": [image("data:" + "A" * 999)]}]}, Needs(images=True)),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "é" * 4}]}]}, Needs(prompt_tokens=2)),
        ({"response_format": {"type": "json_object"}}, Needs(schema=True, prompt_tokens=2)),
        ({"response_format": {"type": "text"}}, Needs(prompt_tokens=2)),
        ({"tools": [FUNCTION]}, Needs(tools=True, prompt_tokens=(8 + 47) // 4)),
        ({"tools": []}, Needs(prompt_tokens=2)),
        ({"reasoning_effort": "high"}, Needs(thinking=True, prompt_tokens=2)),
        ({"reasoning_effort": "none"}, Needs(prompt_tokens=2)),
        ({"reasoning": {"enabled": True}}, Needs(thinking=True, prompt_tokens=2)),
        ({"reasoning": {"enabled": False, "effort": "high"}}, Needs(prompt_tokens=2)),
        ({"reasoning": {"summary": "auto"}}, Needs(prompt_tokens=2)),
        ({"stop": "x", "logprobs": True}, Needs(prompt_tokens=2, preferred=frozenset({"stop", "logprobs"}))),
        ({"stop": [None, ""], "logprobs": False}, Needs(prompt_tokens=2)),
    ],
    ids=fields_of,
)
def test_what_a_chat_demands(fields: dict[str, Any], needs: Needs) -> None:
    assert chat(**fields).needs == needs


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, Needs(prompt_tokens=2)),
        ({"instructions": "1234"}, Needs(prompt_tokens=3)),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "1234"}]}]}, Needs(prompt_tokens=1)),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]}, Needs(images=True)),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "12345678"}]}, Needs(prompt_tokens=2)),
        (
            {"text": {"format": {"type": "json_schema"}}},
            Needs(schema=True, prompt_tokens=2, preferred=frozenset({"structured_outputs"})),
        ),
        ({"tools": [NAMESPACE]}, Needs(tools=True, prompt_tokens=(8 + 138) // 4)),
        ({"max_output_tokens": 5}, Needs(prompt_tokens=2, output_tokens=5)),
    ],
    ids=fields_of,
)
def test_what_a_response_demands(fields: dict[str, Any], needs: Needs) -> None:
    assert responses(**fields).needs == needs


@pytest.mark.parametrize(
    ("read", "free_mode", "kept"),
    [
        (chat, True, [FUNCTION]),
        (chat, False, [FUNCTION, SEARCH]),
        (responses, True, [NAMESPACE, PLAIN, CUSTOM, {"type": "local_shell"}]),
        (responses, False, [NAMESPACE, PLAIN, SEARCH, CUSTOM, {"type": "local_shell"}, {"type": "web_search"}]),
    ],
)
def test_tools_of_unknown_kinds_are_left_out(read: Any, free_mode: bool, kept: list[Any]) -> None:
    tools = [NAMESPACE, FUNCTION, SEARCH, CUSTOM, {"type": "local_shell"}, {"type": "web_search"}, {"type": "x"}, 5]
    assert read(free_mode=free_mode, tools=tools).body["tools"] == kept


@pytest.mark.parametrize("free_mode", [True, False])
@pytest.mark.parametrize(("name", "stays"), [("f", True), ("g", False)])
def test_a_choice_of_a_tool_that_was_left_out_is_left_out(free_mode: bool, name: str, stays: bool) -> None:
    tools = [{"type": "function", "name": "f"}, {"type": "unheard_of", "name": "g"}]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": name}]}
    for chosen in (choice, {"type": "function", "name": name}):
        body = responses(free_mode=free_mode, tools=tools, tool_choice=chosen).body
        assert body.get("tool_choice") == (chosen if stays else None)


def test_without_any_known_tool_nothing_is_said_about_tools() -> None:
    body = chat(tools=[NAMESPACE], tool_choice="auto", parallel_tool_calls=True).body
    assert body == {"model": "m", "messages": [USER]}


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ({"max_tokens": -1}, {}),
        ({"max_tokens": 5.0}, {"max_tokens": 5}),
        ({"MAX_TOKENS": 5}, {"max_tokens": 5}),
        ({"reasoning_effort": "ultra"}, {"reasoning_effort": "max"}),
        ({"stop": ["a"], "n": 2, "X": [1, None]},) * 2,
        (
            {"temperature": None, "reasoning": {"effort": None}, "X": {"a": None, "b": [{"c": None}]}},
            {"reasoning": {}, "X": {"b": [{}]}},
        ),
        (
            {"temperature": 9, "top_p": 0, "min_p": -1, "frequency_penalty": -3.5, "top_k": -1, "seed": -1},
            {"temperature": 2.0, "min_p": 0.0, "frequency_penalty": -2.0},
        ),
        (
            {"temperature": 1, "seed": 0, "top_k": 40.0, "top_a": "x"},
            {"temperature": 1, "seed": 0, "top_k": 40, "top_a": "x"},
        ),
        ({"logprobs": True, "top_logprobs": 50}, {"logprobs": True, "top_logprobs": 20}),
        ({"stop": ["a", 5, "", None, "b"]}, {"stop": ["a", "b"]}),
        ({"stop": list("abcdef")}, {"stop": list("abcd")}),
        ({"stop": "a"}, {"stop": "a"}),
        ({"stop": 5}, {}),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, {"reasoning": {"effort": "low"}}),
        ({"reasoning": {"max_tokens": 9}, "reasoning_effort": "high"}, {"reasoning": {"max_tokens": 9}}),
        (
            {"reasoning": {"summary": "auto"}, "reasoning_effort": "high"},
            {"reasoning": {"summary": "auto", "effort": "high"}},
        ),
        ({"reasoning_effort": ""}, {}),
        (
            {
                "tools": [
                    {"function": {"name": "f"}},
                    None,
                    {"type": None, "function": {"name": "g", "parameters": None}},
                ]
            },
            {"tools": [FUNCTION, {"type": "function", "function": {"name": "g"}}]},
        ),
        ({"tools": [{}, {"type": "function"}, {"function": {}}], "tool_choice": "auto"}, {}),
    ],
    ids=str,
)
def test_only_what_upstream_would_refuse_is_changed(sent: dict[str, Any], passed: dict[str, Any]) -> None:
    assert chat(**sent).body == {"model": "m", "messages": [USER], **passed}


def test_parsed_arguments_become_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    kept = {"id": "d", "type": "function", "function": {"name": "f", "arguments": "not json"}}
    message = chat(messages=[{"role": "assistant", "content": None, "tool_calls": [call, kept]}]).body["messages"][0]
    assert [one["function"]["arguments"] for one in message["tool_calls"]] == ['{"a":1}', "not json"]


@pytest.mark.parametrize("fields", [{"reasoning_effort": "bogus"}, {"reasoning": {"effort": "bogus"}}], ids=str)
def test_an_unknown_effort_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match='invalid reasoning value: "bogus"'):
        chat(**fields)


def test_the_usage_is_wanted_only_if_said_so() -> None:
    assert chat(stream_options={"include_usage": True}).include_usage
    assert not chat(stream_options={"include_usage": "yes"}).include_usage
    assert not chat(stream_options=None).include_usage


def test_each_endpoint_has_its_own_limit() -> None:
    assert chat().limit_name == "max_tokens"
    assert chat(max_completion_tokens=5).limit_name == "max_completion_tokens"
    assert responses().limit_name == "max_output_tokens"
    assert read_completion(b'{"model":"m","prompt":"x"}').limit_name == "max_tokens"
