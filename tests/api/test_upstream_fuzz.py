"""Good answers of upstream with something wrong in them: whatever comes, the client gets an answer or an error in form.

400 answers with a fixed seed; `make fuzz` and `make prove` play 4000 others each time (FUZZ_ANSWERS).
"""

from __future__ import annotations

import base64
import copy
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer

Json = dict[str, Any]

ANSWERS = 400
OTHER_ANSWERS = int(os.environ.get("FUZZ_ANSWERS", "4000"))

MODEL, EMBEDDING = "nimbus/cirrus-ultra:free", "lexicon/embed-small:free"
MESSAGES = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
SAID = {
    "text": ["One ", "\U0001f600 two"],
    "reasoning": ["Let me ", "see"],
    "tool_calls": [{"name": "f", "arguments": {"a": [1, {"b": "c"}]}}, {"name": "f", "arguments": {}}],
    "images": ["data:image/png;base64,iVBORw0KGgo="],
}

#: What is asked of the server: path and body, and the upstream endpoint that it asks.
ROUTES: dict[str, tuple[Json, str]] = {
    "/api/chat": ({"messages": MESSAGES, "tools": TOOLS, "logprobs": True}, "/chat/completions"),
    "/api/generate": ({"prompt": "hello"}, "/chat/completions"),
    "/v1/chat/completions": ({"messages": MESSAGES, "stream_options": {"include_usage": True}}, "/chat/completions"),
    "/v1/completions": ({"prompt": "hello"}, "/completions"),
    "/v1/messages": ({"messages": MESSAGES, "max_tokens": 100}, "/messages"),
    "/v1/responses": ({"input": "hello"}, "/responses"),
    "/api/embed": ({"input": ["a", "b"]}, "/embeddings"),
    "/v1/embeddings": ({"input": ["a", "b"]}, "/embeddings"),
    "/v1/embeddings, base64": ({"input": ["a", "b"], "encoding_format": "base64"}, "/embeddings"),
}
CALLS = [(route, streamed) for route in ROUTES for streamed in ([False] if "embed" in route else [True, False])]

#: A number of JSON that is no number for most readers, by the word that stands for it until the JSON is written.
LITERALS = {"@nan": "NaN", "@inf": "Infinity", "@huge": "1e999", "@digits": "9" * 400, "@lone": '"\\ud83d"'}


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


WRONG: list[Any] = [
    None, True, False, 0, 1, -1, 7, 0.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, -(2**70),
    "", " ", "0", "x", "error", "[DONE]", "a\u2028b\x85c", "\x00\x1f", "\ud83d", "\ude00", "x" * 3000, "\n\ndata: {}",
    [], {}, [None], [[]], [{}], {"": None}, ["a", 1], {"message": 5}, {"code": "x"}, {"type": 5, "text": None},
    nested(300), nested(900), nested(1200), *LITERALS,
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(value: Any, chance: random.Random) -> Any:
    """`value` with one place in it changed, taken out, doubled or renamed."""
    value = copy.deepcopy(value)
    *before, last = chance.choice(list(places(value)) or [()]) or (None,)
    if last is None:
        return chance.choice(WRONG)
    holder = value
    for key in before:
        holder = holder[key]
    match chance.randrange(12):
        case 0:
            del holder[last]
        case 1 if isinstance(holder, list):
            holder.insert(0, chance.choice(WRONG))
        case 1 | 2 if isinstance(holder, dict):
            name = chance.choice(
                ["error", "type", "index", "choices", "usage", "finish_reason", "delta", "response", "id"]
            )
            holder[name] = chance.choice(WRONG)
        case 3 if isinstance(holder, list):
            holder.append(holder[last])
        case _:
            holder[last] = chance.choice(WRONG)
    return value


def written(value: Any) -> bytes:
    """JSON, with the literals that no JSON writer writes."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "[" * 1500 + "]" * 1500
    for word, literal in LITERALS.items():
        text = text.replace(f'"{word}"', literal)
    return text.encode()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """`data` with something wrong in its bytes."""
    at = chance.randrange(len(data) + 1)
    match chance.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + 1 :]
        case 2:
            return b"\xef\xbb\xbf" + data
        case _:
            junk = [
                b"\xff",
                b"\xc3",
                b"\xed\xa0\xbd",
                b"\x00",
                b'"',
                b"\\",
                b"}",
                b"\n",
                b"\r",
                b"\t",
                b"\xe2\x80\xa8",
                b"{}",
            ]
            return data[:at] + chance.choice(junk) + data[at:]


class Good:
    """Answers of the simulator as they should be, by endpoint: the events of a stream, or the one body."""

    def __init__(self, simulator: Simulator) -> None:
        self.streams: dict[str, list[Any]] = {}
        self.bodies: dict[str, Json] = {}
        for path in sorted({endpoint for _, endpoint in ROUTES.values()}):
            model = EMBEDDING if path == "/embeddings" else MODEL
            asked = next(body for body, endpoint in ROUTES.values() if endpoint == path)
            body = {"max_tokens": 100, "stream_options": {"include_usage": True}, **asked, "model": model}
            for stream in (True, False):
                simulator.scenario(model, times=1, unchecked=True, **({} if path == "/embeddings" else SAID))
                answer = requests.post(
                    f"{simulator.url}{path}",
                    json={**body, "stream": stream},
                    headers={"Authorization": "Bearer sk-or-x"},
                    timeout=PATIENCE,
                )
                assert answer.ok, answer.text
                if answer.headers["Content-Type"].startswith("text/event-stream"):
                    blocks = answer.text.split("\n\n")
                    said = [line[6:] for block in blocks for line in block.split("\n") if line.startswith("data: ")]
                    self.streams[path] = [word if word == "[DONE]" else json.loads(word) for word in said]
                else:
                    self.bodies[path] = answer.json()

    def mutant(self, path: str, streamed: bool, chance: random.Random) -> tuple[bytes, str]:
        """A good answer with something wrong in it, and its content type."""
        if streamed and chance.randrange(8):
            return self._stream(path, chance), "text/event-stream"
        if chance.randrange(10) == 0:
            return damaged(written(self.bodies[path]), chance), "application/json"
        return written(changed(self.bodies[path], chance)), "application/json"

    def _stream(self, path: str, chance: random.Random) -> bytes:
        events = list(self.streams[path])
        at = chance.randrange(len(events))
        match chance.randrange(10):
            case 0:
                del events[at]
            case 1:
                events.insert(chance.randrange(len(events)), events[at])
            case 2:
                events.insert(at, chance.choice(WRONG))
            case 3:
                return b"".join(
                    b"data: %b\n\n" % (damaged(data, chance) if i == at else data) for i, data in _raw(events)
                )
            case 4:
                data = b"".join(b"data: %b\n\n" % data for _, data in _raw(events))
                return damaged(data, chance)
            case _:
                events[at] = changed(events[at], chance)
        return b"".join(b"data: %b\n\n" % data for _, data in _raw(events))


def _raw(events: list[Any]) -> list[tuple[int, bytes]]:
    return [(i, b"[DONE]" if event == "[DONE]" else written(event)) for i, event in enumerate(events)]


def no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=no_constant)


def check(route: str, streamed: bool, response: requests.Response) -> None:
    """The answer is in form, and it is no internal error."""
    assert response.status_code != 500
    text = response.content.decode()
    assert "internal error" not in text
    kind = response.headers["Content-Type"]
    if kind.startswith("text/event-stream"):
        check_events(text)
    elif kind == "application/x-ndjson":
        lines = [strict(line) for line in text.removesuffix("\n").split("\n")]
        assert all(isinstance(line, dict) for line in lines)
        assert [line for line in lines if line.get("done") or "error" in line] == lines[-1:]
        counts = [value for key, value in lines[-1].items() if key.endswith(("_count", "_duration"))]
        assert all(type(count) is int and count >= 0 for count in counts)
    else:
        assert isinstance(strict(text), dict)


def check_events(text: str) -> None:
    assert "\r" not in text
    assert text.endswith("\n\n")
    for block in text.removesuffix("\n\n").split("\n\n"):
        lines = block.split("\n")
        assert all(line.startswith(("data: ", "event: ", ":")) for line in lines), block
        data = "\n".join(line.removeprefix("data: ") for line in lines if line.startswith("data: "))
        assert data in ("", "[DONE]") or isinstance(strict(data), dict), data


@pytest.fixture(scope="module")
def server(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    forgets = {"failure_cooldown_minutes": 0, "ratelimit_cooldown_minutes": 0, "free_requests_per_minute": 0}
    folder = tmp_path_factory.mktemp("mutants")
    with ProxyServer(folder, shared_simulator.url, first_token_timeout_seconds=5, **forgets) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("answers", "seed"),
    [
        pytest.param(ANSWERS, 20261124, id="400 answers"),
        pytest.param(OTHER_ANSWERS, None, id="many other answers", marks=pytest.mark.prove),
    ],
)
def test_answers_with_something_wrong_in_them(
    server: ProxyServer, simulator: Simulator, answers: int, seed: int | None
) -> None:
    good = Good(simulator)
    seed = seed or time.time_ns()
    print(f"seed {seed}")
    chance = random.Random(seed)
    statuses: Counter[str] = Counter()
    session = requests.Session()
    for number in range(answers):
        route, streamed = CALLS[number % len(CALLS)]
        asked, endpoint = ROUTES[route]
        model = EMBEDDING if endpoint == "/embeddings" else MODEL
        upstream_streams = streamed or route in ("/api/chat", "/api/generate")
        data, kind = good.mutant(endpoint, upstream_streams, chance)
        simulator.clear(model)
        raw = {"base64": base64.b64encode(data).decode(), "content_type": kind}
        simulator.scenario(model, times=1, raw_response=raw)
        body = {"model": model, "stream": streamed, **asked}
        path = route.partition(",")[0]
        try:
            response = session.post(f"{server.url}{path}", json=body, timeout=PATIENCE)
            check(route, streamed, response)
        except (AssertionError, ValueError, requests.RequestException) as error:
            log = [line for line in server.log().splitlines() if '"error"' in line][-1:]
            raise AssertionError(f"{route} streamed={streamed} {kind}: {data[:3000]!r}\n{error}\n{log}") from error
        statuses[f"{route} {response.status_code}"] += 1
    print(dict(statuses))
    assert "Traceback" not in server.log()
    assert sum(count for name, count in statuses.items() if name.endswith(" 200")) > answers // 2
