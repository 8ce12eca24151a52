"""The main job through real sockets: a chat from a stock Ollama client to OpenRouter and back."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ollama
import pytest
import requests

from ollama_proxy.storage.catalog_table import CatalogTable
from ollama_proxy.storage.database import Database
from simulator.process import Simulator
from tests.servers import ProxyServer, free_port, wait_for

WAYS = ["module", "gunicorn"]


@pytest.fixture(params=["http", "https"])
def upstream(request: pytest.FixtureRequest, simulator: Simulator) -> Any:
    """The simulator, plain and over TLS. A process that patches too late fails only over TLS."""
    if request.param == "http":
        yield simulator
        return
    with Simulator(tls=True) as secure:
        yield secure


@pytest.mark.parametrize("how", WAYS)
def test_the_official_client_lists_shows_chats_and_generates(
    how: str, upstream: Simulator, start_proxy: Callable[..., ProxyServer]
) -> None:
    proxy = start_proxy(upstream.url, how=how, ca_file=upstream.ca_file)
    client = ollama.Client(host=proxy.url)

    names = [model.model for model in client.list().models]
    assert names[0] == "free:latest"
    assert "cirrus-ultra:free" in names

    shown = client.show("ember-4:free")
    assert shown.capabilities is not None
    assert "tools" in shown.capabilities

    messages = [{"role": "user", "content": "a b c"}]
    whole = client.chat("ember-4:free", messages)
    assert whole.message.content is not None
    assert whole.message.content.endswith("You said: a b c")
    assert whole.done_reason == "stop"
    assert whole.eval_count is not None
    assert whole.eval_duration is not None
    assert whole.eval_count > 0
    assert whole.eval_duration > 0

    chunks = list(client.chat("ember-4:free", messages, stream=True))
    assert "".join(chunk.message.content or "" for chunk in chunks) == whole.message.content
    assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]

    generated = client.generate("ember-4:free", "x y", system="be short")
    assert generated.response.endswith("You said: x y")
    pieces = list(client.generate("ember-4:free", "x y", stream=True))
    assert "".join(piece.response for piece in pieces).endswith("You said: x y")
    assert client.ps().models[0].model == "ember-4:free"


def test_three_chats_in_a_row_use_one_upstream_connection(proxy: ProxyServer, simulator: Simulator) -> None:
    for _ in range(3):
        assert proxy.chat("ember-4:free", stream=True).text
    assert len({entry["connection"] for entry in simulator.chats(minimum=3)}) == 1


def test_each_line_leaves_when_its_token_comes(proxy: ProxyServer, simulator: Simulator) -> None:
    """200 tokens 50 ms apart: a line may take 100 ms, and none may wait for a later token."""
    simulator.scenario("tidal/ember-4:free", tokens=200, token_delay=0.05, record_times=True)
    lines = proxy.chat("ember-4:free", stream=True).iter_lines(chunk_size=1)
    arrived = [time.time() for line in lines if json.loads(line)["message"]["content"]]
    [entry] = simulator.chats(minimum=1, wait=5, outcome="complete")
    sent = entry["event_times"][-len(arrived) - 3 :]
    assert len(arrived) == 200
    first = next(index for index in range(len(sent)) if len(sent) - index >= 200)
    late = [came - went for came, went in zip(arrived, sent[first:], strict=False)]
    assert max(late) < 0.1, f"the slowest line took {max(late):.3f} s"


def _read(response: requests.Response, into: list[dict[str, Any]]) -> None:
    into.extend(json.loads(line) for line in response.iter_lines(chunk_size=1))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=["HUP", "TERM"])
def test_a_signal_loses_no_running_stream(
    number: signal.Signals, simulator: Simulator, start_proxy: Callable[..., ProxyServer]
) -> None:
    proxy = start_proxy()
    simulator.scenario("*", tokens=40, hold="gate", hold_at=20)
    answers: list[list[dict[str, Any]]] = [[] for _ in range(10)]
    readers = [
        threading.Thread(target=_read, args=(proxy.chat("ember-4:free", stream=True), answer)) for answer in answers
    ]
    for reader in readers:
        reader.start()
    simulator.log(minimum=10, holding="gate", wait=10)
    proxy.signal(number)
    if number == signal.SIGHUP:
        wait_for(lambda: proxy.log().count("Booting worker") >= 2, what="a new worker")
    else:
        wait_for(lambda: "Handling signal: term" in proxy.log(), what="the signal has arrived")
    simulator.release("gate")
    for reader in readers:
        reader.join(20)
    assert [answer[-1]["done"] for answer in answers] == [True] * 10
    if number == signal.SIGTERM:
        assert proxy.process.wait(20) == 0


def test_it_starts_without_openrouter_from_the_last_good_copy(
    tmp_path: Path, simulator: Simulator, start_proxy: Callable[..., ProxyServer]
) -> None:
    first = start_proxy()
    listed = first.get("/api/tags").json()
    stored = CatalogTable(Database(f"sqlite:///{tmp_path / 'proxy.db'}"))
    wait_for(lambda: stored.revision(), what="the copy is stored")
    first.stop()
    nowhere = f"http://127.0.0.1:{free_port()}/api/v1"
    second = start_proxy(nowhere)
    assert second.get("/api/tags").json() == listed
    refused = second.chat("ember-4:free")
    assert refused.status_code == 502
    assert "upstream error" in refused.json()["error"]


def test_without_any_copy_it_starts_and_says_why_there_are_no_models(start_proxy: Callable[..., ProxyServer]) -> None:
    proxy = start_proxy(f"http://127.0.0.1:{free_port()}/api/v1", ready=False)
    wait_for(lambda: "cannot be reached" in proxy.get("/api/tags").text, what="the first fetch has failed")
    answer = proxy.get("/api/tags")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert proxy.get("/").text == "Ollama is running"


def test_a_failure_after_the_first_token_ends_the_stream_with_an_error_line(
    simulator: Simulator, start_proxy: Callable[..., ProxyServer]
) -> None:
    proxy = start_proxy()
    simulator.scenario("tidal/ember-4:free", tokens=10, in_stream_error=4, error_name="502")
    lines = [json.loads(line) for line in proxy.chat("ember-4:free", stream=True).iter_lines()]
    assert set(lines[-1]) == {"error"}
    assert all(not line.get("done") for line in lines)
    assert "Traceback" not in json.dumps(lines)
