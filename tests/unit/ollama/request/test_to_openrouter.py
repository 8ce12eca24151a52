from __future__ import annotations

import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_proxy.errors import BadRequest, ProxyError
from ollama_proxy.fallback.conversations import opening_of
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.ollama.request import chat_bodies, embed_bodies
from ollama_proxy.ollama.request.to_openrouter import Translation, translate_chat, translate_embed, translate_generate

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(3000)).decode()
PNG_PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
HI = {"role": "user", "content": "hi"}


def chat(**fields: Any) -> Translation:
    fields.setdefault("messages", [HI])
    return translate_chat(chat_bodies.read_chat(orjson.dumps({"model": "x", **fields})))


def generate(**fields: Any) -> Translation:
    return translate_generate(chat_bodies.read_generate(orjson.dumps({"model": "x", **fields})))


def test_a_plain_chat_is_nothing_but_its_messages() -> None:
    translated = chat(stream=False, keep_alive="5m", tools=[], options={})
    opening = opening_of([HI["content"]], continues=False)
    assert translated == Translation({"messages": [HI]}, Needs(prompt_tokens=0), opening=opening)


def test_a_conversation_is_known_by_its_system_and_its_first_question() -> None:
    system, answer = {"role": "system", "content": "be kind"}, {"role": "assistant", "content": "yes?"}
    first = chat(messages=[system, HI]).opening
    later = chat(messages=[system, HI, answer, {"role": "user", "content": "go on"}]).opening
    assert first is not None
    assert later == first._replace(continues=True)
    assert chat(messages=[HI]).opening != first
    assert chat(messages=[answer]).opening is None
    assert generate(prompt="hi").opening is None


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([{"role": "Developer", "content": "x"}], [{"role": "system", "content": "x"}], id="developer"),
        pytest.param([HI, HI], [HI, HI], id="runs of one role stay"),
        pytest.param([{"role": "assistant"}, HI, {"role": "user", "content": ""}], [HI], id="empty ones are left out"),
        pytest.param([{"role": "user"}], [{"role": "user", "content": ""}], id="but never all of them"),
        pytest.param(
            [{"role": "user", "content": "what?", "images": [PNG]}],
            [{"role": "user", "content": [{"type": "text", "text": "what?"}, PNG_PART]}],
            id="text first, then images",
        ),
        pytest.param([{"images": [PNG]}], [{"role": "user", "content": [PNG_PART]}], id="an image alone"),
        pytest.param(
            [{"role": "system", "content": "s", "images": [PNG]}],
            [{"role": "system", "content": "s"}],
            id="images only where OpenRouter takes them",
        ),
        pytest.param(
            [
                HI,
                {"role": "assistant", "thinking": "hmm", "tool_calls": [{"function": {"name": "f"}}]},
                {"role": "tool", "content": "r"},
            ],
            [
                HI,
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"id": "call00001", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                    ],
                    "reasoning": "hmm",
                },
                {"role": "tool", "content": "r", "tool_call_id": "call00001"},
            ],
            id="a call, its result, and the thinking of the turn that goes on",
        ),
        pytest.param(
            [HI, {"role": "assistant", "content": "a", "thinking": "hmm"}, HI],
            [HI, {"role": "assistant", "content": "a"}, HI],
            id="thinking of past turns is left out",
        ),
        pytest.param(
            [HI, {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, {"role": "tool", "content": ""}],
            [
                HI,
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"id": "call00001", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                    ],
                },
                {"role": "tool", "content": "", "tool_call_id": "call00001"},
            ],
            id="an empty result stays",
        ),
    ],
)
def test_messages(messages: list[dict], expected: list[dict]) -> None:
    assert chat(messages=messages).body["messages"] == expected


def test_an_image_of_an_unknown_type_is_the_clients_mistake() -> None:
    with pytest.raises(BadRequest, match="unsupported image type"):
        chat(messages=[{"images": [base64.b64encode(b"%PDF-1.7 is none").decode()]}])


@pytest.mark.parametrize(
    ("options", "params"),
    [
        ({"temperature": 0, "top_p": 0.9, "min_p": 0.05}, {"temperature": 0, "top_p": 0.9, "min_p": 0.05}),
        ({"temperature": 5, "presence_penalty": -9}, {"temperature": 2.0, "presence_penalty": -2.0}),
        ({"top_p": 0}, {}),
        ({"top_p": 1.5}, {"top_p": 1.0}),
        ({"top_k": 40}, {"top_k": 40}),
        ({"top_k": -1}, {}),
        ({"top_k": 0}, {}),
        ({"top_k": 20.9}, {"top_k": 20}),
        ({"repeat_penalty": 1.1}, {"repetition_penalty": 1.1}),
        ({"repeat_penalty": 0}, {}),
        ({"num_predict": 100.7}, {"max_tokens": 100}),
        ({"num_predict": -1}, {}),
        ({"num_predict": 0}, {}),
        ({"seed": -1}, {}),
        ({"seed": 0}, {"seed": 0}),
        ({"seed": 1e30}, {"seed": 2**63 - 1}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": []}, {}),
        ({"stop": ["", "a", "b", "c", "d", "e"]}, {"stop": ["a", "b", "c", "d"]}),
        ({"frequency_penalty": None}, {}),
        ({"model": "other", "messages": [], "num_ctx": 8192, "provider": {}, "mirostat": 1}, {}),
    ],
    ids=repr,
)
def test_options(options: dict, params: dict) -> None:
    body = chat(options=options).body
    assert {key: value for key, value in body.items() if key != "messages"} == params


@pytest.mark.parametrize(
    ("think", "reasoning"),
    [
        (None, None),
        (True, {"enabled": True}),
        ("true", {"enabled": True}),
        (False, {"effort": "none"}),
        ("low", {"effort": "low"}),
        ("max", {"effort": "max"}),
    ],
)
def test_think(think: Any, reasoning: Any) -> None:
    made = chat(think=think)
    assert made.body.get("reasoning") == reasoning
    assert made.needs.thinking is (think not in (None, False))


@pytest.mark.parametrize(
    ("asked", "response_format"),
    [
        ("", None),
        (None, None),
        ("json", {"type": "json_object"}),
        ({}, {"type": "json_object"}),
        (
            {"type": "object", "$defs": {}},
            {"type": "json_schema", "json_schema": {"name": "response", "schema": {"type": "object", "$defs": {}}}},
        ),
    ],
)
def test_format(asked: Any, response_format: Any) -> None:
    made = chat(format=asked)
    assert made.body.get("response_format") == response_format
    assert made.needs.schema is (response_format is not None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"logprobs": True}, {"logprobs": True}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"top_logprobs": 3}, {}),
    ],
)
def test_logprobs(fields: dict, expected: dict) -> None:
    assert chat(**fields).body == {"messages": [HI], **expected}


def test_tools_are_completed() -> None:
    made = chat(
        tools=[
            {"function": {"name": "a"}},
            {"type": "function", "function": {"name": "b", "description": "d", "parameters": {"properties": {}}}},
            {"type": "web_search"},
            {},
        ]
    )
    empty = {"type": "object", "properties": {}}
    assert made.body["tools"] == [
        {"type": "function", "function": {"name": "a", "parameters": empty}},
        {"type": "function", "function": {"name": "b", "description": "d", "parameters": empty}},
    ]
    assert made.needs.tools
    assert "tool_choice" not in made.body


def test_tool_names_that_providers_refuse_are_changed_and_mapped_back() -> None:
    long = "x" * 70
    made = chat(
        messages=[HI, {"role": "assistant", "tool_calls": [{"function": {"name": "fs.read"}}]}, {"role": "tool"}],
        tools=[{"function": {"name": name}} for name in ("fs.read", "fs_read", "fs/read", long, "plain")],
        tool_choice={"type": "function", "function": {"name": "fs.read"}},
    )
    sent = [tool["function"]["name"] for tool in made.body["tools"]]
    assert len(set(sent)) == 5
    assert [made.tool_names.get(name, name) for name in sent] == ["fs.read", "fs_read", "fs/read", long, "plain"]
    assert all(len(name) <= 64 and name.replace("_", "").isalnum() for name in sent)
    assert sent[1] == "fs_read"
    assert made.body["messages"][1]["tool_calls"][0]["function"]["name"] == sent[0]
    assert made.body["tool_choice"]["function"]["name"] == sent[0]


@pytest.mark.parametrize(
    ("choice", "sent"), [("auto", "auto"), ("required", "required"), ("any", None), ({}, None), (5, None), (None, None)]
)
def test_tool_choice(choice: Any, sent: Any) -> None:
    assert chat(tools=[{"function": {"name": "f"}}], tool_choice=choice).body.get("tool_choice") == sent


def test_tool_choice_without_tools_is_left_out() -> None:
    assert "tool_choice" not in chat(tool_choice="auto").body


def test_a_follow_up_without_tools_gets_definitions_that_must_not_be_called() -> None:
    made = chat(
        messages=[
            HI,
            {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}, {"function": {"name": "f"}}]},
            {"role": "tool", "content": "1"},
            {"role": "tool", "content": "2"},
        ]
    )
    assert made.body["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    ]
    assert made.body["tool_choice"] == "none"
    assert not made.needs.tools


def test_prompt_size_counts_text_and_tools_but_no_images() -> None:
    text = chat(messages=[{"role": "user", "content": "é" * 400}])
    assert text.needs.prompt_tokens == 200
    pictured = chat(messages=[{"role": "user", "content": "é" * 400, "images": [PNG]}])
    assert pictured.needs == Needs(images=True, prompt_tokens=200)
    tools = chat(tools=[{"function": {"name": "f", "description": "d" * 4000}}])
    assert 1000 <= tools.needs.prompt_tokens < 1100


def test_output_size_is_what_the_client_allows() -> None:
    assert chat(options={"num_predict": 128}).needs.output_tokens == 128
    assert chat().needs.output_tokens == 0


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({"prompt": "p"}, [{"role": "user", "content": "p"}]),
        (
            {"prompt": "p", "system": "s", "template": "{{ .Prompt }}", "context": [1, 2]},
            [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}],
        ),
        ({"prompt": "p", "raw": True}, [{"role": "user", "content": "p"}]),
        (
            {"prompt": "p", "images": [PNG]},
            [{"role": "user", "content": [{"type": "text", "text": "p"}, PNG_PART]}],
        ),
    ],
)
def test_generate(fields: dict, messages: list) -> None:
    assert generate(**fields).body == {"messages": messages}


def test_generate_has_options_format_and_think_too() -> None:
    made = generate(prompt="p", options={"num_predict": 5}, format="json", think=True)
    assert made.body["max_tokens"] == 5
    assert made.body["response_format"] == {"type": "json_object"}
    assert made.needs == Needs(schema=True, thinking=True, output_tokens=5)


def test_embed() -> None:
    request = embed_bodies.read_embed(
        b'{"model":"e","input":["ab",""],"dimensions":3,"truncate":true,"options":{"a":null}}'
    )
    assert translate_embed(request).body == {"input": ["ab", " "], "encoding_format": "float"}
    old = embed_bodies.read_embedding(b'{"model":"e","prompt":"abcdefgh"}')
    assert translate_embed(old) == Translation(
        {"input": ["abcdefgh"], "encoding_format": "float"}, Needs(prompt_tokens=2)
    )


@pytest.mark.parametrize("depth", [100, 240, 244, 245, 246, 250, 260, 1000])
def test_what_is_accepted_can_be_written_however_deep(depth: int) -> None:
    schema = b'{"a":' * depth + b"1" + b"}" * depth
    for body in (
        b'{"format":%s,"messages":[{"content":"x"}]}',
        b'{"tools":[{"function":{"name":"f","parameters":%s}}],"messages":[{"content":"x"}]}',
        b'{"messages":[{"tool_calls":[{"function":{"name":"f","arguments":%s}}]}]}',
    ):
        try:
            request = chat_bodies.read_chat(body % schema)
            request.check_values()
            made = translate_chat(request)
        except BadRequest as refusal:
            assert depth > 200, refusal.message  # noqa: PT017
        else:
            orjson.dumps(made.body)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "json", "true", "low", "0", "5m", "user", "assistant", "tool", "f", "a.b", PNG, "data:x", "{}"]
    ),
    st.text(max_size=5),
)
KEYS = st.sampled_from(
    [
        "model",
        "name",
        "messages",
        "role",
        "content",
        "images",
        "tool_calls",
        "function",
        "arguments",
        "tools",
        "parameters",
        "type",
        "properties",
        "tool_name",
        "tool_call_id",
        "id",
        "options",
        "stop",
        "seed",
        "num_predict",
        "temperature",
        "think",
        "keep_alive",
        "format",
        "prompt",
        "system",
        "context",
        "input",
        "text",
        "image_url",
        "url",
        "tool_choice",
        "logprobs",
        "top_logprobs",
        "Thinking",
        "dimensions",
        "raw",
        "template",
    ]
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)
CALLS = st.lists(
    st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": JSON, "arguments": JSON})}), max_size=2
)
MESSAGE = st.fixed_dictionaries(
    {}, optional={"role": SCALARS, "content": JSON, "images": JSON, "tool_calls": CALLS | JSON, "tool_name": SCALARS}
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(MESSAGE, max_size=4) | JSON,
        "tools": st.lists(st.fixed_dictionaries({"function": st.dictionaries(KEYS, JSON)}), max_size=2) | JSON,
        "tool_choice": JSON,
        "options": st.dictionaries(KEYS, SCALARS) | JSON,
        "format": JSON,
        "think": SCALARS,
        "keep_alive": SCALARS,
        "prompt": SCALARS,
        "system": SCALARS,
        "input": JSON,
    },
)


@settings(max_examples=150, deadline=None)
@given(BODY | JSON)
def test_any_json_is_translated_or_refused(value: Any) -> None:
    body = json.dumps(value).encode()
    for read, translate in (
        (chat_bodies.read_chat, translate_chat),
        (chat_bodies.read_generate, translate_generate),
        (embed_bodies.read_embed, translate_embed),
        (embed_bodies.read_embedding, translate_embed),
    ):
        try:
            request: Any = read(body)
            request.check_values()
            sent = orjson.loads(orjson.dumps(translate(request).body))
        except ProxyError as refusal:
            told, status = refusal.message, refusal.status
        else:
            told, status = "", 200
            assert not {"model", "stream", "provider"} & sent.keys()
        assert (status, bool(told)) in ((200, False), (400, True))
