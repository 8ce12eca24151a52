"""docs/contract.md, "Requests": what is refused, in the words that Ollama's clients have always seen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.contract.wire import Row, check, post
from tests.servers import ProxyServer

ROUTES = {
    "/api/chat": "ChatRequest",
    "/api/generate": "GenerateRequest",
    "/api/show": "ShowRequest",
    "/api/embed": "EmbedRequest",
    "/api/embeddings": "EmbeddingRequest",
    "/api/pull": "PullRequest",
    "/api/push": "PushRequest",
    "/api/create": "CreateRequest",
    "/api/copy": "CopyRequest",
}
JSON_ERRORS = {
    "nothing": (b"", "missing request body"),
    "blanks": (b" \r\n", "missing request body"),
    "cut off": (b"{", "unexpected EOF"),
    "no literal": (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
    "no value": (b"x...", "invalid character 'x' looking for beginning of value"),
    "a comma too many": (
        b'{"model":"x",}',
        "invalid character '}' looking for beginning of object key string",
    ),
    "a list": (b"[]", "json: cannot unmarshal array into Go value of type api.{struct}"),
    "a text": (b'"x"', "json: cannot unmarshal string into Go value of type api.{struct}"),
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("case", JSON_ERRORS.values(), ids=JSON_ERRORS)
def test_what_is_no_json_object(proxy: ProxyServer, path: str, case: tuple[bytes, str]) -> None:
    check(proxy, post(path, case[0], 400, case[1].replace("{struct}", ROUTES[path])))


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "plain-8b", "messages": [{"role": "user", "content": "hi"}], "stream": False, **fields}


def generate(**fields: Any) -> dict[str, Any]:
    return {"model": "plain-8b", "prompt": "hi", "stream": False, **fields}


def wrong(kind: str, struct_and_path: str, go_type: str) -> str:
    return f"json: cannot unmarshal {kind} into Go struct field {struct_and_path} of type {go_type}"


_THINK = '(must be "high", "medium", "low", "max", true, or false)'
_FORMAT = 'expected "json" or a valid JSON Schema object'

CHAT = {
    "model no string": (chat(model=5), wrong("number", "ChatRequest.model", "string")),
    "messages no list": (chat(messages={}), wrong("object", "ChatRequest.messages", "[]api.Message")),
    "a message no object": (chat(messages=["x"]), wrong("string", "ChatRequest.messages", "api.Alias")),
    "content a number": (
        chat(messages=[{"content": 5}]),
        wrong("number", "ChatRequest.messages.content", "string"),
    ),
    "images a string": (
        chat(messages=[{"content": "a", "images": "x"}]),
        wrong("string", "ChatRequest.messages.images", "[]api.ImageData"),
    ),
    "an image a number": (
        chat(messages=[{"content": "a", "images": [5]}]),
        wrong("number", "ChatRequest.messages.images", "api.ImageData"),
    ),
    "an image no base64": (
        chat(messages=[{"content": "a", "images": ["!!!!"]}]),
        "illegal base64 data at input byte 0",
    ),
    "an image without its padding": (
        chat(messages=[{"content": "a", "images": ["aGk"]}]),
        "illegal base64 data at input byte 0",
    ),
    "tools no list": (chat(tools={}), wrong("object", "ChatRequest.tools", "api.Tools")),
    "a schema's type a list": (
        chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": ["object"]}}}]),
        wrong("array", "ToolFunctionParameters.tools.function.parameters.type", "string"),
    ),
    "arguments a list": (
        chat(messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": []}}]}]),
        "Value looks like object, but can't find closing '}' symbol",
    ),
    "tool calls no list": (
        chat(messages=[{"role": "assistant", "tool_calls": {"a": 1}}]),
        wrong("object", "ChatRequest.messages.tool_calls", "[]api.ToolCall"),
    ),
    "stream a string": (chat(stream="no"), wrong("string", "ChatRequest.stream", "bool")),
    "options a list": (chat(options=[]), wrong("array", "ChatRequest.options", "map[string]interface {}")),
    "logprobs a number": (chat(logprobs=1), wrong("number", "ChatRequest.logprobs", "bool")),
    "half a top_logprobs": (
        chat(top_logprobs=1.5),
        wrong("number 1.5", "ChatRequest.top_logprobs", "int"),
    ),
    "top_logprobs below 0": (chat(top_logprobs=-1), "top_logprobs must be between 0 and 20"),
    "top_logprobs over 20, without logprobs": (chat(top_logprobs=21), "top_logprobs must be between 0 and 20"),
    "an unknown think": (chat(think="bogus"), f'invalid think value: "bogus" {_THINK}'),
    "an empty think": (chat(think=""), f'invalid think value: "" {_THINK}'),
    "think none": (chat(think="none"), f'invalid think value: "none" {_THINK}'),
    "think a number": (
        chat(think=5),
        'think must be a boolean or string ("high", "medium", "low", "max", true, or false)',
    ),
    "an unknown format": (chat(format="xml"), rf'invalid format: "\"xml\""; {_FORMAT}'),
    "format a number": (chat(format=5), f'invalid format: "5"; {_FORMAT}'),
    "format a list": (chat(format=[]), f'invalid format: "[]"; {_FORMAT}'),
    "format a bool": (chat(format=True), f'invalid format: "true"; {_FORMAT}'),
    "keep_alive no duration": (chat(keep_alive="bogus"), 'time: invalid duration "bogus"'),
    "keep_alive without a unit": (chat(keep_alive="5"), 'time: missing unit in duration "5"'),
    "keep_alive in days": (chat(keep_alive="1d"), 'time: unknown unit "d" in duration "1d"'),
    "keep_alive empty": (chat(keep_alive=""), 'time: invalid duration ""'),
    "keep_alive a bool": (chat(keep_alive=True), "Unsupported type: 'bool'"),
    "keep_alive a list": (chat(keep_alive=[]), "Unsupported type: '[]interface {}'"),
    "keep_alive an object": (chat(keep_alive={}), "Unsupported type: 'map[string]interface {}'"),
    "temperature a string": (
        chat(options={"temperature": "1"}),
        'option "temperature" must be of type float32',
    ),
    "num_ctx a string": (chat(options={"num_ctx": "1"}), 'option "num_ctx" must be of type integer'),
    "use_mmap a string": (chat(options={"use_mmap": "1"}), 'option "use_mmap" must be of type boolean'),
    "stop an object": (chat(options={"stop": {}}), 'option "stop" must be of type array'),
    "stop of numbers": (chat(options={"stop": [1]}), 'option "stop" must be of an array of strings'),
    "a number that no float holds": (
        b'{"model":"free","options":{"temperature":1e999}}',
        "json: cannot unmarshal number 1e999 into Go value of type float64",
    ),
    "an embedding model": (chat(model="embed-small"), '"embed-small" does not support chat'),
    "an embedding model, loading": ({"model": "embed-small"}, '"embed-small" does not support chat'),
}


@pytest.mark.parametrize("case", CHAT.values(), ids=CHAT)
def test_chat_refuses(proxy: ProxyServer, case: tuple[Any, str]) -> None:
    """Ollama answers some of these with 500, which SDKs repeat: all are 400 here."""
    check(proxy, post("/api/chat", case[0], 400, case[1]))


GENERATE = {
    "prompt a list": (generate(prompt=[]), wrong("array", "GenerateRequest.prompt", "string")),
    "context of halves": (generate(context=[1.5]), wrong("number 1.5", "GenerateRequest.context", "int")),
    "half a top_logprobs": (
        generate(top_logprobs=1.5),
        wrong("number 1.5", "GenerateRequest.top_logprobs", "int"),
    ),
    "raw with a system": (
        generate(raw=True, system="a"),
        "raw mode does not support template, system, or context",
    ),
    "raw with a template": (
        generate(raw=True, template="a"),
        "raw mode does not support template, system, or context",
    ),
    "raw with a context": (
        generate(raw=True, context=[1]),
        "raw mode does not support template, system, or context",
    ),
    "a template that does not end": (generate(template="a {{ .b"), "template: :1: unclosed action"),
    "a suffix": (generate(suffix="b"), '"plain-8b" does not support insert'),
    "an embedding model": (generate(model="embed-small"), '"embed-small" does not support generate'),
    "an unknown think": (generate(think="bogus"), f'invalid think value: "bogus" {_THINK}'),
    "an unknown format": (generate(format="xml"), rf'invalid format: "\"xml\""; {_FORMAT}'),
    "a wrong option": (generate(options={"seed": "1"}), 'option "seed" must be of type integer'),
}


@pytest.mark.parametrize("case", GENERATE.values(), ids=GENERATE)
def test_generate_refuses(proxy: ProxyServer, case: tuple[Any, str]) -> None:
    check(proxy, post("/api/generate", case[0], 400, case[1]))


TOLERATED = {
    "an unknown role": {"messages": [{"role": "wizard", "content": "hi"}]},
    "no role": {"messages": [{"content": "hi"}]},
    "a role in capitals": {"messages": [{"role": "USER", "content": "hi"}]},
    "a developer": {"messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": "hi"}]},
    "content null": {"messages": [{"role": "user", "content": None}, {"role": "user", "content": "hi"}]},
    "content missing": {"messages": [{"role": "user"}, {"role": "user", "content": "hi"}]},
    "content in parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    "content of no parts": {"messages": [{"role": "user", "content": []}]},
    "a message null": {"messages": [None, {"role": "user", "content": "hi"}]},
    "images empty": {"messages": [{"role": "user", "content": "hi", "images": []}]},
    "tools empty": {"tools": []},
    "a tool empty": {"tools": [{}]},
    "arguments null": {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": None}}]},
            {"role": "tool", "content": "x"},
        ]
    },
    "arguments as text": {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a":1}'}}]},
            {"role": "tool", "content": "x"},
        ]
    },
    "an unknown option": {"options": {"mirostat": 1, "tfs_z": "x"}},
    "options null": {"options": None},
    "an option null": {"options": {"temperature": None, "stop": None}},
    "a float for an int": {"options": {"num_ctx": 4096.7, "top_k": 1e3}},
    "options that mean none": {"options": {"top_k": -1, "num_predict": -2, "seed": -1, "temperature": 0}},
    "stop as one text": {"options": {"stop": "zzz"}},
    "think on a model that cannot": {"think": True},
    "think by level": {"think": "high"},
    "think off": {"think": False},
    "think as text": {"think": "true"},
    "think null": {"think": None},
    "format empty": {"format": ""},
    "keep_alive in seconds": {"keep_alive": 5.5},
    "keep_alive forever": {"keep_alive": -1},
    "keep_alive forever, as text": {"keep_alive": "-1"},
    "keep_alive as a duration": {"keep_alive": "1h30m"},
    "keep_alive no longer": {"keep_alive": 0},
    "truncate and shift": {"truncate": False, "shift": False},
    "top_logprobs alone": {"top_logprobs": 3},
}


@pytest.mark.parametrize("fields", TOLERATED.values(), ids=TOLERATED)
def test_chat_takes(proxy: ProxyServer, fields: dict[str, Any]) -> None:
    answer = check(proxy, Row("POST", "/api/chat", chat(**fields), want={"done": True, "done_reason": "stop"}))
    assert answer.json()["message"]["content"]
