from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from ollama_proxy.errors import BadRequest
from ollama_proxy.ollama.request.chat_bodies import read_chat, read_generate
from ollama_proxy.ollama.request.keep_alive import parse_duration
from ollama_proxy.ollama.request.messages import Message, ToolCall
from tests.unit.ollama.request.go_texts import go

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()


def chat(**fields: Any) -> Any:
    return read_chat(orjson.dumps(fields))


def generate(**fields: Any) -> Any:
    return read_generate(orjson.dumps(fields))


def refusal(read: Callable[..., Any], **fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        read(**fields).check_values()
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"model": 5}, go("ChatRequest.model", "number", "string")),
        ({"model": ["x"]}, go("ChatRequest.model", "array", "string")),
        ({"name": {}}, go("ChatRequest.name", "object", "string")),
        ({"stream": "yes"}, go("ChatRequest.stream", "string", "bool")),
        ({"stream": 1}, go("ChatRequest.stream", "number", "bool")),
        ({"top_logprobs": 1.5}, go("ChatRequest.top_logprobs", "number 1.5", "int")),
        ({"top_logprobs": True}, go("ChatRequest.top_logprobs", "bool", "int")),
        ({"_debug_render_only": 1}, go("ChatRequest._debug_render_only", "number", "bool")),
        ({"options": []}, go("ChatRequest.options", "array", "map[string]interface {}")),
        ({"messages": {}}, go("ChatRequest.messages", "object", "[]api.Message")),
        ({"messages": "hi"}, go("ChatRequest.messages", "string", "[]api.Message")),
        ({"messages": ["hi"]}, go("ChatRequest.messages", "string", "api.Alias")),
        ({"messages": [{"role": 5}]}, go("ChatRequest.messages.role", "number", "string")),
        ({"messages": [{"content": 5}]}, go("ChatRequest.messages.content", "number", "string")),
        ({"messages": [{"content": [5]}]}, go("ChatRequest.messages.content", "array", "string")),
        ({"messages": [{"content": [{"type": "video"}]}]}, go("ChatRequest.messages.content", "array", "string")),
        ({"messages": [{"thinking": True}]}, go("ChatRequest.messages.thinking", "bool", "string")),
        ({"messages": [{"images": PNG}]}, go("ChatRequest.messages.images", "string", "[]api.ImageData")),
        ({"messages": [{"images": ""}]}, go("ChatRequest.messages.images", "string", "[]api.ImageData")),
        ({"messages": [{"images": [5]}]}, go("ChatRequest.messages.images", "number", "api.ImageData")),
        ({"messages": [{"images": ["aGk"]}]}, "illegal base64 data at input byte 0"),
        ({"messages": [{"tool_calls": {}}]}, go("ChatRequest.messages.tool_calls", "object", "[]api.ToolCall")),
        ({"messages": [{"tool_calls": ["f"]}]}, go("ChatRequest.messages.tool_calls", "string", "api.ToolCall")),
        (
            {"messages": [{"tool_calls": [{"function": {"name": 5}}]}]},
            go("ChatRequest.messages.tool_calls.function.name", "number", "string"),
        ),
        (
            {"messages": [{"tool_calls": [{"function": {"name": "f", "arguments": ["x"]}}]}]},
            "Value looks like object, but can't find closing '}' symbol",
        ),
        ({"tools": {}}, go("ChatRequest.tools", "object", "api.Tools")),
        ({"tools": ["f"]}, go("ChatRequest.tools", "string", "api.Tool")),
        (
            {"tools": [{"function": {"name": "f", "parameters": {"type": ["object"]}}}]},
            go("ToolFunctionParameters.tools.function.parameters.type", "array", "string"),
        ),
        ({"top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        ({"top_logprobs": -1}, "top_logprobs must be between 0 and 20"),
        ({"keep_alive": "bogus"}, 'time: invalid duration "bogus"'),
        ({"keep_alive": "5"}, 'time: missing unit in duration "5"'),
        ({"keep_alive": "1d"}, 'time: unknown unit "d" in duration "1d"'),
        ({"keep_alive": ""}, 'time: invalid duration ""'),
        ({"keep_alive": True}, "Unsupported type: 'bool'"),
        ({"keep_alive": []}, "Unsupported type: '[]interface {}'"),
        ({"keep_alive": {}}, "Unsupported type: 'map[string]interface {}'"),
        (
            {"think": "bogus"},
            'invalid think value: "bogus" (must be "high", "medium", "low", "max", true, or false)',
        ),
        ({"think": ""}, 'invalid think value: "" (must be "high", "medium", "low", "max", true, or false)'),
        ({"think": "none"}, 'invalid think value: "none" (must be "high", "medium", "low", "max", true, or false)'),
        ({"think": 1}, 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
        ({"think": []}, 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, dict) else "",
)
def test_a_bad_field_is_refused_while_reading(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat(**{"model": "x", **fields})
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"prompt": 5}, go("GenerateRequest.prompt", "number", "string")),
        ({"top_logprobs": 1.5}, go("GenerateRequest.top_logprobs", "number 1.5", "int")),
        ({"context": "x"}, go("GenerateRequest.context", "string", "[]int")),
        ({"context": [1, 1.5]}, go("GenerateRequest.context", "number 1.5", "int")),
        ({"raw": "yes"}, go("GenerateRequest.raw", "string", "bool")),
        ({"images": "x"}, go("GenerateRequest.images", "string", "[]api.ImageData")),
        ({"raw": True, "system": "s"}, "raw mode does not support template, system, or context"),
        ({"raw": True, "template": "t"}, "raw mode does not support template, system, or context"),
        ({"raw": True, "context": [1]}, "raw mode does not support template, system, or context"),
        ({"template": "{{ .Prompt"}, "template: :1: unclosed action"),
        ({"template": "{{ .System }}\n{{ .Prompt"}, "template: :2: unclosed action"),
    ],
)
def test_generate_refusals(fields: dict[str, Any], text: str) -> None:
    assert refusal(generate, model="x", **fields) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"format": "xml"}, r'invalid format: "\"xml\""; expected "json" or a valid JSON Schema object'),
        ({"format": 5}, 'invalid format: "5"; expected "json" or a valid JSON Schema object'),
        ({"format": []}, 'invalid format: "[]"; expected "json" or a valid JSON Schema object'),
        ({"format": True}, 'invalid format: "true"; expected "json" or a valid JSON Schema object'),
        ({"options": {"temperature": "hot"}}, 'option "temperature" must be of type float32'),
        ({"options": {"temperature": True}}, 'option "temperature" must be of type float32'),
        ({"options": {"num_ctx": "4096"}}, 'option "num_ctx" must be of type integer'),
        ({"options": {"use_mmap": 1}}, 'option "use_mmap" must be of type boolean'),
        ({"options": {"stop": 5}}, 'option "stop" must be of type array'),
        ({"options": {"stop": ["a", 5]}}, 'option "stop" must be of an array of strings'),
    ],
)
def test_a_bad_value_is_refused_only_when_values_are_checked(fields: dict[str, Any], text: str) -> None:
    for read in (chat, generate):
        assert refusal(read, model="x", **fields) == text


@pytest.mark.parametrize(
    "fields",
    [
        {"format": ""},
        {"format": None},
        {"format": "json"},
        {"format": {"$schema": "s", "$defs": {}, "type": "object"}},
        {"options": None},
        {"options": {"temperature": None, "stop": None, "mirostat": 2, "unknown": "x", "num_ctx": 4096.7}},
        {"options": {"stop": "END"}},
        {"options": {"top_k": -1, "num_predict": -2, "seed": -1, "temperature": 0}},
        {"tools": None},
        {"tools": []},
        {"tools": [{}]},
        {"think": None},
        {"truncate": False, "shift": False, "unknown": 1},
    ],
    ids=repr,
)
def test_accepted_values(fields: dict[str, Any]) -> None:
    request = chat(model="x", **fields)
    request.check_values()
    assert request.tools == []


@pytest.mark.parametrize(
    ("value", "think"),
    [(True, True), (False, False), ("low", "low"), ("max", "max"), ("true", True), ("false", False), (None, None)],
)
def test_think(value: Any, think: Any) -> None:
    assert chat(think=value).think is think or chat(think=value).think == think


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (300, 300.0),
        (1.5, 1.5),
        (0, 0.0),
        (0.0, 0.0),
        (-1, -1.0),
        (-0.5, -1.0),
        ("0", 0.0),
        ("0s", 0.0),
        ("-1", -1.0),
        ("-1s", -1.0),
        ("5m", 300.0),
        ("300ms", 0.3),
        ("1.5h", 5400.0),
        ("2h45m", 9900.0),
        ("+1m", 60.0),
        (".5s", 0.5),
        ("1µs", 1e-6),
        (1e300, (2**63 - 1) / 1e9),
        (None, None),
    ],
)
def test_keep_alive(value: Any, seconds: float | None) -> None:
    assert chat(keep_alive=value).keep_alive == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["s", ".s", "-", "+", "1s 2s", "--1s", "9999999999h"])
def test_no_durations(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^time: "):
        parse_duration(text)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        pytest.param({"role": "user", "content": "hi"}, Message("user", "hi"), id="plain"),
        pytest.param({"Role": "USER", "CONTENT": "hi"}, Message("user", "hi"), id="no case in names and roles"),
        pytest.param({"role": "developer", "content": "x"}, Message("system", "x"), id="developer is system"),
        pytest.param({"role": "wizard", "content": "x"}, Message("user", "x"), id="unknown role is the user"),
        pytest.param({"role": "", "content": "x"}, Message("user", "x"), id="empty role"),
        pytest.param({"content": "x"}, Message("user", "x"), id="missing role"),
        pytest.param(None, Message("user"), id="null message"),
        pytest.param({"role": "assistant"}, Message("assistant"), id="missing content"),
        pytest.param({"role": "assistant", "content": None}, Message("assistant"), id="null content"),
        pytest.param({"role": "user", "content": []}, Message("user"), id="empty list content"),
        pytest.param(
            {"role": "user", "content": ["a", {"type": "text", "text": "b"}]}, Message("user", "a\nb"), id="text parts"
        ),
        pytest.param(
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]},
            Message("user", "", ("https://x.test/a.png",)),
            id="image part",
        ),
        pytest.param({"role": "user", "images": [PNG]}, Message("user", "", (PNG,)), id="image without content key"),
        pytest.param(
            {"role": "user", "content": "a", "images": [], "index": 1, "type": "x", "extra": {}},
            Message("user", "a"),
            id="extra keys",
        ),
        pytest.param({"role": "user", "content": "a", "images": None}, Message("user", "a"), id="null images"),
        pytest.param(
            {"role": "tool", "content": "r", "name": "f"}, Message("tool", "r", tool_name="f"), id="name of a tool"
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": [1]}}}]},
            Message("assistant", calls=(ToolCall("1", "f", '{"a":[1]}'),)),
            id="call with object arguments and no content",
        ),
        pytest.param(
            {"content": "", "tool_calls": [{"function": {"name": "f"}}]},
            Message("assistant", calls=(ToolCall("", "f", "{}"),)),
            id="arguments and role missing",
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]},
            Message("assistant", calls=(ToolCall("", "f", '{"a": 1}'),)),
            id="arguments as JSON text",
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1"}}]},
            Message("assistant", calls=(ToolCall("", "f", '{"input":"[1"}'),)),
            id="arguments as other text",
        ),
    ],
)
def test_messages(item: Any, message: Message) -> None:
    assert chat(messages=[item]).messages == [message]


def test_names() -> None:
    assert chat(model="X:latest").asked == "X:latest"
    assert chat(model="", name="x").asked == "x"


def test_defaults() -> None:
    request = read_chat(b"null")
    assert (request.stream, request.truncate, request.think, request.keep_alive) == (True, True, None, None)
    assert request.is_load
    assert generate(system="s", images=[PNG]).is_load
    assert not generate(prompt=" ").is_load
