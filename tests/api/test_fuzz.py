"""Generated requests to all three APIs: whatever comes, there is an answer, in its API's form, and no 500 of ours.

500 requests with a fixed seed, half of them in free mode; `make fuzz` and `make prove` make 5000 others each time
(FUZZ_REQUESTS).
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.process import Simulator
from tests.api.contract.wire import NDJSON, TEXT, Answer, Row, check_stream, send
from tests.api.fuzzing import METHODS, RIGHT, bodies, once_in
from tests.servers import ProxyServer

SSE = "text/event-stream"
REQUESTS = 500
OTHER_REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "5000"))
SLOWEST = 10.0


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A request; one in twenty uses a method that the path has not."""
    method, path = draw(st.sampled_from(RIGHT))
    if draw(once_in(20)):
        method = draw(st.sampled_from(METHODS))
    body = None if method in ("GET", "HEAD") else draw(bodies(path))
    content_type = draw(st.sampled_from(["application/json", "text/plain", "application/x-www-form-urlencoded", ""]))
    return Row(method, path, body, headers={"Content-Type": content_type} if content_type else {})


def in_form(row: Row, answer: Answer) -> None:
    """The rules for every answer."""
    assert answer.status < 500 or answer.status == 501 or b"upstream error" in answer.body, answer.body
    if row.method == "HEAD":
        assert answer.body == b""
    elif answer.status in (404, 405) and answer.content_type == TEXT:
        assert answer.body in (b"404 page not found", b"405 method not allowed")
    elif answer.status >= 400:
        form = next(form for prefix, form in ERRORS.items() if row.path.startswith(prefix))
        form(answer.json())
        assert b"\n" not in answer.body
    elif answer.content_type == SSE:
        check_events(row, answer)
    elif answer.content_type == NDJSON and row.path in ("/api/chat", "/api/generate"):
        check_stream(answer)
    elif row.path in ("/api/copy", "/api/delete"):
        assert (answer.body, answer.content_type) == (b"", "")
    elif row.path != "/":
        assert isinstance(answer.json() if answer.content_type != NDJSON else {}, dict)


def messages_error(error: dict[str, Any]) -> None:
    assert set(error) == {"type", "error", "request_id"}
    assert error["type"] == "error"
    assert set(error["error"]) == {"type", "message"}
    assert all(isinstance(text, str) and text for text in error["error"].values())


def openai_error(error: dict[str, Any]) -> None:
    assert set(error) == {"error"}
    assert set(error["error"]) == {"message", "type", "param", "code"}
    assert error["error"]["message"]
    assert isinstance(error["error"]["message"], str)


def ollama_error(error: dict[str, Any]) -> None:
    assert set(error) == {"error"}
    assert isinstance(error["error"], str)
    assert error["error"]


#: What an error looks like below a path. The first that fits counts.
ERRORS: dict[str, Callable[[dict[str, Any]], None]] = {
    "/v1/messages": messages_error,
    "/v1/": openai_error,
    "": ollama_error,
}


def check_events(row: Row, answer: Answer) -> None:
    """Events that are whole, of JSON, and with the end that the API has."""
    text = answer.body.decode()
    assert text.endswith("\n\n")
    payloads = []
    for event in text.removesuffix("\n\n").split("\n\n"):
        data = [line.removeprefix("data:").strip() for line in event.split("\n") if line.startswith("data:")]
        assert data or event.startswith(":"), event
        payloads += data
    *some, last = payloads
    parsed = [json.loads(payload) for payload in some]
    if row.path in ("/v1/chat/completions", "/v1/completions"):
        assert last == "[DONE]" or "error" in json.loads(last)
        assert not any("error" in chunk for chunk in parsed)
        return
    endings = ("message_stop", "error") if row.path == "/v1/messages" else ("response.", "error")
    assert json.loads(last)["type"].startswith(endings)


@pytest.fixture(scope="module", params=["free mode", "all models"])
def server(
    request: pytest.FixtureRequest, shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyServer]:
    """A server that remembers no failure for long: many requests here are of the kind that models fail at."""
    patient: dict[str, object] = {
        "free_requests_per_minute": 0,
        "failure_cooldown_minutes": 0.0001,
        "ratelimit_cooldown_minutes": 0.0001,
    }
    patient["free_mode"] = request.param == "free mode"
    shared_simulator.reset()
    with ProxyServer(tmp_path_factory.mktemp("fuzz"), shared_simulator.url, **patient) as running:
        yield running


@pytest.mark.parametrize(
    ("requests", "same_each_time"),
    [
        pytest.param(REQUESTS, True, id="500 requests"),
        pytest.param(OTHER_REQUESTS, False, id="many other requests", marks=pytest.mark.prove),
    ],
)
def test_whatever_comes_there_is_an_answer_in_form(server: ProxyServer, requests: int, same_each_time: bool) -> None:
    statuses: Counter[str] = Counter()
    slowest = 0.0

    @settings(
        max_examples=requests // 2,
        derandomize=same_each_time,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(rows())
    def play(row: Row) -> None:
        nonlocal slowest
        began = time.monotonic()
        answer = send(server, row, seconds=SLOWEST)
        slowest = max(slowest, time.monotonic() - began)
        statuses[f"{row.path} {answer.status}"] += 1
        in_form(row, answer)

    play()
    assert server.get("/api/version").ok
    print(f"\n{sum(statuses.values())} requests, the slowest took {slowest:.2f} s")
    for answer, count in sorted(statuses.items()):
        print(f"  {count:5} {answer}")
