"""Every recorded answer of OpenRouter, replayed through the whole server, as the official client reads it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest

from simulator.process import Simulator
from tests.servers import ProxyServer
from tests.unit.ollama.answer.test_recordings import (
    BODIES,
    STREAMS,
    TRUNCATED,
    naive_body,
    naive_stream,
    without_ids,
)

MODEL = "tidal/ember-4"
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def client(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ollama.Client]:
    """A client of a server outside free mode: there a recording that fails cools nothing down."""
    with ProxyServer(tmp_path_factory.mktemp("replay"), shared_simulator.url, free_mode=False) as proxy:
        yield ollama.Client(host=proxy.url)


def replay(simulator: Simulator, path: Path, content_type: str, **how: Any) -> None:
    body = {"base64": base64.b64encode(path.read_bytes()).decode(), "content_type": content_type, "status": 200}
    simulator.scenario(MODEL, raw_response=body, **how)


def reading(chunks: list[ollama.ChatResponse]) -> dict[str, Any]:
    calls = [call for chunk in chunks for call in chunk.message.tool_calls or []]
    return {
        "text": "".join(chunk.message.content or "" for chunk in chunks),
        "thinking": "".join(chunk.message.thinking or "" for chunk in chunks),
        "calls": [[call.function.name, dict(call.function.arguments)] for call in calls],
        "counts": (chunks[-1].prompt_eval_count, chunks[-1].eval_count),
    }


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_a_recorded_stream(path: Path, streamed: bool, client: ollama.Client, simulator: Simulator) -> None:
    replay(simulator, path, "text/event-stream", cut_every=997)
    if path.name.partition(".response")[0] in TRUNCATED:
        with pytest.raises(ollama.ResponseError, match="cut off by the token limit"):
            ask(client, streamed)
        return
    answers = ask(client, streamed)
    assert reading(answers) == without_ids(naive_stream(path))
    assert answers[-1].done_reason in ("stop", "length")


def ask(client: ollama.Client, streamed: bool) -> list[ollama.ChatResponse]:
    if streamed:
        return list(client.chat("ember-4", MESSAGES, stream=True))
    return [client.chat("ember-4", MESSAGES)]


@pytest.mark.parametrize("path", BODIES)
def test_a_recorded_whole_body(path: Path, client: ollama.Client, simulator: Simulator) -> None:
    replay(simulator, path, "application/json")
    expected = without_ids(naive_body(path))
    assert reading(ask(client, streamed=True)) == expected
    assert reading(ask(client, streamed=False)) == expected


def nulls(value: Any) -> int:
    if isinstance(value, dict | list):
        return sum(nulls(inner) for inner in (value.values() if isinstance(value, dict) else value))
    return value is None


@pytest.mark.parametrize("path", [stream for stream in STREAMS if stream.id not in TRUNCATED])
def test_a_recorded_stream_is_ndjson_for_everybody(path: Path, client: ollama.Client, simulator: Simulator) -> None:
    """What the strictest readers of lines demand: no blank line, no null, no separator that is not a newline."""
    replay(simulator, path, "text/event-stream")
    with client._client.stream("POST", "/api/chat", json={"model": "ember-4", "messages": MESSAGES}) as response:
        text = response.read().decode()
    assert text.endswith("\n")
    assert len(text.splitlines()) == text.count("\n")
    assert [nulls(json.loads(line)) for line in text.splitlines()] == [0] * text.count("\n")
