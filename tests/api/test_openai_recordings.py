"""Recorded OpenRouter traffic, asked for as OpenAI clients ask: what comes out is what went in, but for what is named.

Named are: comments and repeats of the finish are dropped; a usage chunk has empty `choices`; responses get event names
and no `[DONE]`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer

MODEL = "recorded/anything"
ABILITIES = [
    *("temperature", "top_p", "max_tokens", "seed", "stop", "logprobs", "top_logprobs"),
    *("tools", "tool_choice", "response_format", "structured_outputs", "reasoning", "include_reasoning"),
]


def recorded(folder: str, suffix: str) -> list[Any]:
    root = os.environ.get("OPENROUTER_RECORDINGS")
    if not root:
        return [pytest.param(None, marks=pytest.mark.skip(reason="OPENROUTER_RECORDINGS is unset"))]
    paths = sorted(Path(root, folder).glob(f"*.response.{suffix}"))
    return [pytest.param(path, id=path.name.removesuffix(f".response.{suffix}")) for path in paths]


@pytest.fixture(scope="module")
def server(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """A proxy outside free mode that knows a model which can do everything."""
    shared_simulator.reset()
    record = {
        "id": MODEL,
        "context_length": 10_000_000,
        "supported_parameters": ABILITIES,
        "architecture": {"input_modalities": ["text", "image", "file", "audio", "video"]},
    }
    shared_simulator.control("models", {"add": [record]})
    with ProxyServer(tmp_path_factory.mktemp("recorded"), shared_simulator.url, free_mode=False) as proxy:
        yield proxy


def replay(server: ProxyServer, simulator: Simulator, path: str, file: Path, *, kind: str) -> requests.Response:
    """Send the recorded request and answer it with the recorded body. What went up is checked on the way."""
    simulator.reset()
    raw = {"base64": base64.b64encode(file.read_bytes()).decode(), "content_type": kind}
    simulator.scenario("*", raw_response=raw, unchecked=True)
    asked = file.with_name(file.name.rsplit(".response.", 1)[0] + ".request.json")
    default = {"messages": [{"role": "user", "content": "hello"}], "stream": "event-stream" in kind}
    sent = {**(json.loads(asked.read_text()) if asked.exists() else default), "model": MODEL}
    if path == "/v1/chat/completions" and sent.get("stream"):
        sent["stream_options"] = {"include_usage": True}
    answer = requests.post(server.url + path, json=sent, timeout=PATIENCE)
    [entry] = simulator.chats()
    for name in ("models", "route", "preset"):
        sent.pop(name, None)
    for part in _images(sent.get("input")):
        part["detail"] = "auto"  # a part of OpenRouter's types, which clients leave out
    assert entry["body"] == sent
    return answer


def _images(items: Any) -> Iterator[dict[str, Any]]:
    contents = (item.get("content") for item in items) if isinstance(items, list) else ()
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return (part for part in parts if part["type"] == "input_image")


def payloads(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]


@pytest.mark.parametrize("file", recorded("chat", "json"))
def test_a_completion_is_passed_on_unchanged(server: ProxyServer, simulator: Simulator, file: Path) -> None:
    answer = replay(server, simulator, "/v1/chat/completions", file, kind="application/json")
    assert answer.status_code == 200
    assert answer.content.decode() == file.read_text().strip()


def without_empty_repeats(chunks: Iterable[str]) -> list[str]:
    """The chunks but those that only say once more how the answer ended."""
    kept, finished = [], False
    for one in chunks:
        choice = json.loads(one)["choices"][0]
        says = {name for name, value in choice["delta"].items() if value} - {"role"}
        if says or not (finished and choice["finish_reason"]):
            kept.append(one)
        finished = finished or bool(choice["finish_reason"])
    return kept


@pytest.mark.parametrize("file", recorded("chat-stream", "sse"))
def test_a_stream_loses_nothing(server: ProxyServer, simulator: Simulator, file: Path) -> None:
    answer = replay(server, simulator, "/v1/chat/completions", file, kind="text/event-stream")
    text = answer.content.decode()  # the form of event streams is UTF-8, whatever `requests` thinks
    before, after = payloads(file.read_text()), payloads(text)
    assert [line for line in text.split("\n") if line and not line.startswith("data: ")] == []
    usage = [json.loads(one) for one in before if one != "[DONE]" and json.loads(one).get("usage")]
    ordinary = without_empty_repeats(one for one in before if '"usage":{' not in one and one != "[DONE]")
    assert after[: len(ordinary)] == ordinary
    *rest, done = after[len(ordinary) :]
    assert done == "[DONE]"
    expected = [{**chunk, "choices": []} for chunk in usage]
    for chunk in expected:
        chunk.pop("error", None)  # "Token limit reached", told after the finish
    assert [json.loads(one) for one in rest] == expected
    told = [choice for one in after[:-1] for choice in json.loads(one)["choices"]]
    assert len([choice for choice in told if choice.get("finish_reason")]) == 1


@pytest.mark.parametrize("file", recorded("responses", "json"))
def test_a_response_is_passed_on_unchanged(server: ProxyServer, simulator: Simulator, file: Path) -> None:
    answer = replay(server, simulator, "/v1/responses", file, kind="application/json")
    assert answer.status_code == 200
    assert answer.content.decode() == file.read_text().strip()


@pytest.mark.parametrize("file", recorded("responses", "sse"))
def test_a_streamed_response_gets_names_and_loses_nothing(
    server: ProxyServer, simulator: Simulator, file: Path
) -> None:
    answer = replay(server, simulator, "/v1/responses", file, kind="text/event-stream")
    text = answer.content.decode()  # the form of event streams is UTF-8, whatever `requests` thinks
    assert [*payloads(text), "[DONE]"] == payloads(file.read_text())
    names = [line.removeprefix("event: ") for line in text.split("\n") if line.startswith("event: ")]
    assert names == [json.loads(one)["type"] for one in payloads(text)]
