"""The simulator does what its docstring says: over real sockets, as a child process, without sleeps."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from simulator.errors import ERRORS
from simulator.process import Simulator

KEY = {"Authorization": "Bearer sk-or-v1-test"}
PLAIN = "pebble/plain-8b:free"
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def sim(shared: Simulator) -> Simulator:
    shared.reset()
    return shared


def post(sim: Simulator, path: str = "/chat/completions", /, model: str = PLAIN, **body: Any) -> requests.Response:
    if path == "/chat/completions":
        body.setdefault("messages", [{"role": "user", "content": "Hello you"}])
    session = body.pop("session", requests)
    return session.post(
        sim.url + path,
        json={"model": model, **body},
        headers=KEY,
        stream=bool(body.get("stream")),
        timeout=10,
        verify=sim.ca_file or True,
    )


def payloads(data: bytes) -> list[Any]:
    lines = [line[6:] for line in data.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: ")]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


def text(events: list[Any], member: str = "content") -> str:
    choices = [event["choices"][0] for event in events if isinstance(event, dict) and event["choices"]]
    return "".join(choice["delta"].get(member) or "" for choice in choices)


def test_a_stream_has_comments_deltas_finish_usage_and_done(sim: Simulator) -> None:
    response = post(sim, stream=True)
    events = payloads(response.content)
    assert response.content.startswith(b": OPENROUTER PROCESSING\n\n")
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["X-Generation-Id"] == events[0]["id"]
    assert text(events) == f"This is {PLAIN} speaking. You said: Hello you"
    assert [event["choices"][0]["finish_reason"] for event in events[-3:-1]] == ["stop", "stop"]
    assert events[-2]["usage"]["completion_tokens"] == 8
    assert events[-1] == "[DONE]"


def test_a_whole_answer_is_json_behind_padding(sim: Simulator) -> None:
    response = post(sim)
    assert response.content[:1] == b"\n"
    assert response.json()["choices"][0]["message"]["content"].endswith("Hello you")


def test_a_reasoning_model_reasons_first_unless_told_not_to(sim: Simulator) -> None:
    model = "nimbus/cirrus-ultra:free"
    assert text(payloads(post(sim, model=model, stream=True).content), "reasoning")
    quiet = post(sim, model=model, stream=True, reasoning={"effort": "none"})
    assert text(payloads(quiet.content), "reasoning") == ""


def test_tools_are_called_in_fragments_and_their_results_quoted(sim: Simulator) -> None:
    model = "tidal/ember-4:free"
    ask = [{"role": "user", "content": "What is the weather?"}]
    events = payloads(post(sim, model=model, stream=True, messages=ask, tools=[TOOL]).content)
    calls = [event["choices"][0]["delta"]["tool_calls"][0] for event in events[:-3]]
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "text"}
    assert events[-3]["choices"][0]["finish_reason"] == "tool_calls"
    whole = {"id": calls[0]["id"], "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    answered = [
        *ask,
        {"role": "assistant", "content": None, "tool_calls": [whole]},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "rain"},
    ]
    said = post(sim, model=model, messages=answered, tools=[TOOL]).json()["choices"][0]["message"]["content"]
    assert said.endswith("The tool said: rain")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param({"model": "no/such"}, 400, "is not a valid model ID", id="unknown model"),
        pytest.param({"tools": [TOOL]}, 404, "support tool use", id="tools on a model without"),
        pytest.param(
            {"model": "tidal/ember-4", "messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]},
            400,
            "Provider returned error",
            id="orphan tool result",
        ),
        pytest.param(
            {"model": "tidal/ember-4", "tools": [{"type": "function", "function": {"name": "a.b"}}]},
            400,
            "Provider returned error",
            id="dot in a tool name",
        ),
        pytest.param(
            {"model": "pebble/think-2b:free", "reasoning": {"enabled": False}},
            400,
            "mandatory",
            id="mandatory thinking",
        ),
        pytest.param({"max_tokens": 40_000}, 400, "maximum context length", id="too long"),
    ],
)
def test_refuses_what_upstream_refuses(sim: Simulator, body: dict[str, Any], status: int, words: str) -> None:
    response = post(sim, **body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, status)
    assert words in response.json()["error"]["message"]


def test_json_is_made_for_a_schema(sim: Simulator) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "kind": {"enum": ["a", "b"]}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    said = post(sim, model="quarry/schema-12b:free", response_format=wanted).json()
    assert json.loads(said["choices"][0]["message"]["content"]) == {"n": 1, "kind": "a"}


def test_max_tokens_ends_with_length(sim: Simulator) -> None:
    choice = post(sim, max_tokens=2).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("This is", "length")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/completions", "/responses", "/messages"])
def test_the_other_dialects_say_the_same(sim: Simulator, path: str, stream: bool) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    response = post(sim, path, prompt="Hi", input="Hi", messages=messages, max_tokens=99, stream=stream)
    assert response.status_code == 200
    found = json.dumps(payloads(response.content) if stream else response.json())
    assert "You" in found
    assert " Hi" in found
    assert (b"event: message_stop" in response.content) == (path == "/messages" and stream)


def test_embeddings_are_unit_vectors_in_both_encodings(sim: Simulator) -> None:
    model = "lexicon/embed-small:free"
    plain = post(sim, "/embeddings", model=model, input=["a", "b"], dimensions=8).json()
    coded = post(sim, "/embeddings", model=model, input="a", dimensions=8, encoding_format="base64").json()
    first = plain["data"][0]["embedding"]
    assert sum(value * value for value in first) == pytest.approx(1)
    assert len(base64.b64decode(coded["data"][0]["embedding"])) == 8 * 4
    assert plain["model"] == "embed-small"


def test_the_catalogue_can_be_changed_and_taken_down(sim: Simulator) -> None:
    sim.control("models", {"add": [{"id": "new/one:free"}], "remove": [PLAIN], "hidden_from_user": ["tidal/ember-4"]})
    ids = {model["id"] for model in requests.get(sim.url + "/models", timeout=5).json()["data"]}
    assert "new/one:free" in ids
    assert PLAIN not in ids
    mine = requests.get(sim.url + "/models/user", headers=KEY, timeout=5).json()["data"]
    assert ids - {model["id"] for model in mine} == {"tidal/ember-4"}
    sim.control("down", {"models": True})
    assert requests.get(sim.url + "/models", timeout=5).status_code == 503


def test_keys_are_checked(sim: Simulator) -> None:
    codes = [
        requests.get(sim.url + "/key", headers={"Authorization": f"Bearer {key}"}, timeout=5).status_code
        for key in ("sk-or-x", "sk-or-bad", "other")
    ]
    assert codes == [200, 401, 401]


def test_every_named_error_can_be_had(sim: Simulator) -> None:
    session = requests.Session()
    for name in ERRORS:
        sim.scenario(error_name=name)
        response = post(sim, session=session)
        assert response.status_code == int("".join(filter(str.isdigit, name))[:3] or response.status_code), name
        assert response.status_code >= 400


def test_scenarios_queue_and_end(sim: Simulator) -> None:
    sim.queue(PLAIN, {"error_name": "pool_429"}, {"status": 502, "body": "<html>"})
    assert [post(sim).status_code for _ in range(3)] == [429, 502, 200]


def test_a_wrong_scenario_is_named(sim: Simulator) -> None:
    with pytest.raises(ValueError, match="tokns"):
        sim.scenario(tokns=3)


@pytest.mark.parametrize("shape", [1, 2, 3])
def test_an_error_inside_a_stream(sim: Simulator, shape: int) -> None:
    sim.scenario(in_stream_error=2, shape=shape)
    events = payloads(post(sim, stream=True).content)
    position = next(index for index, event in enumerate(events) if "error" in event)
    assert position == (9 if shape == 3 else 2)


@pytest.mark.parametrize("members", [{"cut_every": 1}, {"cut": [3, 40, 41]}, {"coalesce": True}, {"chunked": False}])
def test_cuts_change_writes_and_not_bytes(sim: Simulator, members: dict[str, Any]) -> None:
    exact = ': OPENROUTER PROCESSING\n\ndata: {"choices": []}\n\ndata: [DONE]\n\n'
    sim.scenario(raw_response={"text": exact}, **members)
    assert post(sim, stream=True).content == exact.encode()


@pytest.mark.parametrize("rst", [True, False])
def test_an_early_close_is_noticed_as_broken(sim: Simulator, rst: bool) -> None:
    sim.scenario(early_close=2, rst=rst)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = post(sim, stream=True).content
    assert sim.chats(outcome="error", wait=2)[0]["events_sent"] == 2


def test_a_held_answer_waits_and_goes_on(sim: Simulator) -> None:
    sim.scenario(hold="gate", hold_at=3, tokens=5, record_times=True)
    response = post(sim, stream=True)
    assert sim.log(holding="gate", wait=5)[0]["events_sent"] == 3
    sim.release("gate")
    assert text(payloads(response.content)) == "t0 t1 t2 t3 t4 "
    assert len(sim.log(outcome="complete")[0]["event_times"]) == 5


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_in_silence_is_noticed_at_once(sim: Simulator, stream: bool) -> None:
    sim.scenario(silence=30)
    body = json.dumps({"model": PLAIN, "stream": stream, "messages": [{"role": "user", "content": "x"}]})
    head = f"POST /api/v1/chat/completions HTTP/1.1\r\nAuthorization: {KEY['Authorization']}\r\n"
    with socket.create_connection(("127.0.0.1", sim.port), timeout=5) as client:
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert sim.stats()["open_streams"] == 1
    gone = sim.chats(outcome="client_gone", wait=2)[0]
    assert gone["t_end"] - gone["t_start"] < 2
    assert sim.stats()["open_streams"] == 0


def test_connections_are_reused_and_can_be_reset_behind_the_back(sim: Simulator) -> None:
    session = requests.Session()
    post(sim, session=session)
    sim.scenario(close_idle_after_response=True, times=1)
    post(sim, session=session)
    with pytest.raises(requests.ConnectionError):
        post(sim, session=session)
    entries = sim.chats()
    assert len({entry["connection"] for entry in entries}) == 1
    assert [entry["outcome"] for entry in entries] == ["complete", "complete", "error"]
    assert entries[0]["key"] == "...test"
    assert "sk-or" not in json.dumps(entries[0]["headers"])


def test_random_failures_repeat_with_their_seed(sim: Simulator) -> None:
    def codes() -> list[int]:
        sim.scenario(fail_rate=0.5, seed=7, failures=["503", "429_html"])
        return [post(sim).status_code for _ in range(12)]

    first = codes()
    assert first == codes()
    assert {200, 503, 429} == set(first)


def test_reset_cuts_off_what_runs_and_forgets(sim: Simulator) -> None:
    sim.scenario(silence=30)
    response = post(sim, stream=True)
    sim.reset()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = response.content
    assert sim.log() == []
    assert post(sim).status_code == 200


def test_it_speaks_tls() -> None:
    with Simulator(tls=True) as simulator:
        assert simulator.url.startswith("https://")
        session = requests.Session()
        for _ in range(2):
            assert text(payloads(post(simulator, stream=True, session=session).content))
        simulator.scenario(silence=30)
        post(simulator, stream=True, session=session).close()
        entries = simulator.chats(outcome="client_gone", wait=2)
        assert [entry["n"] for entry in entries] == [3]
        assert {entry["connection"] for entry in simulator.chats()} == {entries[0]["connection"]}
