"""docs/contract.md, "Streams" and "Tools": the shapes of chat's and generate's answers, streamed and whole."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from simulator.process import Simulator
from tests.api.contract.wire import NDJSON, Row, check, check_stream, send
from tests.servers import ProxyServer

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32)).decode()
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def user(text: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text, **fields}]


REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a chat": ("/api/chat", {"model": "ember-4", "messages": user("hello")}),
    "a chat with free": ("/api/chat", {"model": "free", "messages": user("hello")}),
    "thinking": ("/api/chat", {"model": "cirrus-ultra", "messages": user("hello"), "think": True}),
    "one tool": ("/api/chat", {"model": "ember-4", "messages": user("weather?"), "tools": [WEATHER]}),
    "two tools at once": (
        "/api/chat",
        {"model": "ember-4", "messages": user("call get_weather and call get_time"), "tools": [WEATHER, CLOCK]},
    ),
    "an image": ("/api/chat", {"model": "lumen-vl-32b", "messages": user("look", images=[PNG])}),
    "a schema": ("/api/chat", {"model": "schema-12b", "messages": user("age?"), "format": SCHEMA}),
    "JSON": ("/api/chat", {"model": "schema-12b", "messages": user("age?"), "format": "json"}),
    "log probabilities": (
        "/api/chat",
        {"model": "ember-4", "messages": user("hello"), "logprobs": True, "top_logprobs": 2},
    ),
    "a cut answer": ("/api/chat", {"model": "ember-4", "messages": user("a b c d"), "options": {"num_predict": 3}}),
    "a prompt": ("/api/generate", {"model": "ember-4", "prompt": "hello", "system": "be kind"}),
    "a raw prompt": ("/api/generate", {"model": "ember-4", "prompt": "hello", "raw": True}),
    "a prompt, thinking": ("/api/generate", {"model": "cirrus-ultra", "prompt": "hello", "think": True}),
}


def joined(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client makes of a stream."""
    said: dict[str, Any] = {"content": "", "thinking": "", "tool_calls": []}
    for line in lines:
        part = line["message"] if "message" in line else line | {"content": line["response"]}
        said["content"] += part["content"]
        said["thinking"] += part.get("thinking", "")
        said["tool_calls"] += part.get("tool_calls", [])
    return said


def without_ids(said: dict[str, Any]) -> dict[str, Any]:
    return said | {"tool_calls": [call["function"] for call in said["tool_calls"]]}


@pytest.mark.parametrize("case", REQUESTS.values(), ids=REQUESTS)
def test_a_stream_says_what_the_whole_answer_says(proxy: ProxyServer, case: tuple[str, dict[str, Any]]) -> None:
    path, body = case
    streamed = check(proxy, Row("POST", path, body, type=NDJSON)).lines()
    whole = check(proxy, Row("POST", path, body | {"stream": False})).json()
    assert joined(streamed)["content"] or joined(streamed)["tool_calls"]
    assert without_ids(joined(streamed)) == without_ids(joined([whole]))
    last = streamed[-1]
    assert set(whole) - {"logprobs", "thinking"} == set(last), "the whole answer has the last line's keys"
    assert {line["model"] for line in [*streamed, whole]} == {body["model"]}


CHAT_KEYS = ["model", "created_at", "message", "done", "done_reason", "total_duration", "load_duration"]
CHAT_KEYS += ["prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"]
GENERATE_KEYS = ["response" if key == "message" else key for key in CHAT_KEYS]
KEYS = {
    "chat": ("a chat", CHAT_KEYS),
    "generate": ("a prompt", [*GENERATE_KEYS[:5], "context", *GENERATE_KEYS[5:]]),
    "generate, raw": ("a raw prompt", GENERATE_KEYS),
}


@pytest.mark.parametrize("case", KEYS.values(), ids=KEYS)
def test_keys_and_their_order(proxy: ProxyServer, case: tuple[str, list[str]]) -> None:
    path, body = REQUESTS[case[0]]
    lines = check(proxy, Row("POST", path, body, type=NDJSON)).lines()
    text = "message" if path == "/api/chat" else "response"
    assert list(lines[0]) == ["model", "created_at", text, "done"]
    assert list(lines[-1]) == case[1]
    assert list(check(proxy, Row("POST", path, body | {"stream": False})).json()) == case[1]


def test_tool_calls_are_complete_and_numbered(proxy: ProxyServer) -> None:
    path, body = REQUESTS["two tools at once"]
    calls = joined(check(proxy, Row("POST", path, body, type=NDJSON)).lines())["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["get_weather", "get_time"]
    assert [call["function"]["index"] for call in calls] == [0, 1]
    assert [call["function"]["arguments"] for call in calls] == [{"city": "text"}, {}]
    assert len({call["id"] for call in calls}) == 2


def test_thinking_comes_first_and_apart(proxy: ProxyServer) -> None:
    path, body = REQUESTS["thinking"]
    lines = check(proxy, Row("POST", path, body, type=NDJSON)).lines()
    kinds = ["thinking" if line["message"].get("thinking") else "content" for line in lines[:-1]]
    assert kinds == sorted(kinds, reverse=True)
    assert kinds.count("thinking") > 1


def test_think_false_gives_no_thinking_even_of_a_model_that_must(proxy: ProxyServer) -> None:
    body = {"model": "think-2b", "messages": user("hello"), "think": False}
    assert "thinking" not in check(proxy, Row("POST", "/api/chat", body | {"stream": False})).json()["message"]
    assert joined(check(proxy, Row("POST", "/api/chat", body, type=NDJSON)).lines())["thinking"] == ""


def test_done_reason_tells_a_cut_answer(proxy: ProxyServer) -> None:
    path, body = REQUESTS["a cut answer"]
    assert check(proxy, Row("POST", path, body, type=NDJSON)).lines()[-1]["done_reason"] == "length"


def test_log_probabilities(proxy: ProxyServer) -> None:
    path, body = REQUESTS["log probabilities"]
    whole = check(proxy, Row("POST", path, body | {"stream": False})).json()
    for entry in whole["logprobs"]:
        assert bytes(entry["bytes"]).decode() == entry["token"]
        assert entry["logprob"] <= 0
        assert len(entry["top_logprobs"]) == 2
    assert "".join(entry["token"] for entry in whole["logprobs"]) == whole["message"]["content"]
    assert "logprobs" not in check(proxy, Row("POST", path, body | {"stream": False, "logprobs": False})).json()


STREAMS = {
    "one write of all events": {"coalesce": True, "tokens": 300},
    "events cut anywhere": {"cut_every": 7, "text": ["h\u00e9l", "l\u00f6 ", "\u2028w", "\U0001f600"]},
    "carriage returns": {"crlf": True},
    "comments between": {"comments": 3},
    "no [DONE]": {"close_without_done": True},
    "no usage": {"no_usage": True},
    "a whole body in place of a stream": {"whole_json": True},
    "a long line": {"text": ["x" * 40_000]},
    "a refusal": {"refusal": "I will not"},
    "calls in many fragments": {
        "tool_calls": [{"name": f"f{number}", "arguments": {"n": number}} for number in range(5)],
        "tool_call_fragments": 9,
    },
    "text before a call": {"text": "let me see", "tool_calls": [{"name": "f", "arguments": {}}]},
    "all at once": {
        "reasoning": ["hm "] * 9,
        "text": "so",
        "tool_calls": [{"name": "f", "arguments": {"a": None}}],
        "coalesce": True,
    },
}


@pytest.mark.parametrize("scenario", STREAMS.values(), ids=STREAMS)
def test_the_rules_of_a_stream_hold_whatever_comes(
    proxy: ProxyServer, simulator: Simulator, scenario: dict[str, Any]
) -> None:
    for path, body in (REQUESTS["a chat"], REQUESTS["a prompt"]):
        simulator.scenario("tidal/ember-4:free", times=1, **scenario)
        answer = send(proxy, Row("POST", path, body))
        assert answer.lines()[-1]["done"] is True
        assert answer.headers["x-openrouter-model"] == "tidal/ember-4:free"


def test_many_small_tokens_share_a_write(proxy: ProxyServer, simulator: Simulator) -> None:
    simulator.scenario("tidal/ember-4:free", times=1, tokens=300, coalesce=True)
    answer = send(proxy, Row("POST", *REQUESTS["a chat"]))
    assert len(answer.writes) < len(answer.lines()) / 3


def test_silence_is_filled_with_empty_content(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    simulator.scenario("nimbus/cirrus-ultra:free", times=1, hold="quiet", before_headers=True)
    answer = start_proxy(heartbeat_seconds="0.05").chat("free", stream=True)
    lines = answer.iter_lines()
    first = [json.loads(next(lines)) for _ in range(2)]
    simulator.release("quiet")
    rest = [json.loads(line) for line in lines]
    assert [line["message"] for line in first] == [{"role": "assistant", "content": ""}] * 2
    assert joined(rest)["content"].endswith("hello")
    assert rest[-1]["done"] is True


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_an_error_in_the_middle(start_proxy: Callable[..., ProxyServer], simulator: Simulator, stream: bool) -> None:
    server = start_proxy()
    simulator.scenario("tidal/ember-4:free", times=1, tokens=20, in_stream_error=9, error_name="502_network")
    path, body = REQUESTS["a chat"]
    answer = send(server, Row("POST", path, body | {"stream": stream}))
    if stream:
        assert answer.status == 200
        check_stream(answer)
        assert b'{"error":"upstream error' in answer.writes[-1]
    else:
        assert answer.status == 502
        assert answer.json()["error"].startswith("upstream error")


def test_debug_render_only_shows_what_openrouter_would_get(proxy: ProxyServer, simulator: Simulator) -> None:
    for (path, body), text in (
        (REQUESTS["a chat"], {"message": {"role": "", "content": ""}}),
        (REQUESTS["a prompt"], {"response": ""}),
    ):
        answer = check(proxy, Row("POST", path, body | {"_debug_render_only": True}, want=text | {"done": False}))
        assert "hello" in answer.json()["_debug_info"]["rendered_template"]
    assert simulator.chats() == []
