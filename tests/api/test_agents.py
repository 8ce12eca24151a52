"""docs/contract.md, "Errors": what agents read of a limit that lasts, and of a prompt that is too long."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.servers import ProxyServer

EMBER = "tidal/ember-4:free"
SAYS = [{"role": "user", "content": "hello"}]
CALLS: dict[str, dict[str, Any]] = {
    "/api/chat": {"messages": SAYS, "stream": False},
    "/api/generate": {"prompt": "hello", "stream": False},
    "/v1/chat/completions": {"messages": SAYS},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": SAYS, "max_tokens": 10},
}


def ask(proxy: ProxyServer, path: str, **fields: Any) -> requests.Response:
    return proxy.post(path, {"model": "ember-4:free", **CALLS[path], **fields})


def text_of(answer: requests.Response) -> str:
    error = answer.json()["error"]
    return error if isinstance(error, str) else str(error["message"])


def test_nobody_is_told_to_sleep_for_hours(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    proxy = start_proxy(heartbeat_seconds=0.05)
    late = {"silence": 0.3, "before_headers": True}
    simulator.scenario(EMBER, times=1, error_name="free_per_day", reset_in=7200, **late)
    begun = ask(proxy, "/v1/responses", stream=True).text
    failed = next(
        json.loads(line[6:]) for line in begun.splitlines() if line.startswith('data: {"type":"response.fail')
    )
    assert failed["response"]["error"]["type"] == "usage_limit_reached"
    assert failed["response"]["error"]["resets_at"] == pytest.approx(time.time() + 7200, abs=60)
    for path in CALLS:
        for stream in (False, True):
            answer = ask(proxy, path, stream=stream)
            assert answer.status_code == 429
            assert re.search(r"resets at \d\d:\d\d(:\d\d)? UTC, in (2 h|1 h 59 min)", text_of(answer))
            waits = {name: answer.headers.get(name) for name in ("Retry-After", "x-should-retry")}
            if path.startswith("/api/"):
                assert int(waits["Retry-After"] or 0) > 3600
            else:
                assert waits == {"Retry-After": None, "x-should-retry": "false"}
    limit = ask(proxy, "/v1/responses").json()["error"]
    assert limit["type"] == "usage_limit_reached"
    assert limit["resets_at"] == pytest.approx(time.time() + 7200, abs=60)


def test_a_limit_that_ends_soon_is_a_header(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    proxy = start_proxy(ratelimit_wait_seconds=0)
    simulator.scenario(EMBER, times=1, error_name="free_per_min", reset_in=50)
    for path in CALLS:
        answer = ask(proxy, path)
        assert 0 < int(answer.headers["Retry-After"]) <= 51, path
        assert "x-should-retry" not in answer.headers


def said_too_long(answer: requests.Response) -> tuple[int, int]:
    """Check every wording that agents look for; the two numbers."""
    assert answer.status_code == 400
    found = re.match(r"prompt is too long: (\d+) tokens > (\d+) maximum", text_of(answer))
    assert found is not None, answer.text
    assert f"maximum context length is {found[2]} tokens" in text_of(answer)
    error = answer.json()["error"]
    if "/v1/" in answer.url:
        assert error["type"] == "invalid_request_error"
    if "/v1/" in answer.url and not answer.url.endswith("messages"):
        assert error["code"] == "context_length_exceeded"
    return int(found[1]), int(found[2])


LONG = "word " * 2_000_000


@pytest.mark.parametrize("path", [path for path in CALLS if path != "/api/generate"])
def test_what_no_window_holds_is_refused_in_the_words_of_agents(proxy: ProxyServer, path: str) -> None:
    fields = {
        name: LONG if name in ("prompt", "input") else [{"role": "user", "content": LONG}] for name in CALLS[path]
    }
    fields = {name: value for name, value in fields.items() if name in ("messages", "prompt", "input")}
    tokens, maximum = said_too_long(ask(proxy, path, **fields))
    assert tokens == pytest.approx(2_500_000, rel=0.01)
    assert maximum in [model["details"]["context_length"] for model in proxy.get("/api/tags").json()["models"]]


@pytest.mark.parametrize("path", CALLS)
def test_upstreams_numbers_are_told(forgetful: ProxyServer, simulator: Simulator, path: str) -> None:
    simulator.scenario("*", error_name="400_context")
    assert said_too_long(ask(forgetful, path)) == (99_000, 32_768)


def test_without_upstreams_numbers_there_are_our_own(forgetful: ProxyServer, simulator: Simulator) -> None:
    body = {"error": {"code": 400, "message": "Input is too long for requested model."}}
    simulator.scenario("*", status=400, body=body)
    tokens, maximum = said_too_long(ask(forgetful, "/v1/messages"))
    assert tokens > maximum, "what an agent parses must say that something has to go"
    assert "Input is too long" in text_of(ask(forgetful, "/v1/messages"))


def test_a_stream_that_began_says_it_too(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    proxy = start_proxy(heartbeat_seconds=0.05)
    simulator.scenario("*", error_name="400_context", silence=0.3, before_headers=True)
    for path, words in {
        "/api/chat": "prompt is too long: 99000 tokens > 32768 maximum",
        "/v1/messages": "prompt is too long: 99000 tokens > 32768 maximum",
        "/v1/chat/completions": '"code":"context_length_exceeded"',
        "/v1/responses": '"error":{"code":"context_length_exceeded"',
    }.items():
        answer = ask(proxy, path, stream=True)
        assert (answer.status_code, words in answer.text) == (200, True), answer.text


def test_slashes_do_not_change_the_form_of_a_refusal(start_proxy: Callable[..., ProxyServer]) -> None:
    proxy = start_proxy(proxy_api_keys="sesame", ready=False)
    assert proxy.post("//v1/messages", {}).json()["type"] == "error"
    assert proxy.post("/v1//responses", {}).json()["error"]["type"] == "authentication_error"
    assert isinstance(proxy.post("//api/chat", {}).json()["error"], str)
