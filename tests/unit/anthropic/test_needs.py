"""What a Messages request needs, how it is checked, and what of it goes up for which model."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.anthropic.needs import needs_of
from ollama_proxy.anthropic.request import body_for, read_messages
from ollama_proxy.catalog.records import Model, parse_record
from ollama_proxy.errors import BadRequest
from ollama_proxy.fallback.needs import Needs

Json = dict[str, Any]
IMAGE: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4000}}
TOOL: Json = {"name": "f", "input_schema": {"type": "object"}}


def request(**fields: Any) -> Json:
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "x" * 40}], **fields}


def said(*content: Any) -> Json:
    return request(messages=[{"role": "user", "content": list(content)}])


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        pytest.param(request(), Needs(prompt_tokens=10, output_tokens=100), id="text"),
        pytest.param(request(system="y" * 8), Needs(prompt_tokens=12, output_tokens=100), id="system text"),
        pytest.param(
            request(system=[{"type": "text", "text": "y" * 8, "cache_control": {"type": "ephemeral"}}]),
            Needs(prompt_tokens=12, output_tokens=100),
            id="system blocks",
        ),
        pytest.param(
            request(tools=[TOOL]),
            Needs(tools=True, prompt_tokens=(40 + len('[{"name":"f","input_schema":{"type":"object"}}]')) // 4,
                  output_tokens=100),
            id="tools count with their JSON",
        ),
        pytest.param(request(tools=[]), Needs(prompt_tokens=10, output_tokens=100), id="an empty list of tools"),
        pytest.param(said(IMAGE), Needs(images=True, output_tokens=100), id="an image counts no bytes"),
        pytest.param(
            said({"type": "tool_result", "tool_use_id": "t", "content": [IMAGE, {"type": "text", "text": "abcd"}]}),
            Needs(images=True, prompt_tokens=1, output_tokens=100),
            id="an image in a tool's result",
        ),
        pytest.param(
            said({"type": "tool_result", "tool_use_id": "t", "content": "é" * 10}),
            Needs(prompt_tokens=5, output_tokens=100),
            id="a tool's result, in UTF-8 bytes",
        ),
        pytest.param(
            said({"type": "tool_use", "id": "t", "name": "f", "input": {"a": "b" * 32}}),
            Needs(prompt_tokens=10, output_tokens=100),
            id="arguments count as JSON",
        ),
        pytest.param(
            said({"type": "thinking", "thinking": "t" * 20, "signature": "s" * 400}),
            Needs(prompt_tokens=5, output_tokens=100),
            id="thinking counts, its signature does not",
        ),
        pytest.param(
            said({"type": "document", "source": {"type": "text", "data": "d" * 20}}),
            Needs(prompt_tokens=5, output_tokens=100),
            id="a document's text",
        ),
        pytest.param(
            said({"type": "document", "source": {"type": "base64", "data": "d" * 400}}),
            Needs(output_tokens=100),
            id="a document's base64",
        ),
        *(
            pytest.param(
                request(thinking={"type": kind}),
                Needs(thinking=thinks, prompt_tokens=10, output_tokens=100),
                id=f"thinking {kind}",
            )
            for kind, thinks in (("enabled", True), ("adaptive", True), ("disabled", False))
        ),
        pytest.param(
            request(output_config={"format": {"type": "json_schema", "schema": {}}}),
            Needs(schema=True, prompt_tokens=10, output_tokens=100, preferred=frozenset({"structured_outputs"})),
            id="a schema",
        ),
    ],
)  # fmt: skip
def test_needs_are_read_from_the_body(body: Json, needs: Needs) -> None:
    assert needs_of(body) == needs


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "source", "input", "data"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(anything, anything, anything)
def test_needs_never_fail_on_strange_json(system: Any, content: Any, thinking: Any) -> None:
    body = request(system=system, messages=[{"role": "user", "content": content}], thinking=thinking)
    assert needs_of(body).output_tokens == 100


@pytest.mark.parametrize("strange", [["enabled"], {"type": ["enabled"]}, {"type": {}}, 5, "enabled"])
def test_thinking_that_is_none_is_no_need(strange: Any) -> None:
    assert needs_of(request(thinking=strange)).thinking is False


def test_deep_nesting_does_not_exhaust_the_stack() -> None:
    content: Any = "abcd"
    for _ in range(900):
        content = [{"type": "tool_result", "content": content}]
    assert needs_of(request(messages=[{"content": content}])).prompt_tokens == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "EOF", id="empty"),
        pytest.param(b" \n", "EOF", id="blank"),
        pytest.param(b'{"model"', "unexpected EOF", id="cut short"),
        pytest.param(
            b"[]", "json: cannot unmarshal array into Go value of type anthropic.MessagesRequest", id="no object"
        ),
        pytest.param(b"null", "model is required", id="null"),
        pytest.param(b"{}", "model is required", id="model first"),
        pytest.param(b'{"model":" "}', "model is required", id="a blank model"),
        pytest.param(b'{"model":"m"}', "max_tokens is required and must be positive", id="max_tokens second"),
        *(
            pytest.param(
                b'{"model":"m","max_tokens":%b}' % value, "max_tokens is required and must be positive", id=str(value)
            )
            for value in (b"0", b"-1", b"null")
        ),
        *(
            pytest.param(b'{"model":"m","max_tokens":1%b}' % rest, "messages is required", id=f"no messages{rest!r}")
            for rest in (b"", b',"messages":[]', b',"messages":null')
        ),
        pytest.param(
            b'{"model":3}',
            "json: cannot unmarshal number into Go struct field MessagesRequest.model of type string",
            id="model is no text",
        ),
        pytest.param(
            b'{"model":"m","max_tokens":"5"}',
            "json: cannot unmarshal string into Go struct field MessagesRequest.max_tokens of type int",
            id="max_tokens is no number",
        ),
        pytest.param(
            b'{"model":"m","max_tokens":1.5}',
            "json: cannot unmarshal number 1.5 into Go struct field MessagesRequest.max_tokens of type int",
            id="max_tokens is no whole number",
        ),
        pytest.param(
            b'{"model":"m","max_tokens":true}',
            "json: cannot unmarshal bool into Go struct field MessagesRequest.max_tokens of type int",
            id="true is no number",
        ),
        pytest.param(
            b'{"model":"m","max_tokens":1,"messages":"hi"}',
            "json: cannot unmarshal string into Go struct field MessagesRequest.messages of type "
            "[]anthropic.MessageParam",
            id="messages are no list",
        ),
        pytest.param(
            b'{"model":"m","max_tokens":1,"messages":["hi"]}',
            "json: cannot unmarshal string into Go struct field MessagesRequest.messages of type "
            "anthropic.MessageParam",
            id="a message is no object",
        ),
        pytest.param(
            b'{"model":"m","max_tokens":1,"messages":[{}],"stream":"yes"}',
            "json: cannot unmarshal string into Go struct field MessagesRequest.stream of type bool",
            id="stream is no bool",
        ),
    ],
)
def test_requests_are_refused_in_ollamas_order_and_words(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        read_messages(body)
    assert refusal.value.message == message


def test_a_request_is_read_with_everything_in_it() -> None:
    sent = request(context_management={"edits": []}, metadata={"user_id": "u"}, Unknown=1)
    assert read_messages(json.dumps(sent).encode()) == sent


def model(**fields: Any) -> Model:
    record = {
        "id": "v/m:free",
        "context_length": 100_000,
        "pricing": {"prompt": "0", "completion": "0"},
        "supported_parameters": ["tools", "reasoning"],
        **fields,
    }
    made = parse_record(record, today=date(2026, 1, 1))
    assert made is not None
    return made


def sent_up(body: Json, to: Model, *, without: set[str] | None = None, at_most: int | None = None,
            free_mode: bool = False) -> Json:  # fmt: skip
    return body_for(body, to, frozenset(without or ()), at_most, free_mode=free_mode)


def test_what_the_client_sent_goes_up_with_only_the_model_resolved() -> None:
    body = request(
        system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
        thinking={"type": "enabled", "budget_tokens": 2000},
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        metadata={"user_id": "u"},
        stream=True,
        top_k=4,
        future=None,
    )
    before = json.dumps(body)
    assert sent_up(body, model()) == {**body, "model": "v/m:free"}
    assert json.dumps(body) == before


@pytest.mark.parametrize("free_mode", [True, False])
@pytest.mark.parametrize("field", ["models", "route", "preset", "fallbacks"])
def test_no_field_chooses_another_model(field: str, free_mode: bool) -> None:
    assert field not in sent_up(request(**{field: ["x/paid"]}), model(), free_mode=free_mode)


def test_nothing_that_costs_money_goes_up_in_free_mode() -> None:
    paid = {"type": "web_search_20250305", "name": "web_search"}
    body = request(
        plugins=[{"id": "web"}], tools=[TOOL, paid, {"type": "openrouter:web_search"}], provider={"order": ["a"]}
    )
    up = sent_up(body, model(), free_mode=True)
    assert up["tools"] == [TOOL]
    assert "plugins" not in up
    assert up["provider"] == {"order": ["a"], "max_price": {"prompt": "0", "completion": "0"}}


@pytest.mark.parametrize(
    ("fields", "asked", "expected"),
    [
        pytest.param({}, {"type": "enabled", "budget_tokens": 50}, {"type": "enabled", "budget_tokens": 50}, id="kept"),
        pytest.param({"supported_parameters": []}, {"type": "enabled"}, None, id="a model that cannot think"),
        pytest.param({"reasoning": {"mandatory": True}}, {"type": "disabled"}, None, id="mandatory thinking"),
        pytest.param({}, {"type": "disabled"}, {"type": "disabled"}, id="switched off"),
    ],
)
def test_thinking_follows_what_the_model_can(fields: Json, asked: Json, expected: Json | None) -> None:
    assert sent_up(request(thinking=asked), model(**fields)).get("thinking") == expected


SCHEMA: Json = {"type": "json_schema", "schema": {}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({"effort": "high"}, None, id="nothing else in it"),
        pytest.param({"effort": "high", "format": SCHEMA}, {"format": SCHEMA}, id="a format stays"),
    ],
)
def test_an_effort_is_left_out_where_the_model_cannot_think(config: Json, expected: Json | None) -> None:
    assert sent_up(request(output_config=config), model(supported_parameters=[])).get("output_config") == expected


@pytest.mark.parametrize(
    ("most", "budget", "max_tokens", "thinking"),
    [
        pytest.param(8192, 31999, 8192, 6553, id="a budget shrinks with max_tokens"),
        pytest.param(8192, 4000, 8192, 4000, id="a budget that fits stays"),
        pytest.param(1000, 31999, 1000, None, id="too little is left to think"),
        pytest.param(None, 40000, 32000, 40000, id="the client's own mistake is for upstream to tell"),
    ],
)
def test_max_tokens_is_cut_to_the_model_and_the_budget_with_it(
    most: int | None, budget: int, max_tokens: int, thinking: int | None
) -> None:
    body = request(max_tokens=32000, thinking={"type": "enabled", "budget_tokens": budget})
    up = sent_up(body, model(top_provider={"max_completion_tokens": most}))
    assert up["max_tokens"] == max_tokens
    assert up.get("thinking", {}).get("budget_tokens") == thinking


def test_what_an_attempt_taught_is_left_out_of_the_next() -> None:
    body = request(thinking={"type": "adaptive"}, tool_choice={"type": "any"}, tools=[TOOL])
    up = sent_up(body, model(), without={"reasoning", "tool_choice"}, at_most=60)
    assert up == {"model": "v/m:free", "max_tokens": 60, "messages": body["messages"], "tools": [TOOL]}
