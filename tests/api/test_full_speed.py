"""An upstream that sends as fast as it can keeps no other client waiting (docs/contract.md, "Upstream's streams").

Each test asserts an order, no time: other clients are answered before the flood has ended.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import requests

from simulator.catalogue import default_records, is_embedding
from tests.servers import ProxyServer, wait_for
from tests.unit.openrouter.http.raw_upstream import CHUNKED, Peer, RawUpstream, answer, chunk

EMBER = "tidal/ember-4"
MESSAGES = [{"role": "user", "content": "hello"}]

#: Seconds after which a flood ends by itself: only when a test fails.
LONGEST_FLOOD = 8.0

#: How many requests of other clients must be answered while the flood goes on.
OTHERS = 5

#: Bytes that the flood writes at once.
BLOCK = 256 * 1024


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def delta(**fields: Any) -> bytes:
    return event({"id": "gen-1", "choices": [{"index": 0, "delta": fields}]})


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
CONTENT = delta(content="word ")

#: What upstream says first, and then again and again.
FLOODS: dict[str, tuple[bytes, bytes]] = {
    "content": (PLAIN, CONTENT),
    "content in chunks": (CHUNKED, chunk(CONTENT)),
    "the smallest chunks": (CHUNKED + chunk(CONTENT), b"1\r\n\n\r\n"),
    "comments before the first token": (PLAIN, b": OPENROUTER PROCESSING\n\n"),
    "comments after it": (PLAIN + CONTENT, b": OPENROUTER PROCESSING\n\n"),
    "empty deltas": (PLAIN, delta(content="")),
    "empty objects": (PLAIN, b"data: {}\n\n"),
    "an event without an end": (PLAIN + CONTENT + b"data: ", b"x"),
    "trailers": (CHUNKED + chunk(CONTENT + b"data: [DONE]\n\n") + b"0\r\n", b"A: b\r\n"),
    "trailers without a token": (CHUNKED + b"0\r\n", b"A: b\r\n"),
    "data behind the end": (PLAIN + CONTENT + b"data: [DONE]\n\n", CONTENT),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "header lines": (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    "padding before JSON": (JSON, b" " * 64),
    "an error's body": (b"HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\n\r\n<html>", b"oops "),
}


class Flood:
    """An OpenRouter with a model list, whose answers to a POST never end by themselves."""

    def __init__(self) -> None:
        self.begin, self.again = b"", b""
        self.running = threading.Event()
        self.stopped = threading.Event()
        #: A flood went on until `LONGEST_FLOOD`.
        self.ran_out = False

    def __call__(self, peer: Peer) -> None:
        records = default_records()
        while head := peer.request()[0]:
            if head.startswith(b"POST"):
                self._flood(peer)
                return
            wanted = [record for record in records if is_embedding(record) == (b"/embeddings/" in head)]
            peer.say(answer(json.dumps({"data": wanted}).encode()))

    def _flood(self, peer: Peer) -> None:
        block = self.again * (BLOCK // len(self.again))
        deadline = time.monotonic() + LONGEST_FLOOD
        with suppress(OSError):
            peer.say(self.begin + block)
            self.running.set()
            while not self.stopped.is_set():
                peer.say(block)
                if time.monotonic() > deadline:
                    self.ran_out = True
                    return


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ProxyServer, Flood]]:
    flood = Flood()
    with (
        RawUpstream(flood) as upstream,
        ProxyServer(tmp_path_factory.mktemp("flooded"), f"{upstream.url}/api/v1", free_mode=False) as proxy,
    ):
        yield proxy, flood


@pytest.fixture
def ask(flooded: tuple[ProxyServer, Flood]) -> Iterator[Callable[..., Future[tuple[int, bytes]]]]:
    """Sends a chat to a flooding upstream, in the background: status and the end of the answer."""
    proxy, flood = flooded
    flood.stopped.clear()
    flood.running.clear()
    flood.ran_out = False
    with ThreadPoolExecutor(1) as pool:

        def request(path: str, streamed: bool) -> tuple[int, bytes]:
            body = {"model": EMBER, "messages": MESSAGES, "max_tokens": 100, "stream": streamed}
            tail = b""
            with suppress(requests.RequestException):
                response = proxy.post(path, body, stream=True)
                for data in response.iter_content(65536):
                    tail = (tail + data)[-2000:]
                return response.status_code, tail
            return 0, tail

        yield lambda path, streamed: pool.submit(request, path, streamed)
        flood.stopped.set()


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("kind", FLOODS)
def test_others_are_answered_meanwhile(
    flooded: tuple[ProxyServer, Flood],
    ask: Callable[..., Future[tuple[int, bytes]]],
    kind: str,
    path: str,
    streamed: bool,
) -> None:
    proxy, flood = flooded
    flood.begin, flood.again = FLOODS[kind]
    asked = ask(path, streamed)
    wait_for(lambda: flood.running.is_set() or asked.done(), what="the flood begins")
    for _ in range(OTHERS):
        assert proxy.get("/api/version").ok
    assert not flood.ran_out
    flood.stopped.set()
    asked.result()
