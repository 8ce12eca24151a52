"""How requests end: one outcome each, the same on every route, and the shutdown's answer in each API's own form."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer, wait_for

MESSAGES = [{"role": "user", "content": "hi"}]
CHAT = {"model": "free", "messages": MESSAGES}
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/api/chat", {**CHAT, "stream": False}),
    "chat, streamed": ("/api/chat", CHAT),
    "generate": ("/api/generate", {"model": "free", "prompt": "hi", "stream": False}),
    "embed": ("/api/embed", {"model": "embed-small", "input": "hi"}),
    "embeddings": ("/api/embeddings", {"model": "embed-small", "prompt": "hi"}),
    "OpenAI chat": ("/v1/chat/completions", CHAT),
    "OpenAI chat, streamed": ("/v1/chat/completions", {**CHAT, "stream": True}),
    "OpenAI completions": ("/v1/completions", {"model": "free", "prompt": "hi"}),
    "OpenAI responses": ("/v1/responses", {"model": "free", "input": "hi"}),
    "OpenAI embeddings": ("/v1/embeddings", {"model": "embed-small", "input": "hi"}),
    "Messages": ("/v1/messages", {**CHAT, "max_tokens": 50}),
    "Messages, streamed": ("/v1/messages", {**CHAT, "max_tokens": 50, "stream": True}),
}


def logged(proxy: ProxyServer, answer: requests.Response) -> dict[str, Any]:
    """The line that the request left, which is written when it is over."""

    def line() -> dict[str, Any] | None:
        lines = [json.loads(text) for text in proxy.log().splitlines() if answer.headers["X-Request-Id"] in text]
        return next((found for found in lines if found["event"] == "request"), None)

    found = wait_for(line, what="the line of the request")
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("case", ROUTES.values(), ids=ROUTES)
def test_a_whole_answer_is_noted_with_its_usage_and_caller(proxy: ProxyServer, case: tuple[str, Any]) -> None:
    path, body = case
    line = logged(proxy, proxy.post(path, body))
    assert (line["outcome"], line["client"], line["status"]) == ("whole", "127.0.0.1", 200)
    assert line["prompt_tokens"] > 0


@pytest.mark.parametrize("case", ROUTES.values(), ids=ROUTES)
def test_an_error_before_the_answer(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, case: tuple[str, Any]
) -> None:
    path, body = case
    proxy = start_proxy()
    simulator.scenario("*", error_name="502")
    line = logged(proxy, proxy.post(path, body))
    assert line["outcome"] == "failed"
    assert line["error"]


@pytest.mark.parametrize("case", [case for case in ROUTES.values() if "embed" not in case[0]])
def test_a_bad_request_is_refused_and_says_why(proxy: ProxyServer, case: tuple[str, Any]) -> None:
    path, body = case
    secret = "sk-or-v1-pasted into the model field"
    line = logged(proxy, proxy.post(path, {**body, "model": secret}))
    assert (line["outcome"], line["error"]) == ("refused", "invalid model name")


STREAMED = ["chat, streamed", "OpenAI chat, streamed", "Messages, streamed"]


@pytest.mark.parametrize("name", STREAMED)
def test_an_error_in_the_middle(start_proxy: Callable[..., ProxyServer], simulator: Simulator, name: str) -> None:
    path, body = ROUTES[name]
    proxy = start_proxy()
    simulator.scenario("*", tokens=10, in_stream_error=4, error_name="502")
    line = logged(proxy, proxy.post(path, body))
    assert (line["outcome"], line["status"]) == ("broken", 200)
    assert line["error"]


@pytest.mark.parametrize("name", STREAMED)
def test_a_client_that_leaves(start_proxy: Callable[..., ProxyServer], simulator: Simulator, name: str) -> None:
    path, body = ROUTES[name]
    proxy = start_proxy()
    simulator.scenario("*", tokens=4, reasoning=False, hold="gate", hold_at=2)
    answer = proxy.post(path, body, stream=True)
    next(answer.iter_content(1))
    answer.close()
    assert logged(proxy, answer)["outcome"] == "left"
    assert simulator.chats(outcome="client_gone", wait=PATIENCE)


FORMS: dict[str, Callable[[Any], str]] = {
    "chat": lambda error: error["error"],
    "OpenAI chat": lambda error: error["error"]["message"],
    "Messages": lambda error: error["error"]["message"],
}


def test_sigterm_answers_each_waiting_request_in_its_own_form(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    proxy = start_proxy(drain_seconds=0.3)
    simulator.scenario("*", hold="gate", before_headers=True)
    answers: dict[str, requests.Response] = {}

    def ask(name: str) -> None:
        path, body = ROUTES[name]
        answers[name] = proxy.post(path, body)

    threads = [threading.Thread(target=ask, args=(name,)) for name in FORMS]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(simulator.log(holding="gate")) == len(FORMS), what="all of them wait")
    proxy.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(PATIENCE)
    for name, text_of in FORMS.items():
        answer = answers[name]
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), name
        assert "shutting down" in text_of(answer.json()), name
    assert proxy.process.wait(PATIENCE) == 0
    simulator.release("*")


def test_a_named_caller_is_in_the_line_and_no_key_is(start_proxy: Callable[..., ProxyServer]) -> None:
    proxy = start_proxy(proxy_api_keys="first-key-of-two,second-key-of-two", ready=False)
    answer = proxy.get("/api/version", headers={"Authorization": "Bearer second-key-of-two"})
    line = logged(proxy, answer)
    assert (line["client"], line["key"]) == ("127.0.0.1", "key 2")
    refused = proxy.get("/api/version", headers={"Authorization": "Bearer guessed-key"})
    line = logged(proxy, refused)
    assert (line["status"], line["outcome"], line["client"]) == (401, "refused", "127.0.0.1")
    assert line["error"]
    assert not any(key in proxy.log() for key in ("first-key", "second-key", "guessed-key"))
