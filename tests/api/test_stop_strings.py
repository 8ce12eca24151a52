"""Stop strings end an answer, whatever the model knows of them; and upstream is closed there and then."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulator.process import Simulator
from tests.api.test_openai import events, streamed_text
from tests.servers import ProxyServer, wait_for

MODEL, ID = "ember-4:free", "tidal/ember-4:free"
ASK = "one two STOP three"
#: So many words come before the stop string, for each API.
SAID = f"This is {ID} speaking. You said: one two "
USER = [{"role": "user", "content": ASK}]
BODIES: dict[str, Any] = {
    "/api/chat": {"messages": USER, "options": {"stop": ["nope", "STOP"]}},
    "/api/generate": {"prompt": ASK, "options": {"stop": ["STOP"]}},
    "/v1/chat/completions": {"messages": USER, "stop": ["a1", "a2", "a3", "a4", "STOP"]},
    "/v1/completions": {"prompt": ASK, "stop": "STOP"},
    "/v1/messages": {"messages": USER, "max_tokens": 1000, "stop_sequences": ["STOP"]},
}
ENDLESS = ["one ", "two ST", "OP three ", *["more "] * 3000]


@pytest.fixture
def unaware(simulator: Simulator, proxy: ProxyServer) -> Simulator:
    """The model knows nothing of the parameter, as OpenRouter's list says of it."""
    simulator.control("models", {"patch": {ID: {"supported_parameters": ["max_tokens"]}}})
    return simulator


def told(path: str, text: str) -> tuple[str, str, Any]:
    """The text, the reason and the usage of a streamed answer."""
    if path.startswith("/api"):
        lines = [json.loads(line) for line in text.splitlines()]
        said = "".join(line["message"]["content"] if "message" in line else line["response"] for line in lines)
        return said, lines[-1]["done_reason"], lines[-1]["eval_count"]
    if path == "/v1/messages":
        found = [event for event in events(text) if event["type"] in ("content_block_delta", "message_delta")]
        said = "".join(event["delta"].get("text", "") for event in found)
        assert found[-1]["delta"]["stop_sequence"] == "STOP"
        return said, found[-1]["delta"]["stop_reason"], found[-1]["usage"]["output_tokens"]
    found = events(text)
    assert found[-1] == "[DONE]"
    reasons = [choice["finish_reason"] for event in found[:-1] for choice in event["choices"]]
    usage = [event["usage"] for event in found[:-1] if event.get("usage")]
    return streamed_text(path, found), next(filter(None, reasons)), usage[0]["completion_tokens"]


def whole(path: str, body: Any) -> tuple[str, str, Any]:
    if path.startswith("/api"):
        said = body["message"]["content"] if "message" in body else body["response"]
        return said, body["done_reason"], body["eval_count"]
    if path == "/v1/messages":
        return body["content"][-1]["text"], body["stop_reason"], body["usage"]["output_tokens"]
    choice = body["choices"][0]
    said = choice["message"]["content"] if "message" in choice else choice["text"]
    return said, choice["finish_reason"], body["usage"]["completion_tokens"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("path", BODIES)
def test_the_answer_ends_before_the_stop_string(
    proxy: ProxyServer, unaware: Simulator, path: str, stream: bool
) -> None:
    asked = {"model": MODEL, **BODIES[path], "stream": stream}
    if path.startswith("/v1/c"):
        asked["stream_options"] = {"include_usage": True}
    response = proxy.post(path, asked)
    assert response.ok, response.text
    said, reason, tokens = told(path, response.text) if stream else whole(path, response.json())
    assert said == SAID
    assert reason == ("stop_sequence" if path == "/v1/messages" else "stop")
    assert tokens > 0
    stops = unaware.chats()[0]["body"].get("stop", [])
    assert len(stops) <= 4


@pytest.mark.parametrize("path", BODIES)
def test_upstream_is_closed_at_the_stop_string(proxy: ProxyServer, unaware: Simulator, path: str) -> None:
    unaware.scenario(ID, text=ENDLESS, token_delay=0.005)
    asked = {"model": MODEL, **BODIES[path], "stream": True}
    if path.startswith("/v1/c"):
        asked["stream_options"] = {"include_usage": True}
    said, _, tokens = told(path, proxy.post(path, asked).text)
    assert said == "one two "
    assert 0 < tokens < 100
    [entry] = wait_for(lambda: unaware.log(outcome="client_gone", method="POST"), what="upstream is closed")
    assert entry["events_sent"] < 2000


@pytest.mark.parametrize("path", BODIES)
def test_what_only_begins_like_a_stop_string_is_not_lost(proxy: ProxyServer, simulator: Simulator, path: str) -> None:
    simulator.scenario(ID, text=["x ", "ST", "O", "N ", "S", "T"])
    response = proxy.post(path, {"model": MODEL, **BODIES[path], "stream": True})
    text = response.text.replace("\r", "")
    if path.startswith("/api"):
        said, reason, _ = told(path, text)
        assert (said, reason) == ("x STON ST", "stop")
    elif path == "/v1/messages":
        deltas = [event["delta"].get("text", "") for event in events(text) if event["type"] == "content_block_delta"]
        assert "".join(deltas) == "x STON ST"
        assert '"stop_reason":"end_turn"' in text.replace(" ", "")
    else:
        assert streamed_text(path, events(text)) == "x STON ST"
        assert events(text)[-1] == "[DONE]"


def test_a_model_that_lists_the_parameter_gets_it(proxy: ProxyServer, simulator: Simulator) -> None:
    for path in ("/api/chat", "/v1/chat/completions"):
        assert proxy.post(path, {"model": MODEL, **BODIES[path], "stream": False}).ok
    assert [entry["body"]["stop"] for entry in simulator.chats()] == [["nope", "STOP"], ["a1", "a2", "a3", "a4"]]


def test_stop_strings_have_limits(proxy: ProxyServer) -> None:
    for path, field in (("/v1/chat/completions", "stop"), ("/v1/messages", "stop_sequences")):
        for stops in (["x" * 20_000], ["x"] * 1001):
            refused = proxy.post(path, {"model": MODEL, **BODIES[path], field: stops})
            assert refused.status_code == 400, refused.text
            assert "stop strings" in refused.text


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_stop_string_in_an_echoed_prompt_ends_nothing(proxy: ProxyServer, unaware: Simulator, stream: bool) -> None:
    path, echoed = "/v1/completions", ["one two ", "STOP three"]
    unaware.scenario(ID, text=[*echoed, " four ", "STOP five"])
    asked = {"model": MODEL, **BODIES[path], "echo": True, "stream": stream, "stream_options": {"include_usage": True}}
    response = proxy.post(path, asked)
    said, reason, _ = told(path, response.text) if stream else whole(path, response.json())
    assert (said, reason) == (f"{ASK} four ", "stop")
