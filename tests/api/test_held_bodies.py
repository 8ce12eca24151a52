"""All request bodies of a worker together have a limit, and memory that is not needed any more is given back."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer, wait_for

MEGABYTE = 1 << 20
MESSAGES = [{"role": "user", "content": "hello"}]
SMALL = json.dumps({"model": "free", "messages": MESSAGES, "max_tokens": 9, "stream": False}).encode()
LARGE = SMALL + b" " * 5 * MEGABYTE


@pytest.fixture(scope="module")
def server(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """Seven of its eight megabytes are for large bodies: there is room for one of five."""
    shared_simulator.reset()
    with ProxyServer(tmp_path_factory.mktemp("bodies"), shared_simulator.url, max_bodies_mb=8) as running:
        yield running


@contextmanager
def an_upload(server: ProxyServer, sent: bytes) -> Iterator[socket.socket]:
    """A client that has announced LARGE and sent a part of it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(LARGE)}\r\n\r\n"
        sock.sendall(head.encode() + sent)
        wait_for(lambda: ask(server, "/api/chat", LARGE).status_code == 503, what="the upload counts")
        yield sock


def ask(server: ProxyServer, path: str, body: Any) -> requests.Response:
    return requests.post(f"{server.url}{path}", data=body, timeout=PATIENCE)


FORMS: dict[str, Callable[[Any], str]] = {
    "/api/chat": lambda body: body["error"],
    "/api/generate": lambda body: body["error"],
    "/v1/chat/completions": lambda body: body["error"]["message"],
    "/v1/responses": lambda body: body["error"]["message"],
    "/v1/messages": lambda body: body["error"]["message"],
}


@pytest.mark.parametrize("path", FORMS)
def test_a_body_without_room_is_refused_unread_in_the_apis_own_form(server: ProxyServer, path: str) -> None:
    with an_upload(server, b""):
        refused = ask(server, path, LARGE)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["Connection"] == "close"
    assert "busy" in FORMS[path](refused.json())


def test_small_requests_are_served_beside_a_large_upload(server: ProxyServer) -> None:
    with an_upload(server, LARGE[:MEGABYTE]):
        for _ in range(20):
            assert ask(server, "/api/chat", SMALL).status_code == 200


def test_a_chunked_body_counts_as_it_grows(server: ProxyServer) -> None:
    with an_upload(server, b""):
        refused = ask(server, "/api/chat", iter([SMALL, *[b" " * MEGABYTE] * 5]))
    assert refused.status_code == 503


def test_the_room_is_free_again_when_the_request_ends(server: ProxyServer) -> None:
    with an_upload(server, LARGE[:100]) as sock:
        sock.sendall(LARGE[100:])
        assert sock.recv(12) == b"HTTP/1.1 200"
    for _ in range(3):
        assert ask(server, "/api/chat", LARGE).status_code == 200


def test_a_client_that_leaves_makes_room(server: ProxyServer) -> None:
    with an_upload(server, LARGE[:MEGABYTE]):
        pass
    wait_for(lambda: ask(server, "/api/chat", LARGE).status_code == 200, what="room for the next one")


def test_a_body_that_never_finds_room_is_too_large(server: ProxyServer) -> None:
    assert ask(server, "/api/chat", SMALL + b" " * 8 * MEGABYTE).status_code == 413


def resident_mb(server: ProxyServer) -> float:
    """What the workers have in memory (proc(5))."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in children]
    return sum(int(size) for text in texts for size in re.findall(r"VmRSS:\s+(\d+)", text)) / 1024


def test_memory_is_given_back_after_refused_bodies(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(body_timeout_seconds=1)
    before = resident_mb(server)
    head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {51 * MEGABYTE}\r\n\r\n".encode()
    sockets = [socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) for _ in range(4)]
    for sock in sockets:
        sock.sendall(head + b"a" * 50 * MEGABYTE)
    for sock in sockets:
        with sock:
            assert sock.recv(12) == b"HTTP/1.1 408"
    wait_for(lambda: resident_mb(server) - before < 50, what="the 200 MB are given back")
