"""Generated requests to the Ollama API: whatever comes, there is an answer, it is in form, and it is no 500.

500 requests with a fixed seed; `make fuzz` and `make prove` make 5000 others each time (FUZZ_REQUESTS).
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.process import Simulator
from tests.api.contract.wire import NDJSON, TEXT, Answer, Row, check_stream, send
from tests.servers import ProxyServer

REQUESTS = 500
OTHER_REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "5000"))
SLOWEST = 10.0

PATHS = {
    "/": ("GET", "HEAD"),
    "/api/version": ("GET", "HEAD"),
    "/api/tags": ("GET", "HEAD"),
    "/api/ps": ("GET",),
    "/api/status": ("GET",),
    "/api/show": ("POST",),
    "/api/chat": ("POST",) * 8,
    "/api/generate": ("POST",) * 6,
    "/api/embed": ("POST",) * 3,
    "/api/embeddings": ("POST",) * 2,
    "/api/pull": ("POST",),
    "/api/push": ("POST",),
    "/api/create": ("POST",),
    "/api/copy": ("POST",),
    "/api/delete": ("DELETE",),
    "/api/blobs/sha256:0": ("POST", "HEAD"),
    "/api/me": ("POST",),
    "/api/signout": ("POST",),
    "/api/experimental/web_search": ("POST",),
    "/api/experimental/model-recommendations": ("GET",),
}
RIGHT = [(method, path) for path, methods in PATHS.items() for method in methods]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["", "json", "high", "5m", "-1", "0", "user", "tool", "\ud800", "a\u2028b", "\U0001f600"]),
)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def once_in(times: int) -> st.SearchStrategy[bool]:
    """True about once in so many times. (Integers would not do: hypothesis prefers the least.)"""
    return st.sampled_from([False] * (times - 1) + [True])


def mostly(strategy: st.SearchStrategy[Any], times: int = 50) -> st.SearchStrategy[Any]:
    """`strategy`, but once in so many times anything at all."""
    return once_in(times).flatmap(lambda odd: junk if odd else strategy)


def some(needed: tuple[str, ...] = (), **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with the `needed` and some of the other fields; rarely in another case, or with an unknown one."""
    values = {name: mostly(value) for name, value in fields.items()}
    always = {name: values.pop(name) for name in needed}
    return st.builds(
        lambda known, unknown, odd: {**unknown, **({k.upper(): v for k, v in known.items()} if odd else known)},
        st.fixed_dictionaries(always, optional=values),
        once_in(9).flatmap(lambda odd: st.dictionaries(st.text(max_size=8), junk, max_size=1) if odd else st.just({})),
        once_in(20),
    )


known_models = ["free", "ember-4", "cirrus-ultra:free", "tidal/ember-4", "lumen-vl-32b", "think-2b", "embed-small"]
models = st.sampled_from([*known_models * 9, "nosuch", "beacon-24b", "", "x:local:cloud", "a b", " \u00fc"])
pictures = st.sampled_from(
    [base64.b64encode(head + bytes(20)).decode() for head in (b"\x89PNG", b"\xff\xd8\xff", b"x")]
)
images = st.lists(mostly(pictures), max_size=2)
names = st.sampled_from(["f", "get_weather", "a.b", "\u00fc", ""]) | st.text(max_size=8)
calls = st.lists(mostly(some(id=st.text(max_size=9), function=some(name=names, arguments=junk))), max_size=3)
messages = st.lists(
    mostly(
        some(
            role=st.sampled_from(["user", "assistant", "system", "tool", "developer", "WIZARD", ""]),
            content=st.text(max_size=30) | st.lists(some(type=st.just("text"), text=st.text(max_size=9)), max_size=2),
            images=images,
            tool_calls=calls,
            tool_name=names,
            tool_call_id=st.text(max_size=9),
            thinking=st.text(max_size=9),
        )
    ),
    max_size=5,
)
schemas = st.sampled_from([{"type": "object"}, {"type": "object", "properties": {"a": {"type": "integer"}}}, {}])
functions = some(name=names, description=st.text(max_size=9), parameters=schemas)
tools = st.lists(mostly(some(type=st.just("function"), function=functions)), max_size=3)
options = some(
    temperature=st.floats(-1, 3),
    num_predict=st.integers(-2, 40),
    top_k=st.integers(-1, 99),
    top_p=st.floats(-1, 2),
    seed=st.integers(-1, 2**70),
    stop=st.lists(st.text(max_size=3), max_size=6),
    num_ctx=st.integers(0, 10**6),
    repeat_penalty=st.floats(-1, 3),
)
answered = {
    "model": models,
    "stream": st.booleans(),
    "format": st.sampled_from(["", "json"]) | schemas,
    "keep_alive": st.sampled_from([0, -1, 5, "5m", "-1", "1h30m", "0s"]),
    "options": options,
    "think": st.sampled_from([True, False, "low", "max"]),
    "logprobs": st.booleans(),
    "top_logprobs": st.integers(0, 20),
    "_debug_render_only": once_in(9),
}
embedded = {"model": models, "keep_alive": answered["keep_alive"], "options": options, "truncate": st.booleans()}
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "/api/chat": some(
        ("model", "messages"), messages=messages, tools=tools, tool_choice=st.sampled_from(["auto", "none"]), **answered
    ),
    "/api/generate": some(
        ("model", "prompt"),
        prompt=st.text(max_size=30),
        system=st.text(max_size=9),
        template=st.sampled_from(["", "{{ .Prompt }}"]),
        suffix=st.sampled_from([""] * 9 + ["x"]),
        raw=once_in(9),
        context=st.lists(st.integers(), max_size=3),
        images=images,
        **answered,
    ),
    "/api/embed": some(
        ("model", "input"),
        input=st.text(max_size=9) | st.lists(st.text(max_size=9)),
        dimensions=st.integers(),
        **embedded,
    ),
    "/api/embeddings": some(("model", "prompt"), prompt=st.text(max_size=9), **embedded),
}
OTHER_BODY = some(model=models, name=models, stream=st.booleans(), source=models, destination=models)


@st.composite
def bodies(draw: st.DrawFn, path: str) -> bytes | None:
    """Mostly the JSON of a body that the path knows; else other JSON, JSON cut or changed somewhere, or any bytes."""
    chance = draw(st.sampled_from(range(20)))
    if chance == 0:
        return draw(st.none() | st.binary(max_size=60))
    body = draw(junk if chance == 1 else BODIES.get(path, OTHER_BODY))
    data = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if chance <= 3 and data:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=2)) + data[place + draw(st.integers(0, 9)) :]
    return data


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
    assert answer.status < 500 or answer.status == 501, answer.body
    if row.method == "HEAD":
        assert answer.body == b""
    elif answer.status in (404, 405) and answer.content_type == TEXT:
        assert answer.body in (b"404 page not found", b"405 method not allowed")
    elif answer.status >= 400:
        error = answer.json()
        assert set(error) == {"error"}
        assert isinstance(error["error"], str)
        assert error["error"]
        assert b"\n" not in answer.body
    elif answer.content_type == NDJSON and row.path in ("/api/chat", "/api/generate"):
        check_stream(answer)
    elif row.path != "/":
        assert isinstance(answer.json() if answer.content_type != NDJSON else {}, dict)


@pytest.fixture(scope="module")
def server(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """A server that remembers no failure for long: many requests here are of the kind that models fail at."""
    patient = {"free_requests_per_minute": 0, "failure_cooldown_minutes": 0.0001, "ratelimit_cooldown_minutes": 0.0001}
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
        max_examples=requests,
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
