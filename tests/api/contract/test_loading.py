"""docs/contract.md, "Requests" and "Endpoints": loading, unloading, and what is listed as loaded."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from simulator.process import Simulator
from tests.api.contract.wire import Row, check
from tests.servers import ProxyServer

CHAT, GENERATE = "/api/chat", "/api/generate"
NOTHING = {
    "chat without messages": (CHAT, {}, "load"),
    "chat with none": (CHAT, {"messages": []}, "load"),
    "chat with null": (CHAT, {"messages": None, "stream": True}, "load"),
    "chat, unloading": (CHAT, {"messages": [], "keep_alive": 0}, "unload"),
    "generate without a prompt": (GENERATE, {}, "load"),
    "generate with an empty one": (GENERATE, {"prompt": "", "stream": True}, "load"),
    "generate, not streamed": (GENERATE, {"prompt": "", "stream": False, "keep_alive": -1}, "load"),
    "unloading with 0": (GENERATE, {"keep_alive": 0}, "unload"),
    "unloading with 0.0": (GENERATE, {"keep_alive": 0.0}, "unload"),
    "unloading with a text": (GENERATE, {"keep_alive": "0"}, "unload"),
    "unloading as ollama stop does": (
        GENERATE,
        {"prompt": "", "suffix": "", "system": "", "template": "", "keep_alive": "0s", "options": None},
        "unload",
    ),
    "unloading skips the checks": (GENERATE, {"keep_alive": 0, "options": {"seed": "x"}}, "unload"),
    "unloading an embedding model": (GENERATE, {"model": "embed-small", "keep_alive": 0}, "unload"),
}


@pytest.mark.parametrize("case", NOTHING.values(), ids=NOTHING)
def test_nothing_to_say_is_answered_here(
    proxy: ProxyServer, simulator: Simulator, case: tuple[str, dict[str, Any], str]
) -> None:
    path, fields, reason = case
    said: dict[str, Any] = {"message": {"role": "assistant", "content": ""}} if path == CHAT else {"response": ""}
    body = {"model": "ember-4"} | fields
    want = {"model": body["model"], "done": True, "done_reason": reason} | said
    answer = check(proxy, Row("POST", path, body, want=want)).json()
    assert set(answer) == {*want, "created_at"}, "no metrics"
    assert simulator.chats() == []


def loaded(server: ProxyServer) -> dict[str, float]:
    """The models that /api/ps lists, and for how many seconds yet."""
    models = check(server, Row("GET", "/api/ps")).json()["models"]
    return {model["name"]: datetime.fromisoformat(model["expires_at"]).timestamp() - time.time() for model in models}


FOREVER = 9e9
KEPT = {
    "the default": (None, 300),
    "seconds": (30, 30),
    "a fraction": (30.5, 30.5),
    "a duration": ("1h30m", 5400),
    "forever": (-1, FOREVER),
    "forever as a duration": ("-1m", FOREVER),
    "forever as clients write it": ("-1", FOREVER),
}


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT)
def test_a_model_stays_loaded_for_its_keep_alive(start_proxy: Callable[..., ProxyServer], case: Any) -> None:
    keep_alive, seconds = case
    server = start_proxy()
    assert loaded(server) == {}
    check(server, Row("POST", GENERATE, {"model": "Ember-4", "keep_alive": keep_alive}))
    assert set(loaded(server)) == {"ember-4:free", "Ember-4:latest"}, "clients look for what they asked for"
    left = loaded(server)["ember-4:free"]
    assert left > FOREVER if seconds == FOREVER else seconds - 20 < left <= seconds
    check(server, Row("POST", GENERATE, {"model": "ember-4:free", "keep_alive": 0}, want={"done_reason": "unload"}))
    assert loaded(server) == {}


def test_what_is_used_is_loaded_and_the_last_to_go_comes_first(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy()
    server.chat("ember-4", keep_alive=100)
    server.chat("free", keep_alive=200)
    server.post("/api/embed", {"model": "embed-small", "input": "a", "keep_alive": 50})
    server.post("/api/embeddings", {"model": "embed-large"})
    server.chat("cirrus-ultra", keep_alive=0)
    listed = [name for name in loaded(server) if not name.endswith(":latest") or name == "free:latest"]
    assert listed == ["embed-large:free", "free:latest", "ember-4:free", "embed-small:free"]
    entry = next(model for model in check(server, Row("GET", "/api/ps")).json()["models"] if model["name"] == listed[2])
    assert list(entry) == ["name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length"]
    assert entry["context_length"] == 100_000
    assert entry["size"] > 0
    assert all(entry["details"][key] for key in ("format", "family"))
