"""POST /v1/messages through real sockets: what goes up, what comes down, and what happens when upstream fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.servers import ProxyServer, wait_for

Json = dict[str, Any]
FIRST, SECOND = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free"
UPSTREAM = "/api/v1/messages"
TOOLS: list[Json] = [
    {"name": f"Tool{number}", "description": "d" * 200, "input_schema": {"type": "object", "properties": {}}}
    for number in range(20)
]
#: What Claude Code sends, in the shape that matters.
CLAUDE_CODE: Json = {
    "model": "any",
    "max_tokens": 32000,
    "system": [
        {"type": "text", "text": "You are a coding agent.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "fix the tests", "cache_control": {"type": "ephemeral"}}],
        }
    ],
    "tools": TOOLS,
    "thinking": {"type": "enabled", "budget_tokens": 31999},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": "user_abc_session_1"},
    "stream": True,
}


def ask(text: str = "hello", **fields: Any) -> Json:
    return {"model": "any", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **fields}


def events(response: requests.Response) -> list[tuple[str, Json]]:
    """The events of a stream with their names; every block must have just those two lines."""
    found = []
    for block in response.content.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def text_of(read: Iterable[tuple[str, Json]]) -> str:
    return "".join(event["delta"].get("text", "") for name, event in read if name == "content_block_delta")


def error_of(response: requests.Response) -> tuple[int, str, str]:
    body = response.json()
    assert body["type"] == "error"
    assert body["request_id"].startswith("req_")
    return response.status_code, body["error"]["type"], body["error"]["message"]


def test_a_request_of_claude_code_is_answered_and_goes_up_as_it_is(proxy: ProxyServer, simulator: Simulator) -> None:
    response = requests.post(
        f"{proxy.url}/v1/messages?beta=true",
        json=CLAUDE_CODE,
        headers={
            "Authorization": "Bearer ollama",
            "x-api-key": "sk-ant-client",
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
        },
        timeout=30,
    )
    read = events(response)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["X-OpenRouter-Model"] == FIRST
    assert response.headers["X-Accel-Buffering"] == "no"
    assert all(name == event["type"] for name, event in read)
    assert [read[0][0], read[-1][0]] == ["message_start", "message_stop"]
    assert text_of(read).endswith("You said: fix the tests")
    [entry] = simulator.log(path=UPSTREAM)
    assert entry["body"] == {
        **CLAUDE_CODE,
        "model": FIRST,
        "provider": {"max_price": {"prompt": "0", "completion": "0"}},
    }
    assert entry["headers"]["authorization"] == "...-key"
    assert "x-api-key" not in entry["headers"]


def test_a_whole_answer_comes_down_as_it_is(proxy: ProxyServer, simulator: Simulator) -> None:
    body = {
        "id": "gen-1", "type": "message", "role": "assistant", "model": "x/y-2026", "future": [1, None],
        "content": [{"type": "text", "text": "é", "citations": None}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 2, "cost": 0},
    }  # fmt: skip
    simulator.queue(FIRST, {"status": 200, "body": body})
    response = proxy.post("/v1/messages", ask())
    assert (response.status_code, response.json()) == (200, body)


def test_null_content_becomes_an_empty_list(proxy: ProxyServer, simulator: Simulator) -> None:
    body = {"type": "message", "content": None, "stop_reason": "end_turn", "usage": {"output_tokens": 2}}
    simulator.queue(FIRST, {"status": 200, "body": body})
    assert proxy.post("/v1/messages", ask()).json() == {**body, "content": []}


def test_a_streamed_call_answered_by_json_is_still_a_stream(proxy: ProxyServer, simulator: Simulator) -> None:
    simulator.queue(FIRST, {"whole_json": True, "text": "all at once", "reasoning": "hm"})
    read = events(proxy.post("/v1/messages", ask(stream=True)))
    assert [read[0][0], *(name for name, _ in read[-2:])] == ["message_start", "message_delta", "message_stop"]
    assert text_of(read) == "all at once"


@pytest.mark.parametrize("cut", [{"cut_every": 7}, {"coalesce": True}, {"crlf": True}, {"comments": 5}])
def test_a_stream_is_the_same_however_it_is_cut(proxy: ProxyServer, simulator: Simulator, cut: Json) -> None:
    simulator.queue(FIRST, {"text": "one two é three", **cut})
    read = events(proxy.post("/v1/messages", ask(stream=True)))
    assert (text_of(read), read[-1][0]) == ("one two é three", "message_stop")


def test_the_connection_is_used_again_after_a_stream(proxy: ProxyServer, simulator: Simulator) -> None:
    for _ in range(3):
        proxy.post("/v1/messages", ask(stream=True))
    assert len({entry["connection"] for entry in simulator.log(path=UPSTREAM)}) == 1


def test_done_behind_the_end_is_not_passed_on(proxy: ProxyServer, simulator: Simulator) -> None:
    message = {"type": "message_start", "message": {"content": [], "usage": {}}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    simulator.queue(FIRST, {"events": [": c", message, delta, {"type": "message_stop"}, "[DONE]"]})
    assert [name for name, _ in events(proxy.post("/v1/messages", ask(stream=True)))] == [
        "message_start", "content_block_delta", "message_stop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"{", "unexpected EOF", id="cut short"),
        pytest.param(b"{}", "model is required", id="no model"),
        pytest.param(b'{"model":"free"}', "max_tokens is required and must be positive", id="no max_tokens"),
        pytest.param(b'{"model":"free","max_tokens":1}', "messages is required", id="no messages"),
    ],
)
def test_refusals_have_ollamas_words_and_anthropics_form(proxy: ProxyServer, body: bytes, message: str) -> None:
    response = requests.post(f"{proxy.url}/v1/messages?beta=true", data=body, timeout=30)
    assert error_of(response) == (400, "invalid_request_error", message)


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/messages/batches"])
def test_other_routes_are_as_unknown_as_in_ollama(proxy: ProxyServer, path: str) -> None:
    response = proxy.post(path, ask())
    assert (response.status_code, response.text) == (404, "404 page not found")


PAID = "vertex/omni-4"

#: What upstream says, and the status, type and words that the client gets.
FAILURES = [
    pytest.param({"error_name": "400_input_required"}, 400, "invalid_request_error", "", id="a bad request"),
    pytest.param({"error_name": "404_no_endpoints"}, 404, "not_found_error", "upstream error", id="a model withdrawn"),
    pytest.param({"error_name": "502"}, 502, "api_error", "upstream error", id="a provider down"),
    pytest.param({"error_name": "529"}, 503, "overloaded_error", "upstream error", id="a provider overloaded"),
    pytest.param({"error_name": "pool_429"}, 429, "rate_limit_error", "upstream error", id="a rate limit"),
    pytest.param({"error_name": "413"}, 413, "request_too_large", "", id="a body too large"),
    pytest.param({"error_name": "502_html"}, 502, "api_error", "upstream error", id="a web page"),
    pytest.param({"error_in_200_json": True, "error_name": "503"}, 503, "overloaded_error", "", id="an error in a 200"),
    pytest.param({"empty": True}, 502, "api_error", "empty answer", id="an empty answer"),
]


@pytest.fixture(scope="module")
def shared_paid_proxy(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """A proxy outside free mode: only the asked model is tried, whatever happened before."""
    with ProxyServer(tmp_path_factory.mktemp("paid"), shared_simulator.url, free_mode=False) as proxy:
        yield proxy


@pytest.fixture
def paid_proxy(shared_paid_proxy: ProxyServer, simulator: Simulator) -> ProxyServer:
    return shared_paid_proxy


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("scenario", "status", "kind", "words"), FAILURES)
def test_upstream_errors_have_their_status_and_anthropics_form(
    paid_proxy: ProxyServer, simulator: Simulator, scenario: Json, status: int, kind: str, words: str, stream: bool
) -> None:
    simulator.queue(PAID, scenario)
    got_status, got_kind, message = error_of(paid_proxy.post("/v1/messages", ask(model=PAID, stream=stream)))
    assert (got_status, got_kind) == (status, kind)
    assert words in message
    assert "user_simulated" not in message


@pytest.mark.parametrize("name", ["401_bad_key", "402_credits", "403_key_limit"])
def test_errors_of_our_own_key_are_no_errors_of_the_clients(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, name: str
) -> None:
    simulator.queue(FIRST, {"error_name": name})
    status, kind, message = error_of(start_proxy().post("/v1/messages", ask()))
    assert (status, kind) == (502, "api_error")
    assert "upstream error" in message


def test_an_account_limit_says_when_to_come_back(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    simulator.queue(FIRST, {"error_name": "free_per_day", "reset_in": 3600})
    response = start_proxy().post("/v1/messages", ask(stream=True))
    assert error_of(response)[:2] == (429, "rate_limit_error")
    assert " UTC, in " in error_of(response)[2]


def test_headers_of_the_api_go_along_outside_free_mode(paid_proxy: ProxyServer, simulator: Simulator) -> None:
    sent = {"anthropic-version": "2023-06-01", "anthropic-beta": "a-1,b-2", "x-api-key": "sk-ant-client"}
    paid_proxy.post("/v1/messages", ask(model=PAID), headers=sent)
    [entry] = simulator.log(path=UPSTREAM)
    assert {name: entry["headers"].get(name) for name in sent} == {**sent, "x-api-key": None}
    assert entry["headers"]["authorization"] == "...-key"


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param({"error_name": "pool_429"}, id="rate limit"),
        pytest.param({"error_name": "503"}, id="overloaded"),
        pytest.param({"in_stream_error": 0, "error_name": "529"}, id="an error event first"),
        pytest.param({"in_stream_error": 2, "error_name": "502"}, id="an error event before the first delta"),
        pytest.param({"early_close": 2}, id="broken before the first delta"),
        pytest.param({"early_end": 2}, id="ended before the first delta"),
        pytest.param({"empty": True}, id="empty"),
        pytest.param({"error_in_200_json": True, "error_name": "503"}, id="an error in a 200"),
    ],
)
def test_another_model_answers_unseen_before_the_first_delta(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, scenario: Json
) -> None:
    simulator.queue(FIRST, scenario)
    response = start_proxy().post("/v1/messages", ask(stream=True))
    read = events(response)
    assert (response.headers["X-OpenRouter-Model"], response.headers["X-Proxy-Attempts"]) == (SECOND, "2")
    assert [name for name, _ in read].count("message_start") == 1
    assert text_of(read) == f"This is {SECOND} speaking. You said: hello"


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        pytest.param({"in_stream_error": 6, "error_name": "529"}, "overloaded_error", id="an error event"),
        pytest.param({"early_close": 6}, "api_error", id="broken off"),
        pytest.param({"early_end": 6}, "api_error", id="ended without an end"),
    ],
)
def test_after_the_first_delta_an_error_event_ends_the_stream(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, scenario: Json, kind: str
) -> None:
    simulator.queue(FIRST, scenario)
    response = start_proxy().post("/v1/messages", ask("one two three four", stream=True))
    read = events(response)
    assert response.status_code == 200
    assert [name for name, _ in read].count("error") == 1
    assert read[-1][0] == "error"
    assert (read[-1][1]["type"], read[-1][1]["error"]["type"]) == ("error", kind)
    assert "upstream error" in read[-1][1]["error"]["message"]
    assert len(simulator.chats()) == 1


def test_silence_is_filled_with_pings(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    proxy = start_proxy(heartbeat_seconds=0.2)
    simulator.queue(FIRST, {"hold": "gate", "hold_at": [0, 6]})
    response = proxy.post("/v1/messages", ask(stream=True), stream=True)
    lines = response.iter_lines()
    assert [next(lines), next(lines)] == [b"event: ping", b'data: {"type": "ping"}']
    simulator.release("gate", 1)
    started = [line for line in iter(lambda: next(lines), b"event: content_block_delta") if line.startswith(b"event")]
    assert b"event: message_start" in started
    assert wait_for(lambda: next(lines) == b"event: ping", what="a ping between two deltas")
    simulator.release("gate")
    assert list(lines)[-3:-1] == [b"event: message_stop", b'data: {"type":"message_stop"}']


@pytest.mark.parametrize("hold_at", [0, 4])
def test_a_client_that_leaves_ends_the_upstream_call(proxy: ProxyServer, simulator: Simulator, hold_at: int) -> None:
    simulator.queue(FIRST, {"hold": "gone", "hold_at": hold_at, "reasoning": False})
    with pytest.raises(requests.exceptions.RequestException):
        for _ in proxy.post("/v1/messages", ask(stream=True), stream=True, timeout=1.0).iter_lines():
            pass
    [entry] = wait_for(lambda: simulator.log(path=UPSTREAM, outcome="client_gone"), what="upstream is closed")
    assert entry["model"] == FIRST


def test_the_virtual_model_serves_images_with_a_model_that_sees(proxy: ProxyServer, simulator: Simulator) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    response = proxy.post("/v1/messages", ask([image, {"type": "text", "text": "what is it"}]))
    assert (response.status_code, response.headers["X-OpenRouter-Model"]) == (200, SECOND)


def test_max_tokens_is_cut_and_thinking_left_out_for_a_model_that_cannot_think(
    paid_proxy: ProxyServer, simulator: Simulator
) -> None:
    body = ask(model="anchor-mini:free", max_tokens=32000, thinking={"type": "enabled", "budget_tokens": 31999})
    assert paid_proxy.post("/v1/messages", body).status_code == 200
    [entry] = simulator.log(path=UPSTREAM)
    del body["thinking"]
    assert entry["body"] == {**body, "model": "harbor/anchor-mini:free", "max_tokens": 8192}


#: Ways to name another model, and things that cost money.
PAID_WISHES: list[Json] = [
    {"model": "vertex/omni-4"},
    {"model": "omni-4"},
    {"models": ["vertex/omni-4"]},
    {"fallbacks": [{"model": "vertex/omni-4"}]},
    {"route": "fallback", "preset": "mine"},
    {"model": "free@preset/mine"},
    {"plugins": [{"id": "web"}]},
    {"tools": [{"type": "openrouter:web_search"}, {"type": "web_search_20250305", "name": "web_search"}]},
    {"provider": {"max_price": {"prompt": 5, "completion": 5}, "order": ["a"]}},
    {"service_tier": "priority"},
]


@pytest.mark.parametrize("wish", PAID_WISHES, ids=lambda wish: ",".join(wish))
def test_free_mode_never_pays(proxy: ProxyServer, simulator: Simulator, wish: Json) -> None:
    proxy.post("/v1/messages", ask(**wish))
    for entry in simulator.log(path=UPSTREAM):
        body = entry["body"]
        assert body["model"].endswith(":free")
        assert body["provider"]["max_price"] == {"prompt": "0", "completion": "0"}
        assert not {"models", "fallbacks", "route", "preset", "plugins", "tools", "service_tier"} & set(body)
