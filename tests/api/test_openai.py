"""The OpenAI API through real sockets: a proxy in front of the stand-in OpenRouter."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
import zstandard

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer, wait_for

EMBER = "tidal/ember-4:free"
PAID = "vectorworks/gizmo-2"
USER = [{"role": "user", "content": "a b c"}]
CHAT = "/v1/chat/completions"
ROUTES = {
    CHAT: {"messages": USER},
    "/v1/completions": {"prompt": "a b c"},
    "/v1/responses": {"input": "a b c"},
    "/v1/embeddings": {"input": "a b c"},
}
STREAMED = [CHAT, "/v1/completions", "/v1/responses"]


TAKEN = "a string or a list of strings is taken, and lists of tokens only for models of OpenAI"
ONE_PROMPT = "prompt must be one string: lists of prompts and lists of tokens are not taken"


def model_for(path: str) -> str:
    return "lexicon/embed-small:free" if path == "/v1/embeddings" else "ember-4:free"


def events(text: str) -> list[Any]:
    """The data of the events in a stream; comments are no events."""
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(body: Any) -> str:
    if body["object"] == "response":
        messages = [item for item in body["output"] if item["type"] == "message"]
        return "".join(part["text"] for item in messages for part in item["content"])
    choice = body["choices"][0]
    return choice["message"]["content"] if "message" in choice else choice["text"]


def streamed_text(path: str, said: list[Any]) -> str:
    if path == "/v1/responses":
        return "".join(event["delta"] for event in said if event["type"] == "response.output_text.delta")
    choices = [choice for event in said if event != "[DONE]" for choice in event["choices"]]
    return "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)


# Models


def test_the_models_are_those_of_the_tags(proxy: ProxyServer) -> None:
    listed = proxy.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [tag["name"] for tag in proxy.get("/api/tags").json()["models"]]
    for model in listed["data"]:
        assert set(model) == {"id", "object", "created", "owned_by"}
        assert isinstance(model["created"], int)


@pytest.mark.parametrize(
    "name",
    [
        *("ember-4:free", "tidal/ember-4:free", "tidal%2Fember-4%3Afree", "free", "free:latest"),
        *("lexicon/embed-small:free", "nosuch", "gpt-4o", "vectorworks/gizmo-2"),
    ],
)
def test_a_model_is_found_by_all_its_names(proxy: ProxyServer, name: str) -> None:
    found = proxy.get(f"/v1/models/{name}")
    assert found.status_code == 200
    assert found.json()["id"] == name.replace("%2F", "/").replace("%3A", ":")


@pytest.mark.parametrize("name", ["beacon-24b", "tidal/ember-4:free/x", "a b"])
def test_what_may_not_be_asked_for_is_not_found(proxy: ProxyServer, name: str) -> None:
    answer = proxy.get(f"/v1/models/{name}")
    assert answer.status_code in (400, 404)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_head_is_refused_where_ollama_refuses_it(proxy: ProxyServer) -> None:
    answer = requests.head(f"{proxy.url}/v1/models", timeout=PATIENCE)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


# Answers


@pytest.mark.parametrize("path", STREAMED)
def test_an_answer_is_the_same_streamed_and_whole(proxy: ProxyServer, path: str) -> None:
    body = {"model": "ember-4:free", **ROUTES[path]}
    whole = proxy.post(path, body)
    assert whole.headers["Content-Type"] == "application/json"
    assert whole.headers["X-OpenRouter-Model"] == EMBER
    assert whole.headers["X-Proxy-Attempts"] == "1"
    streamed = proxy.post(path, {**body, "stream": True})
    assert streamed.headers["Content-Type"] == "text/event-stream"
    assert streamed.headers["X-Accel-Buffering"] == "no"
    assert streamed.headers["X-OpenRouter-Model"] == EMBER
    said = events(streamed.text)
    assert streamed_text(path, said) == text_of(whole.json()) == f"This is {EMBER} speaking. You said: a b c"
    assert ("[DONE]" in said) is (path != "/v1/responses")


CACHED = {"type": "ephemeral"}


def test_the_body_goes_up_as_it_was_sent(proxy: ProxyServer, simulator: Simulator) -> None:
    sent = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "é\u2028", "cache_control": {"type": "ephemeral"}}]}
        ],
        "temperature": 0.1,
        "max_tokens": 5,
        "metadata": {"a": "b"},
        "user": "me",
        "unknown": [{"nested": 0}, None],
        "transforms": [],
        "provider": {"order": ["a"]},
    }
    assert proxy.post(CHAT, {"model": "ember-4:free", **sent}).status_code == 200
    [entry] = simulator.chats()
    sent["provider"] = {"order": ["a"], "max_price": {"prompt": "0", "completion": "0"}}
    assert entry["body"] == {"model": EMBER, **sent}


def test_the_clients_key_stays_here(proxy: ProxyServer, simulator: Simulator) -> None:
    headers = {"Authorization": "Bearer sk-or-client", "x-api-key": "sk-or-client", "X-Own-Header": "mine"}
    assert proxy.post(CHAT, {"model": "ember-4:free", "messages": USER}, headers=headers).ok
    [entry] = simulator.chats()
    assert "client" not in json.dumps(entry["headers"])
    assert "mine" not in json.dumps(entry["headers"])
    assert entry["key"].endswith("-key")


@pytest.mark.parametrize("authorization", ["Bearer ", "Bearer", "", "Basic eA=="])
def test_a_stray_authorization_is_no_error(proxy: ProxyServer, authorization: str) -> None:
    headers = {"Authorization": authorization}
    assert proxy.post(CHAT, {"model": "ember-4:free", "messages": USER}, headers=headers).status_code == 200


@pytest.mark.parametrize("path", list(ROUTES))
def test_zstd_bodies_are_read(proxy: ProxyServer, path: str) -> None:
    data = zstandard.compress(json.dumps({"model": model_for(path), **ROUTES[path]}).encode())
    headers = {"Content-Encoding": "zstd"}
    assert requests.post(proxy.url + path, data, headers=headers, timeout=PATIENCE).status_code == 200
    refused = requests.post(proxy.url + path, b"nonsense", headers=headers, timeout=PATIENCE)
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "failed to decompress request body")


def test_a_heartbeat_is_a_comment(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    proxy = start_proxy(heartbeat_seconds=0.2)
    simulator.scenario(EMBER, text="slow", delay_first=0.7)
    text = proxy.post(CHAT, {"model": "ember-4:free", "messages": USER, "stream": True}).text
    assert text.startswith(": keep-alive\n\n")
    assert streamed_text(CHAT, events(text)) == "slow"


# Free mode never pays

ATTEMPTS_TO_SPEND: list[dict[str, Any]] = [
    {"models": [PAID, "openrouter/auto"]},
    {"MODELS": [PAID]},
    {"route": "fallback", "preset": "rich", "fallbacks": [{"model": PAID}]},
    {"plugins": [{"id": "web"}], "web_search_options": {"search_context_size": "high"}},
    {"tools": [{"type": "openrouter:web_search"}, {"type": "web_search"}, {"type": "image_generation"}]},
    {"provider": {"max_price": {"prompt": 1000}, "order": ["openai"]}},
    {"service_tier": "priority", "modalities": ["image", "text"]},
]
NAMES = [
    "ember-4:free", "tidal/ember-4", "free", "nosuch", PAID, f"{PAID}:online", "tidal/ember-4:free:nitro",
    "openrouter/auto", "@preset/rich", "~vectorworks/gizmo-latest", "vectorworks/embed-3", "embed-small:free",
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", list(ROUTES))
def test_free_mode_cannot_be_made_to_pay(forgetful: ProxyServer, simulator: Simulator, path: str, stream: bool) -> None:
    for name in NAMES:
        for spend in ATTEMPTS_TO_SPEND:
            forgetful.post(path, {**ROUTES[path], "stream": stream, **spend, "model": name})
    entries = simulator.chats(minimum=0)
    assert len(entries) >= len(ATTEMPTS_TO_SPEND)
    for entry in entries:
        sent = entry["body"]
        assert sent["model"].endswith(":free")
        assert sent["provider"]["max_price"] == {"prompt": "0", "completion": "0"}
        named = {key.lower() for key in sent}
        assert named.isdisjoint(
            {"models", "route", "preset", "fallbacks", "plugins", "web_search_options", "service_tier", "modalities"}
        )
        assert all(tool["type"] == "function" for tool in sent.get("tools", []))


def test_outside_free_mode_plugins_and_servers_tools_go_up(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    proxy = start_proxy(free_mode=False)
    more = {"plugins": [{"id": "web"}], "tools": [{"type": "openrouter:web_search"}], "models": [PAID]}
    assert proxy.post(CHAT, {"model": "tidal/ember-4:free", "messages": USER, **more}).ok
    [entry] = simulator.chats()
    del more["models"]
    assert entry["body"] == {"model": EMBER, "messages": USER, **more}


# What is wrong with a body


@pytest.mark.parametrize(
    ("path", "data", "status", "message"),
    [
        (CHAT, "", 400, "EOF"),
        (CHAT, "  ", 400, "EOF"),
        (CHAT, "{", 400, "unexpected EOF"),
        (CHAT, "[]", 400, "json: cannot unmarshal array into Go value of type openai.ChatCompletionRequest"),
        (CHAT, "{}", 400, "[] is too short - 'messages'"),
        (CHAT, '{"messages":[{"role":"user","content":"x"}]}', 400, "model is required"),
        (
            CHAT,
            '{"model":"free","messages":[{"role":"user","content":"x"}],"max_tokens":"5"}',
            400,
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.max_tokens of type int",
        ),
        (
            CHAT,
            '{"model":"free","messages":[{"role":"user","content":"x"}],"seed":1.5}',
            400,
            "json: cannot unmarshal number 1.5 into Go struct field ChatCompletionRequest.seed of type int",
        ),
        (CHAT, '{"model":"free","messages":[{"role":"user"}]}', 400, "invalid message content type: <nil>"),
        (
            CHAT,
            '{"model":"free","messages":[{"role":"user","content":5}]}',
            400,
            "invalid message content type: float64",
        ),
        (CHAT, '{"model":"!bad","messages":[{"role":"user","content":"x"}]}', 400, "invalid model name"),
        (
            CHAT,
            '{"model":"embed-small:free","messages":[{"role":"user","content":"x"}]}',
            400,
            '"embed-small:free" does not support chat',
        ),
        ("/v1/completions", '{"prompt":"x"}', 404, "model '' not found"),
        (
            "/v1/completions",
            '{"model":"free","prompt":{"x":1}}',
            400,
            "json: cannot unmarshal object into Go struct field CompletionRequest.prompt of type string",
        ),
        ("/v1/embeddings", '{"model":"embed-small:free"}', 400, "invalid input"),
        ("/v1/embeddings", '{"model":"embed-small:free","input":[]}', 400, "invalid input"),
        ("/v1/embeddings", '{"model":"embed-small:free","input":[1,2]}', 400, f"invalid input type: {TAKEN}"),
        ("/v1/embeddings", '{"model":"embed-small:free","input":[[1],[2]]}', 400, f"invalid input type: {TAKEN}"),
        ("/v1/completions", '{"model":"ember-4:free","prompt":["a","b"]}', 400, ONE_PROMPT),
        ("/v1/completions", '{"model":"ember-4:free","prompt":[[1,2]]}', 400, ONE_PROMPT),
        (
            "/v1/embeddings",
            '{"model":"embed-small:free","input":"x","encoding_format":"bogus"}',
            400,
            "Invalid value for 'encoding_format' = bogus. Supported values: ['float', 'base64'].",
        ),
        ("/v1/embeddings", '{"input":"x"}', 404, "model '' not found"),
        ("/v1/embeddings", '{"model":"nosuch","input":"x"}', 404, 'model "nosuch" not found, try pulling it first'),
        ("/v1/embeddings", '{"model":"free","input":"x"}', 404, 'model "free" not found, try pulling it first'),
        ("/v1/responses", '{"input":"x"}', 400, "model is required"),
    ],
)
def test_bad_bodies_are_refused_in_ollamas_words(
    proxy: ProxyServer, simulator: Simulator, path: str, data: str, status: int, message: str
) -> None:
    answer = requests.post(proxy.url + path, data.encode(), timeout=PATIENCE)
    kind = {400: "invalid_request_error", 404: "not_found_error"}[status]
    assert answer.json() == {"error": {"message": message, "type": kind, "param": None, "code": None}}
    assert answer.status_code == status
    assert simulator.chats(minimum=0) == []


# Failures upstream


@pytest.mark.parametrize(
    ("error", "status"), [("401_bad_key", 502), ("402_credits", 502), ("403_key_limit", 502), ("free_per_day", 429)]
)
def test_what_is_wrong_with_our_account_is_no_fault_of_the_client(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, error: str, status: int
) -> None:
    proxy = start_proxy()
    simulator.scenario("*", error_name=error, reset_in=3600)
    for path in ROUTES:
        answer = proxy.post(path, {"model": model_for(path), **ROUTES[path], "stream": path != "/v1/embeddings"})
        assert answer.status_code == status
        assert "upstream error" in answer.json()["error"]["message"]
        assert "user_" not in answer.text
        assert " UTC, in " in answer.text or status != 429
    assert len(simulator.chats()) == 1, "it is not asked again while it is known what is wrong"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", STREAMED)
@pytest.mark.parametrize(
    "failure",
    [{"error_name": "pool_429"}, {"empty": True}, {"error_in_200_json": True, "error_name": "502"}],
    ids=["rate limit", "empty", "error in a 200"],
)
def test_a_failing_model_is_stood_in_for_before_the_client_sees_anything(
    forgetful: ProxyServer, simulator: Simulator, path: str, stream: bool, failure: dict[str, Any]
) -> None:
    simulator.scenario(EMBER, **failure)
    answer = forgetful.post(path, {"model": "ember-4:free", **ROUTES[path], "stream": stream})
    assert answer.status_code == 200
    assert answer.headers["X-Proxy-Attempts"] == "2"
    other = answer.headers["X-OpenRouter-Model"]
    assert other != EMBER
    text = streamed_text(path, events(answer.text)) if stream else text_of(answer.json())
    assert text == f"This is {other} speaking. You said: a b c"


@pytest.mark.parametrize("error", ["404_privacy", "404_no_endpoints"])
@pytest.mark.parametrize("path", [*STREAMED, "/v1/messages"])
def test_what_the_clients_own_providers_rule_out_is_not_remembered(
    forgetful: ProxyServer, simulator: Simulator, path: str, error: str
) -> None:
    simulator.queue(EMBER, {"error_name": error})
    body = {"model": "ember-4:free", **ROUTES.get(path, {"messages": USER, "max_tokens": 99})}
    other = forgetful.post(path, {**body, "provider": {"data_collection": "deny"}})
    assert (other.status_code, other.headers["X-Proxy-Attempts"]) == (200, "2")
    assert forgetful.post(path, body).headers["X-OpenRouter-Model"] == EMBER


def test_no_other_model_embeds(forgetful: ProxyServer, simulator: Simulator) -> None:
    simulator.scenario("lexicon/embed-small:free", error_name="502", times=2)
    for status in (502, 502, 200):
        answer = forgetful.post("/v1/embeddings", {"model": "embed-small:free", "input": "x"})
        assert answer.status_code == status
    assert {entry["model"] for entry in simulator.chats()} == {"lexicon/embed-small:free"}


@pytest.mark.parametrize("path", STREAMED)
@pytest.mark.parametrize(
    "failure", [{"in_stream_error": 8, "error_name": "502"}, {"early_close": 8}, {"early_end": 8}], ids=str
)
def test_a_stream_that_breaks_ends_in_an_error(
    forgetful: ProxyServer, simulator: Simulator, path: str, failure: dict[str, Any]
) -> None:
    simulator.scenario(EMBER, tokens=20, **failure)
    said = events(forgetful.post(path, {"model": "ember-4:free", **ROUTES[path], "stream": True}).text)
    assert "upstream error" in said[-1]["error"]["message"]
    assert "[DONE]" not in said
    broken = said[:-1] if path != "/v1/responses" else said[:-2]
    assert streamed_text(path, broken).startswith("t0 t1")
    if path == "/v1/responses":
        assert said[-2]["type"] == "response.failed"


def test_the_finish_of_tool_calls_comes_once(proxy: ProxyServer) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    body = {"model": "ember-4:free", "messages": [{"role": "user", "content": "weather"}], "tools": tools}
    said = events(proxy.post(CHAT, {**body, "stream": True, "stream_options": {"include_usage": True}}).text)
    choices = [choice for event in said[:-1] for choice in event["choices"]]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["tool_calls"]
    assert any(choice["delta"].get("tool_calls") for choice in choices)
    assert [event["choices"] for event in said[:-1] if "usage" in event] == [[]]


@pytest.mark.parametrize("wanted", [None, "float", "base64", "BASE64"])
@pytest.mark.parametrize("given", ["float", "base64"])
def test_vectors_come_in_the_encoding_that_was_asked_for(
    proxy: ProxyServer, simulator: Simulator, wanted: str | None, given: str
) -> None:
    body = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.0, -1.0]}], "model": "m"}
    if given == "base64":
        body["data"][0]["embedding"] = "AAAAAAAAgL8="  # type: ignore[index]
    simulator.scenario("lexicon/embed-small:free", status=200, body=body)
    asked = {} if wanted is None else {"encoding_format": wanted}
    answer = proxy.post("/v1/embeddings", {"model": "embed-small:free", "input": "x", **asked}).json()
    expected: Any = "AAAAAAAAgL8=" if (wanted or "").lower() == "base64" else [0.0, -1.0]
    assert answer["data"] == [{"object": "embedding", "index": 0, "embedding": expected}]


def test_usage_is_noted_in_the_log(proxy: ProxyServer) -> None:
    requested = [
        proxy.post(path, {"model": "ember-4:free", **ROUTES[path], "stream": stream}).headers["X-Request-Id"]
        for path in STREAMED
        for stream in (False, True)
    ]

    def noted() -> dict[str, Any]:
        lines = [json.loads(line) for line in proxy.log().splitlines() if '"event":"request"' in line]
        return {line["request_id"]: line for line in lines}

    wait_for(lambda: set(requested) <= set(noted()), what="all requests are in the log")
    lines = [noted()[one] for one in requested]
    assert all(line["completion_tokens"] > 0 and line["prompt_tokens"] > 0 for line in lines)
    assert {line["model"] for line in lines} == {EMBER}


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_usage_comes_in_a_stream_if_it_is_asked_for_in_openrouters_words(proxy: ProxyServer, path: str) -> None:
    body = {"model": "ember-4:free", **ROUTES[path], "stream": True}
    for include in (True, False):
        said = events(proxy.post(path, {**body, "usage": {"include": include}}).text)
        assert [event["choices"] for event in said[:-1] if "usage" in event] == [[]] * include


NOTHING = {
    "messages without a part": (CHAT, {"messages": [{"role": "user", "content": []}]}),
    "no prompt": ("/v1/completions", {}),
    "an empty prompt": ("/v1/completions", {"prompt": ""}),
    "no input": ("/v1/responses", {}),
    "an empty input": ("/v1/responses", {"input": ""}),
    "an empty list": ("/v1/responses", {"input": []}),
}


@pytest.mark.parametrize("case", NOTHING.values(), ids=NOTHING)
def test_who_says_nothing_spends_no_request(
    proxy: ProxyServer, simulator: Simulator, case: tuple[str, dict[str, Any]]
) -> None:
    path, fields = case
    answer = proxy.post(path, {"model": "ember-4", **fields}).json()
    said = events(proxy.post(path, {"model": "ember-4", **fields, "stream": True}).text)
    if path == CHAT:
        [choice] = answer["choices"]
        assert (choice["message"], choice["finish_reason"]) == ({"role": "assistant", "content": ""}, "load")
        assert [said[0]["choices"][0]["finish_reason"], *said[1:]] == ["load", "[DONE]"]
        assert said[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    elif path == "/v1/completions":
        assert [(choice["text"], choice["finish_reason"]) for choice in answer["choices"]] == [("", "load")]
        assert [said[0]["choices"][0]["finish_reason"], *said[1:]] == ["load", "[DONE]"]
    else:
        assert (answer["status"], answer["output"], answer["model"]) == ("completed", [], "ember-4")
        assert [event["type"] for event in said] == ["response.created", "response.completed"]
    assert proxy.post(path, {"model": "beacon-24b", **fields}).status_code == 404
    assert simulator.chats() == []
