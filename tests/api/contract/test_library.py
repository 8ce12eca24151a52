"""docs/contract.md, "Endpoints": pulling, pushing, and what only ollama.com has."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.contract.wire import JSON, NDJSON, PLAIN_JSON, Row, check, post
from tests.servers import ProxyServer

ABSENT = "pull model manifest: file does not exist"
PULLED = [{"status": text} for text in ("pulling manifest", "verifying sha256 digest", "writing manifest", "success")]


@pytest.mark.parametrize("name", ["ember-4", "tidal/ember-4:free", "embed-small", "free"])
def test_a_listed_model_is_pulled_at_once(proxy: ProxyServer, name: str) -> None:
    answer = check(proxy, Row("POST", "/api/pull", {"model": name}, type=NDJSON))
    first, layer, *rest = [json.loads(line) for line in answer.body.splitlines()]
    assert [first, *rest] == PULLED
    digest = layer["digest"].removeprefix("sha256:")
    assert layer == {
        "status": f"pulling {digest[:12]}",
        "digest": f"sha256:{digest}",
        "total": layer["total"],
        "completed": layer["total"],
    }
    assert digest in {model["digest"] for model in proxy.get("/api/tags").json()["models"]}
    assert answer.body.endswith(b"\n")
    whole = Row("POST", "/api/pull", {"name": name, "stream": False}, want='{"status":"success"}', type=PLAIN_JSON)
    check(proxy, whole)


@pytest.mark.parametrize("name", ["llama3", "omni-4", "gpt-4o:latest"])
def test_in_free_mode_a_name_that_would_be_answered_is_pulled_too(proxy: ProxyServer, name: str) -> None:
    answer = check(proxy, Row("POST", "/api/pull", {"model": name}, type=NDJSON))
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line for line in lines if line in PULLED] == PULLED
    assert any("no model of this name" in line["status"] for line in lines)


def test_outside_free_mode_only_what_there_is_is_pulled(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(free_mode=False)
    check(server, post("/api/pull", {"model": "llama3"}, 501, ABSENT, type=PLAIN_JSON))
    check(server, Row("POST", "/api/pull", {"model": "omni-4"}, type=NDJSON))
    found = check(server, Row("GET", "/api/experimental/model-recommendations")).json()["recommendations"]
    listed = {model["id"] for model in server.get("/v1/models").json()["data"]}
    assert found
    for entry in found:
        assert {entry["model"], f"{entry['model']}:latest"} & listed
        assert not entry["model"].endswith(":latest")
    assert server.get("/v1/models/llama3").status_code == 404


HERE = "the models of this server are OpenRouter's"
REFUSED = {
    "pull of a model of ollama.com": post("/api/pull", {"model": "x:cloud"}, 501, ABSENT, type=PLAIN_JSON),
    "pull of one of two": post(
        "/api/pull",
        {"model": "beacon-24b", "stream": False},
        501,
        f"{ABSENT} (say which one you mean, 'harbor/beacon-24b:free' or 'lantern/beacon-24b:free')",
        type=PLAIN_JSON,
    ),
    "pull of nothing": post("/api/pull", {}, 400, "invalid model name"),
    "pull of no name": post("/api/pull", {"model": "a b"}, 400, "invalid model name"),
    "push": post("/api/push", {"model": "ember-4"}, 501, f"models cannot be pushed: {HERE}", type=PLAIN_JSON),
    "push of nothing": post("/api/push", {}, 400, "model is required"),
    "who am I": post("/api/me", {}, 501, "this server has no accounts at ollama.com, and its models need none"),
    "sign out": post("/api/signout", None, 401, "you are not currently signed in"),
    "sign out, as before": Row(
        "DELETE", "/api/user/keys/a2V5", None, 401, {"error": "you are not currently signed in"}
    ),
    "a web search": post(
        "/api/experimental/web_search", {"query": "x"}, 403, "ollama cloud is disabled: web search is unavailable"
    ),
    "a web search for nothing": post("/api/experimental/web_search", b"", 400, "missing request body"),
    "a page": post(
        "/api/experimental/web_fetch", {"url": "x"}, 403, "ollama cloud is disabled: web fetch is unavailable"
    ),
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line(proxy: ProxyServer, row: Row) -> None:
    check(proxy, row)


def test_no_cloud_here(proxy: ProxyServer) -> None:
    check(proxy, Row("GET", "/api/status", want='{"cloud":{"disabled":true,"source":"config"}}'))


def test_recommended_are_models_of_the_list_that_can_use_tools(proxy: ProxyServer) -> None:
    answer = check(proxy, Row("GET", "/api/experimental/model-recommendations", type=JSON))
    tags: list[dict[str, Any]] = proxy.get("/api/tags").json()["models"]
    able = {tag["name"] for tag in tags if "tools" in tag["capabilities"]}
    found = answer.json()["recommendations"]
    assert 0 < len(found) <= 6
    assert found[0]["model"] == "free", "the pickers show names as people write them"
    for entry in found:
        assert {entry["model"], f"{entry['model']}:latest"} & able
        assert set(entry) == {"model", "description", "context_length"}
