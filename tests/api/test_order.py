"""Orders, conversations and the chain over sockets: what clients see, and what processes learn from each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from simulator.process import Simulator
from tests.postgres import new_database, postgres_url
from tests.servers import ProxyServer, wait_for

__all__ = ["postgres_url"]

FIRST, SECOND = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free"
#: An unknown name: the free models by window.
ANY = "any"
VIRTUAL = ["free:latest", "free:fast", "free:smart", "free:coding"]

StartProxy = Callable[..., ProxyServer]

HELLO = {"role": "user", "content": "hello"}


def answered_by(server: ProxyServer, name: str = ANY) -> str:
    found = server.chat(name)
    assert found.status_code == 200, found.text
    return found.headers["X-OpenRouter-Model"]


def slow_model(simulator: Simulator) -> None:
    simulator.scenario(FIRST, delay_first=0.5)


def test_two_workers_learn_together_and_a_restart_keeps_it(start_proxy: StartProxy, simulator: Simulator) -> None:
    slow_model(simulator)
    settings: dict[str, Any] = {"web_concurrency": 2, "slow_first_token_seconds": 0.3}
    server = start_proxy(**settings)
    wait_for(lambda: [answered_by(server) for _ in range(4)].count(FIRST) <= 1, what="both workers leave it")
    assert server.terminate() == 0
    asked = len(simulator.chats(model=FIRST))
    again = start_proxy(**settings)
    assert {answered_by(again) for _ in range(6)} == {SECOND}
    assert len(simulator.chats(model=FIRST)) == asked
    chain = again.chat(ANY).headers["X-Proxy-Chain"]
    assert chain == f"{FIRST} (measured: the last 3 attempts were slow or failed), {SECOND}"


def test_two_machines_learn_together(
    start_proxy: StartProxy, simulator: Simulator, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    slow_model(simulator)
    settings: dict[str, Any] = {"database_url": new_database(postgres_url), "slow_first_token_seconds": 0.3}
    one, other = start_proxy(**settings), start_proxy(**settings)
    assert answered_by(other) == FIRST
    assert [answered_by(one) for _ in range(4)] == [FIRST] * 3 + [SECOND]
    asked = len(simulator.chats(model=FIRST))
    # What was measured goes out within half a minute, and at the end of a process.
    assert one.terminate() == 0
    wait_for(lambda: answered_by(other) == SECOND, what="the other one knows", seconds=5)
    # A second at most until it looks at what has changed.
    assert len(simulator.chats(model=FIRST)) <= asked + 2


def test_the_virtual_models_are_listed_in_all_apis(proxy: ProxyServer) -> None:
    tags = proxy.get("/api/tags").json()["models"]
    assert [entry["name"] for entry in tags[:5]] == [*VIRTUAL, "cirrus-ultra:free"]
    openai = proxy.get("/v1/models").json()["data"]
    assert [entry["id"] for entry in openai[:5]] == [*VIRTUAL, "cirrus-ultra:free"]
    assert len({entry["digest"] for entry in tags[:4]}) == 4
    for name in VIRTUAL:
        shown = proxy.post("/api/show", {"model": name}).json()
        assert shown["capabilities"] == ["completion", "vision", "tools", "thinking"]
        assert shown["model_info"]["free.context_length"] == 1_000_000
        assert proxy.get(f"/v1/models/{name}").json()["id"] == name


@pytest.mark.parametrize("name", ["free:fast", "FREE:Smart", "free:coding", "free"])
def test_a_virtual_model_answers_in_all_apis(proxy: ProxyServer, name: str) -> None:
    assert proxy.chat(name).json()["model"] == name
    chat = {"model": name, "messages": [HELLO], "max_tokens": 50}
    for path in ("/v1/chat/completions", "/v1/messages"):
        assert proxy.post(path, chat).status_code == 200
    proxy.post("/api/chat", {"model": name, "keep_alive": 60})
    loaded = [entry["name"].removesuffix(":latest") for entry in proxy.get("/api/ps").json()["models"]]
    assert name.lower() in loaded


def test_outside_free_mode_they_work_too_and_cost_nothing(start_proxy: StartProxy, simulator: Simulator) -> None:
    server = start_proxy(free_mode=False)
    assert not [entry for entry in server.get("/api/tags").json()["models"] if entry["name"] in VIRTUAL]
    assert server.chat("free:fast").headers["X-OpenRouter-Model"].endswith(":free")


def test_free_order_is_for_named_and_unknown_models(start_proxy: StartProxy, simulator: Simulator) -> None:
    balanced = start_proxy(free_order="balanced", ratelimit_cooldown_minutes=0)
    context = start_proxy(free_order="context", ratelimit_cooldown_minutes=0)
    for server, again in ((balanced, SECOND), (context, FIRST)):
        simulator.scenario(FIRST, error_name="pool_429", times=1)
        assert answered_by(server) == SECOND
        assert answered_by(server) == again


def test_the_metrics_tell_how_each_model_scores(start_proxy: StartProxy, simulator: Simulator) -> None:
    server = start_proxy()
    simulator.scenario(FIRST, tokens=40)
    assert answered_by(server) == FIRST
    text = server.get("/metrics").text
    for name in ("score", "answered_ratio"):
        assert re.search(rf'(?m)^ollama_proxy_model_{name}\{{model="{FIRST}"\}} \d', text), name
    assert f'ollama_proxy_model_score{{model="{SECOND}"}}' in text


# The chain


def test_the_chain_of_an_error_and_of_an_answer(start_proxy: StartProxy, simulator: Simulator) -> None:
    server = start_proxy(max_attempts=2)
    simulator.scenario(FIRST, error_name="pool_429", times=1)
    found = server.chat(ANY)
    assert found.headers["X-Proxy-Chain"] == f"{FIRST} (rate limited upstream), {SECOND}"
    assert server.chat(ANY).headers["X-Proxy-Chain"] == f"{FIRST} (cooling: rate limited upstream), {SECOND}"
    simulator.scenario("*", error_name="503")
    failed = server.chat(ANY)
    assert failed.status_code == 503
    assert re.fullmatch(
        rf"{FIRST} \(cooling: rate limited upstream\), {SECOND} \(.+\), quarry/schema-12b:free \(.+\)",
        failed.headers["X-Proxy-Chain"],
    )
    assert f'"tried":"{FIRST} (rate limited upstream), {SECOND}"' in server.log()


def test_a_heartbeat_before_anybody_answered_goes_out_without_a_chain(
    start_proxy: StartProxy, simulator: Simulator
) -> None:
    server = start_proxy(heartbeat_seconds=0.2)
    simulator.scenario(FIRST, delay_first=0.6)
    with server.chat(ANY, stream=True) as found:
        assert "X-Proxy-Chain" not in found.headers
        assert found.ok


# Conversations


def test_a_conversation_stays_with_its_stand_in(start_proxy: StartProxy, simulator: Simulator) -> None:
    server = start_proxy(sticky_minutes=30, ratelimit_cooldown_minutes=0)
    simulator.scenario(FIRST, error_name="pool_429", times=1)
    talk: list[dict[str, str]] = []

    def turn(text: str, path: str = "/api/chat") -> str:
        talk.append({"role": "user", "content": text})
        found = server.post(path, {"model": ANY, "messages": talk, "stream": False})
        assert found.ok, found.text
        talk.append({"role": "assistant", "content": "yes"})
        return found.headers["X-OpenRouter-Model"]

    assert [turn(f"turn {number}") for number in range(4)] == [SECOND] * 4
    assert turn("the same in the other API", "/v1/chat/completions") == SECOND
    assert server.chat(ANY, "another conversation").headers["X-OpenRouter-Model"] == FIRST
    prompt = {"model": ANY, "prompt": "turn 0", "stream": False}
    assert server.post("/api/generate", prompt).headers["X-OpenRouter-Model"] == FIRST, "a prompt is no conversation"


def session_of(simulator: Simulator) -> str | None:
    entry = simulator.chats()[-1]
    found: str | None = {name.lower(): value for name, value in entry["headers"].items()}.get("x-session-id")
    return found


def test_upstream_is_told_of_the_conversation(proxy: ProxyServer, simulator: Simulator) -> None:
    proxy.chat("free", "a first question")
    session = session_of(simulator)
    assert session is not None
    assert re.fullmatch(r"[0-9a-f]{32}", session)
    talk = [
        {"role": "user", "content": "a first question"},
        {"role": "assistant", "content": "an answer"},
        {"role": "user", "content": "go on"},
    ]
    for path in ("/api/chat", "/v1/chat/completions", "/v1/messages"):
        proxy.post(path, {"model": "free", "messages": talk, "max_tokens": 50, "stream": False})
        assert session_of(simulator) == session, path
    proxy.post("/v1/responses", {"model": "free", "input": talk})
    assert session_of(simulator) == session
    proxy.chat("free", "another question")
    assert session_of(simulator) not in (None, session)
    proxy.post("/api/generate", {"model": "free", "prompt": "x", "stream": False})
    assert session_of(simulator) is None


@pytest.mark.parametrize(
    ("path", "headers", "fields", "expected"),
    [
        ("/api/chat", {"x-session-id": "mine-1"}, {}, "mine-1"),
        ("/v1/chat/completions", {"session-id": "mine-2"}, {}, "mine-2"),
        ("/v1/chat/completions", {}, {"prompt_cache_key": "key-3"}, "key-3"),
        ("/v1/messages", {"x-session-id": "mine-4"}, {"prompt_cache_key": "key"}, "mine-4"),
    ],
)
def test_a_client_s_own_session_goes_upstream(
    proxy: ProxyServer, simulator: Simulator, path: str, headers: Any, fields: Any, expected: str
) -> None:
    body = {"model": "free", "messages": [HELLO], "max_tokens": 50, "stream": False, **fields}
    assert proxy.post(path, body, headers=headers).ok
    assert session_of(simulator) == expected


def test_a_session_that_is_no_plain_word_is_not_passed_on(proxy: ProxyServer, simulator: Simulator) -> None:
    for bad in ("two words", "x" * 300):
        assert proxy.post("/api/chat", {"model": "free", "messages": [HELLO]}, headers={"x-session-id": bad}).ok
        assert re.fullmatch(r"[0-9a-f]{32}", session_of(simulator) or "")
