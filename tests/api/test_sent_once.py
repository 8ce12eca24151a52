"""A request that upstream has taken whole is never sent to a model that costs again (docs/contract.md, "Failures")."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.process import Simulator
from tests.servers import ProxyServer

Json = dict[str, Any]

PAID, PAID_EMBEDDING = "tidal/ember-4:extended", "vectorworks/embed-3"
FREE, FREE_EMBEDDING = "tidal/ember-4:free", "lexicon/embed-small:free"
MESSAGES = [{"role": "user", "content": "hello"}]

ROUTES: dict[str, tuple[str, Json]] = {
    "chat, streamed": ("/api/chat", {"messages": MESSAGES}),
    "chat": ("/api/chat", {"messages": MESSAGES, "stream": False}),
    "generate": ("/api/generate", {"prompt": "hello", "stream": False}),
    "chat completions, streamed": ("/v1/chat/completions", {"messages": MESSAGES, "stream": True}),
    "chat completions": ("/v1/chat/completions", {"messages": MESSAGES}),
    "completions": ("/v1/completions", {"prompt": "hello"}),
    "responses": ("/v1/responses", {"input": "hello"}),
    "messages": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 100}),
    "embed": ("/api/embed", {"input": "hello"}),
    "embeddings": ("/v1/embeddings", {"input": "hello"}),
}
EMBEDDING = ("embed", "embeddings")

#: What upstream does after it has read the whole request.
ENDS: dict[str, Json] = {
    "closes": {"early_close": 0, "before_headers": True},
    "resets": {"early_close": 0, "before_headers": True, "rst": True},
    "half a head": {"cut_head": 30},
}


@pytest.fixture(scope="module")
def shared_paying(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    with ProxyServer(tmp_path_factory.mktemp("paying"), shared_simulator.url, free_mode=False) as proxy:
        yield proxy


@pytest.fixture
def paying(shared_paying: ProxyServer, simulator: Simulator) -> ProxyServer:
    """A proxy that may send requests to models that cost."""
    return shared_paying


@pytest.fixture(scope="module")
def shared_impatient(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    settings = {"free_mode": False, "upstream_read_timeout_seconds": 1}
    with ProxyServer(tmp_path_factory.mktemp("impatient"), shared_simulator.url, **settings) as proxy:
        yield proxy


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("route", ROUTES)
def test_a_model_that_costs_is_asked_once(paying: ProxyServer, simulator: Simulator, route: str, end: str) -> None:
    model = PAID_EMBEDDING if route in EMBEDDING else PAID
    simulator.scenario(model, **ENDS[end])
    path, body = ROUTES[route]
    found = paying.post(path, {"model": model, **body})
    assert [entry["model"] for entry in simulator.chats()] == [model]
    assert found.status_code == 502
    assert "upstream error" in found.text


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("route", [route for route in ROUTES if route not in EMBEDDING])
def test_a_free_model_s_stand_in_answers(forgetful: ProxyServer, simulator: Simulator, route: str, end: str) -> None:
    simulator.scenario(FREE, **ENDS[end])
    path, body = ROUTES[route]
    found = forgetful.post(path, {"model": FREE, **body})
    asked = [entry["model"] for entry in simulator.chats()]
    assert found.status_code == 200
    assert asked[0] == FREE
    assert len(asked) == len(set(asked)) == 2
    assert found.headers["X-OpenRouter-Model"] == asked[1]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("route", EMBEDDING)
def test_no_model_stands_in_for_an_embedding_model(
    forgetful: ProxyServer, simulator: Simulator, route: str, end: str
) -> None:
    simulator.scenario(FREE_EMBEDDING, **ENDS[end])
    path, body = ROUTES[route]
    found = forgetful.post(path, {"model": FREE_EMBEDDING, **body})
    assert [entry["model"] for entry in simulator.chats()] == [FREE_EMBEDDING]
    assert found.status_code == 502


@pytest.mark.parametrize("route", ["chat", "chat completions, streamed", "messages", "embed"])
def test_silence_after_the_request_is_no_reason_to_send_it_again(
    shared_impatient: ProxyServer, simulator: Simulator, route: str
) -> None:
    model = PAID_EMBEDDING if route in EMBEDDING else PAID
    simulator.scenario(model, hold="for ever", before_headers=True)
    path, body = ROUTES[route]
    found = shared_impatient.post(path, {"model": model, **body})
    assert [entry["model"] for entry in simulator.chats()] == [model]
    assert found.status_code == 504


def test_a_kept_connection_that_breaks_after_the_request_is_not_replaced(
    paying: ProxyServer, simulator: Simulator
) -> None:
    assert paying.chat(PAID).ok
    simulator.scenario(PAID, early_close=0, before_headers=True, rst=True)
    since = simulator.chats()[-1]["n"]
    assert paying.chat(PAID).status_code == 502
    assert len(simulator.chats(since)) == 1


def test_a_failure_inside_the_head_is_remembered_of_a_free_model(start_proxy: Any, simulator: Simulator) -> None:
    proxy = start_proxy()
    simulator.scenario(FREE, times=1, cut_head=30)
    assert proxy.chat(FREE).headers["X-OpenRouter-Model"] != FREE
    since = simulator.chats()[-1]["n"]
    assert proxy.chat(FREE).ok
    assert FREE not in [entry["model"] for entry in simulator.chats(since)]


WRONG_ADDRESS: dict[str, Json] = {
    "a plain 404": {"status": 404, "body": "404 page not found"},
    "a 404 page": {"status": 404, "body": "<html><title>404</title></html>"},
    "Not Found": {"status": 404, "body": {"error": {"code": 404, "message": "Not Found"}}},
    "a 405": {"status": 405, "body": {"detail": "Method Not Allowed"}},
    "a redirect": {"status": 301, "body": "", "headers": {"Location": "https://elsewhere.invalid/"}},
    "a page with status 200": {"raw_response": {"text": "<!DOCTYPE html><html></html>", "content_type": "text/html"}},
}


@pytest.mark.parametrize("scenario", WRONG_ADDRESS.values(), ids=WRONG_ADDRESS)
@pytest.mark.parametrize("route", ROUTES)
def test_an_endpoint_that_is_none_is_said_at_once_and_remembered_of_no_model(
    proxy: ProxyServer, simulator: Simulator, route: str, scenario: Json
) -> None:
    model = FREE_EMBEDDING if route in EMBEDDING else FREE
    simulator.scenario("*", **scenario)
    path, body = ROUTES[route]
    for _ in range(2):
        found = proxy.post(path, {"model": model, **body})
        assert found.status_code == 502
        assert "OPENROUTER_BASE_URL" in json.dumps(found.json())
    assert [entry["model"] for entry in simulator.chats()] == [model, model]
    simulator.clear("*")
    assert proxy.post(path, {"model": model, **body}).headers["X-OpenRouter-Model"] == model
