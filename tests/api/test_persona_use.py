"""Personas and aliases in use, in all three APIs: what goes upstream, who answers, what is listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from ollama_proxy.catalog.persona import Persona
from simulator.process import Simulator
from tests.personas import library_of
from tests.servers import ProxyServer, wait_for
from tests.unit.catalog.personas import persona

Json = dict[str, Any]
EMBER, BEST = "tidal/ember-4:free", "nimbus/cirrus-ultra:free"
ANSWERED_BY = "X-OpenRouter-Model"
ASK, SAY = {"role": "user", "content": "who are you?"}, {"role": "assistant", "content": "It's me!"}
HI = {"role": "user", "content": "hi"}
SYSTEM = "You are Mario."
MARIO = persona(
    "mario:latest",
    EMBER,
    system=SYSTEM,
    messages=(ASK, SAY),
    parameters={"temperature": 0.6, "num_predict": 50, "stop": ["USER:"]},
    template="{{ .Prompt }}",
    modified=5.0,
)
PERSONAS = (
    MARIO,
    persona("best:latest", "free:fast", system="Be quick.", modified=4.0),
    persona("dear:latest", "vertex/omni-4", system="Be dear.", modified=3.0),
    persona("lost:latest", "gone/gone-1b:free", system="Be found.", modified=2.0),
    persona("vectors:latest", "lexicon/embed-small:free", system="not used", modified=1.0),
    persona("seer:latest", "pebble/plain-8b:free", system="See.", parameters={"top_k": "many"}, modified=0.5),
    persona("claude-haiku-4-5:latest", EMBER, modified=0.0),
)
ALIASES = "claude-haiku-*=free:fast, claude-*=mario, gpt-4o-mini=ember-4:free, text-embedding-3-*=embed-small:free"


def put(server: ProxyServer, *personas: Persona) -> ProxyServer:
    """Write personas as another process would, and wait until the server knows them."""
    with library_of(f"sqlite:///{server.directory / 'proxy.db'}") as library:
        for one in personas:
            library.save(one)
    last = personas[-1].name
    wait_for(lambda: last in server.get("/api/proxy/personas").text, what="the personas are known")
    return server


@pytest.fixture(scope="module")
def shared_mario(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    folder = tmp_path_factory.mktemp("personas")
    forgets = {"failure_cooldown_minutes": 0, "ratelimit_cooldown_minutes": 0, "free_requests_per_minute": 0}
    with ProxyServer(folder, shared_simulator.url, model_aliases=ALIASES, **forgets) as server:
        yield put(server, *PERSONAS)


@pytest.fixture
def mario(shared_mario: ProxyServer, simulator: Simulator) -> ProxyServer:
    """A server with personas and aliases, in front of the reset simulator."""
    return shared_mario


def sent(simulator: Simulator) -> Json:
    """The one body that went up."""
    (entry,) = simulator.chats()
    body: Json = entry["body"]
    return body


# Each API, and its fields that hold what the persona says

WAYS = {
    "ollama chat": ("/api/chat", {"messages": [HI]}),
    "ollama generate": ("/api/generate", {"prompt": "hi"}),
    "chat completions": ("/v1/chat/completions", {"messages": [HI]}),
    "responses": ("/v1/responses", {"input": "hi"}),
    "messages": ("/v1/messages", {"messages": [HI], "max_tokens": 70}),
}
SYSTEM_MESSAGE = {"role": "system", "content": SYSTEM}
GOES_UP: dict[str, Json] = {
    "ollama chat": {"messages": [SYSTEM_MESSAGE, ASK, SAY, HI], "max_tokens": 50, "stop": ["USER:"]},
    "ollama generate": {"messages": [SYSTEM_MESSAGE, ASK, SAY, HI], "max_tokens": 50, "stop": ["USER:"]},
    "chat completions": {"messages": [SYSTEM_MESSAGE, ASK, SAY, HI], "max_tokens": 50, "stop": ["USER:"]},
    "responses": {
        "instructions": SYSTEM,
        "input": [
            {"type": "message", **ASK},
            {"type": "message", **SAY, "id": "msg_persona_1", "status": "completed"},
            HI,
        ],
        "max_output_tokens": 50,
    },
    "messages": {"system": SYSTEM, "messages": [ASK, SAY, HI], "max_tokens": 70, "stop_sequences": ["USER:"]},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("way", WAYS)
def test_a_persona_answers_in_every_api(mario: ProxyServer, simulator: Simulator, way: str, stream: bool) -> None:
    path, fields = WAYS[way]
    answer = mario.post(path, {"model": "mario", "stream": stream, **fields})
    assert answer.status_code == 200, answer.text
    assert answer.headers[ANSWERED_BY] == EMBER
    expected = {"model": EMBER, "temperature": 0.6, **GOES_UP[way]}
    body = sent(simulator)
    assert {name: body.get(name) for name in expected} == expected
    if path.startswith("/api/"):
        assert '"model":"mario"' in answer.text


@pytest.mark.parametrize("way", WAYS)
def test_a_persona_follows_the_request_to_whoever_answers(mario: ProxyServer, simulator: Simulator, way: str) -> None:
    simulator.scenario(EMBER, error_name="pool_429", times=1)
    path, fields = WAYS[way]
    answer = mario.post(path, {"model": "mario", "stream": False, **fields})
    assert answer.headers[ANSWERED_BY] == BEST
    bodies = [entry["body"] for entry in simulator.chats()]
    assert [body["model"] for body in bodies] == [EMBER, BEST]
    assert SYSTEM in str(bodies[1])
    assert SAY["content"] in str(bodies[1])
    assert bodies[1]["temperature"] == 0.6


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        pytest.param("/api/chat", {"messages": [{"role": "system", "content": "x"}, HI]}, id="ollama chat"),
        pytest.param("/api/generate", {"prompt": "hi", "system": "x"}, id="ollama generate"),
        pytest.param("/v1/chat/completions", {"messages": [{"role": "developer", "content": "x"}, HI]}, id="chat"),
        pytest.param("/v1/responses", {"input": "hi", "instructions": "x"}, id="responses"),
        pytest.param("/v1/messages", {"messages": [HI], "system": "x", "max_tokens": 9}, id="messages"),
    ],
)
def test_a_system_of_the_request_stands_in_the_place_of_the_personas(
    mario: ProxyServer, simulator: Simulator, path: str, fields: Json
) -> None:
    assert mario.post(path, {"model": "mario", "stream": False, **fields}).ok
    body = str(sent(simulator))
    assert SYSTEM not in body
    assert SAY["content"] in body


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_an_empty_request_loads_it_and_sends_nothing(mario: ProxyServer, simulator: Simulator, path: str) -> None:
    assert mario.post(path, {"model": "mario"}).json()["done_reason"] == "load"
    assert simulator.chats() == []


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        pytest.param("/api/embed", {"input": "hi"}, id="embed"),
        pytest.param("/api/embeddings", {"prompt": "hi"}, id="the older form"),
        pytest.param("/v1/embeddings", {"input": "hi"}, id="openai"),
    ],
)
@pytest.mark.parametrize("name", ["vectors", "text-embedding-3-small"])
def test_a_persona_and_an_alias_of_an_embedding_model_embed(
    mario: ProxyServer, simulator: Simulator, name: str, path: str, fields: Json
) -> None:
    assert mario.post(path, {"model": name, **fields}).ok
    (entry,) = simulator.log(path="/api/v1/embeddings")
    assert entry["body"]["model"] == "lexicon/embed-small:free"
    assert "not used" not in str(entry["body"])


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_a_persona_of_an_embedding_model_does_not_chat(mario: ProxyServer, path: str) -> None:
    answer = mario.post(path, {"model": "vectors", "messages": [HI]})
    assert answer.status_code == 400
    assert "does not support chat" in answer.text
    assert mario.post("/api/embed", {"model": "mario", "input": "hi"}).status_code == 400


@pytest.mark.parametrize(
    ("name", "system"),
    [pytest.param("dear", "Be dear.", id="a paid model"), pytest.param("lost", "Be found.", id="a model that is gone")],
)
def test_free_mode_cannot_be_made_to_pay_through_a_persona(
    mario: ProxyServer, simulator: Simulator, name: str, system: str
) -> None:
    answer = mario.chat(name)
    assert answer.headers[ANSWERED_BY] == BEST
    assert answer.json()["model"] == name
    body = sent(simulator)
    assert (body["model"], body["messages"][0]) == (BEST, {"role": "system", "content": system})


def test_a_parameter_of_a_wrong_type_fails_when_it_is_used(mario: ProxyServer, simulator: Simulator) -> None:
    for path, fields in WAYS.values():
        answer = mario.post(path, {"model": "seer", **fields})
        assert (answer.status_code, 'option \\"top_k\\" must be of type integer' in answer.text) == (400, True), path
    assert simulator.chats() == []


@pytest.mark.parametrize(
    ("name", "path", "fields", "model"),
    [
        pytest.param("gpt-4o-mini", "/v1/chat/completions", {"messages": [HI]}, EMBER, id="a model"),
        pytest.param("GPT-4o-mini:latest", "/api/chat", {"messages": [HI]}, EMBER, id="in any spelling"),
        pytest.param("claude-opus-5", "/v1/messages", {"messages": [HI], "max_tokens": 9}, EMBER, id="a persona"),
        pytest.param(
            "claude-haiku-4-5", "/v1/messages", {"messages": [HI], "max_tokens": 9}, EMBER, id="not a persona"
        ),
    ],
)
def test_an_alias_says_what_a_built_in_name_means(
    mario: ProxyServer, simulator: Simulator, name: str, path: str, fields: Json, model: str
) -> None:
    answer = mario.post(path, {"model": name, "stream": False, **fields})
    assert answer.ok, answer.text
    assert answer.headers[ANSWERED_BY] == model
    body = sent(simulator)
    assert body["model"] == model
    assert (SYSTEM in str(body)) is (name == "claude-opus-5")
    if path == "/api/chat":
        assert answer.json()["model"] == name


def test_an_alias_of_an_order_orders(mario: ProxyServer, simulator: Simulator) -> None:
    assert mario.chat("claude-haiku-3").ok
    by_alias = sent(simulator)["model"]
    mario.chat("free:fast")
    assert by_alias == simulator.chats()[-1]["body"]["model"]


def test_aliases_work_strictly_and_in_paid_mode(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    server = start_proxy(free_mode="false", strict_models="true", model_aliases="gpt-*=omni-4, claude-*=free")
    assert server.chat("gpt-4o").headers[ANSWERED_BY] == "vertex/omni-4"
    assert server.chat("claude-opus-5").headers[ANSWERED_BY] in (BEST, "orchid/lumen-vl-32b:free")
    assert server.chat("nobody").status_code == 404


def test_who_asks_first_is_answered_too(mario: ProxyServer) -> None:
    listed = [entry["id"] for entry in mario.get("/v1/models").json()["data"]]
    assert listed[:4] == ["free:latest", "free:fast", "free:smart", "free:coding"]
    assert listed[4:11] == [one.name for one in PERSONAS]
    one = mario.get("/v1/models/mario").json()
    assert one == {"id": "mario", "object": "model", "created": 5, "owned_by": "library"}
    assert mario.get("/v1/models/gpt-4o-mini").json()["owned_by"] == "tidal"
    assert mario.post("/api/show", {"model": "gpt-4o-mini"}).ok
    pulled = mario.post("/api/pull", {"model": "claude-haiku-3"}).text
    assert "success" in pulled
    assert "answer in its place" not in pulled


def test_a_report_says_what_each_name_means(mario: ProxyServer) -> None:
    personas = {one["name"]: one for one in mario.get("/api/proxy/personas").json()["personas"]}
    assert list(personas) == [one.name for one in PERSONAS]
    assert (personas["mario:latest"]["means"], personas["mario:latest"]["why"]) == (EMBER, None)
    assert personas["best:latest"]["means"] == "free:fast"
    assert (personas["lost:latest"]["means"], personas["lost:latest"]["why"]) == (None, "no model here is called so")
    aliases = mario.get("/api/proxy/models").json()["aliases"]
    assert [(one["pattern"], one["target"], one["means"]) for one in aliases] == [
        ("claude-haiku-*", "free:fast", "free:fast"),
        ("claude-*", "mario", EMBER),
        ("gpt-4o-mini", "ember-4:free", EMBER),
        ("text-embedding-3-*", "embed-small:free", "lexicon/embed-small:free"),
    ]


def test_the_doctor_finds_names_that_mean_nothing_or_stand_in_the_way(
    start_proxy: Callable[..., ProxyServer],
) -> None:
    server = put(
        start_proxy(model_aliases="a-*=no/such:model, ember-4:free=free, best=mario"),
        MARIO,
        persona("lost:latest", "gone/gone-1b:free"),
        persona("plain-8b:free", EMBER),
    )
    findings = server.get("/api/proxy/doctor").json()["findings"]
    told = {(one["grade"], one["text"]) for one in findings if one["subject"] in ("aliases", "personas")}
    assert told == {
        ("wrong", "a-*=no/such:model in MODEL_ALIASES means nothing: no model here is called so"),
        ("note", "ember-4:free=free is not used: a model or a persona has that name, and goes first"),
        ("note", "lost:latest is made of gone/gone-1b:free, but no model here is called so"),
        (
            "note",
            "plain-8b:free has the name of pebble/plain-8b:free, which is listed now: the persona answers for it",
        ),
    }


def test_the_log_keeps_the_name_that_was_asked_for(mario: ProxyServer) -> None:
    mario.chat("mario")
    mario.chat("claude-haiku-3")

    def logged() -> list[tuple[str, str]]:
        rows = mario.get("/api/proxy/log", params={"limit": 2}).json()["requests"]
        return [(row["asked"], row["model"]) for row in rows]

    wait_for(lambda: [asked for asked, _ in logged()] == ["claude-haiku-3", "mario"], what="the log has both")
    assert logged()[1] == ("mario", EMBER)


def test_no_key_is_kept_because_a_pattern_fits_it(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(model_aliases="*=free:fast")
    assert server.chat("sk-or-v1-0123456789abcdef0123456789abcdef").ok
    server.chat("free")
    wait_for(lambda: len(server.get("/api/proxy/log").json()["requests"]) == 2, what="the log has both")
    assert "0123456789abcdef" not in server.get("/api/proxy/log").text + server.get("/api/ps").text + server.log()


def test_deleting_a_persona_in_use_harms_no_answer(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    server = put(start_proxy(strict_models="true"), MARIO)
    simulator.scenario(EMBER, tokens=40, hold="middle", hold_at=5, times=1)
    with server.chat("mario", stream=True) as answer:
        lines = answer.iter_lines()
        next(lines)
        with library_of(f"sqlite:///{server.directory / 'proxy.db'}") as library:
            library.remove("mario")
        wait_for(lambda: server.chat("mario").status_code == 404, what="it is gone")
        simulator.release("middle")
        assert b'"done":true' in list(lines)[-1]


def test_a_conversation_with_a_persona_is_its_own(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    """It stays with who answered it, and what is answered under another name stays apart."""
    server = put(start_proxy(sticky_minutes=30), MARIO, persona("luigi:latest", EMBER, system="You are Luigi."))
    simulator.scenario(EMBER, error_name="pool_429", times=1)
    talk = [HI, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "go on"}]
    assert server.chat("mario", text="hi").headers[ANSWERED_BY] == BEST
    requests.delete(f"{server.url}/api/proxy/failures", timeout=10)
    body = {"messages": talk, "stream": False}
    assert server.post("/api/chat", {"model": "mario", **body}).headers[ANSWERED_BY] == BEST
    assert server.post("/api/chat", {"model": "luigi", **body}).headers[ANSWERED_BY] == EMBER
    assert server.post("/api/chat", {"model": EMBER, **body}).headers[ANSWERED_BY] == EMBER
