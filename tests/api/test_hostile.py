"""Bodies that mean harm, or come from broken programs: a 4xx each, and nobody else is kept waiting."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.servers import PATIENCE, ProxyServer

#: Seconds that another client's `GET /api/version` may take meanwhile; it takes 2 ms, the rest is for a busy machine.
OTHERS_WAIT = 1.0

DEEP = 100_000
MEGABYTE = 1 << 20


@contextmanager
def others_are_served(server: ProxyServer) -> Iterator[None]:
    """Fails if another client had to wait while the block ran."""
    waits: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not over.is_set():
                began = time.monotonic()
                assert session.get(f"{server.url}/api/version", timeout=PATIENCE).ok
                waits.append(time.monotonic() - began)
                over.wait(0.005)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield
    finally:
        over.set()
        asker.join(PATIENCE)
    assert waits
    assert max(waits) < OTHERS_WAIT


def exchange(server: ProxyServer, head: str, *pieces: bytes, pause: float = 0.0, finish: bool = False) -> bytes:
    """Send bytes as they are; the answer until the server closes. `finish` ends the sending side after them."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        lines = f"{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n" if "\r\n\r\n" not in head else head
        sock.sendall(lines.encode())
        try:
            for piece in pieces:
                sock.sendall(piece)
                time.sleep(pause)
            if finish:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered already and does not want the rest
        received = b""
        try:
            while data := sock.recv(65_536):
                received += data
        except ConnectionResetError:
            pass
        return received


def status_and_error(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert isinstance(error, str)
    assert b"\n" not in body
    return int(head.split()[1]), error


BODIES = {
    "lists without an end": (b"[" * DEEP, "exceeded max depth"),
    "objects without an end": (b'{"a":' * DEEP, "exceeded max depth"),
    "nested lists": (b"[" * DEEP + b"]" * DEEP, "exceeded max depth"),
    "nested in a message": (
        b'{"model":"free","messages":[{"content":' + b"[" * DEEP + b"]" * DEEP + b"}]}",
        "exceeded max depth",
    ),
    "nested as deep as parsers allow, in a schema": (
        b'{"model":"free","messages":[{"content":"a"}],"format":' + b'{"a":' * 1000 + b"1" + b"}" * 1001,
        None,
    ),
    "a number of many digits": (b'{"model":"free","top_logprobs":' + b"9" * DEEP + b"}", None),
    "a number that no float holds": (b'{"model":"free","keep_alive":1e999}', None),
    "a lone surrogate for a name": (rb'{"model":"\ud800"}', "invalid model name"),
    "a name of a megabyte": (json.dumps({"model": "a" * MEGABYTE}).encode(), "invalid model name"),
    "a duration of a megabyte": (json.dumps({"model": "free", "keep_alive": "1" * MEGABYTE}).encode(), None),
    "millions of messages": (
        b'{"model":"free","messages":[' + b"{}," * MEGABYTE * 3 + b"{}]}",
        "the request body holds more than 100000 values",
    ),
    "megabytes of commas": (b'{"messages":[' + b"," * MEGABYTE * 5 + b"]}", None),
    "megabytes of an open string": (b'{"messages":"' + b"a" * MEGABYTE * 5, "unexpected EOF"),
    "NUL bytes": (b"\0" * 1000, None),
}


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_a_hostile_body_is_a_400(proxy: ProxyServer, case: tuple[bytes, str | None]) -> None:
    body, text = case
    with others_are_served(proxy):
        for path in ("/api/chat", "/api/generate", "/api/show", "/api/embed", "/api/pull"):
            answer = requests.post(f"{proxy.url}{path}", data=body, timeout=PATIENCE)
            if path == "/api/chat":
                assert answer.status_code == 400
                assert text is None or answer.json()["error"] == text
            assert answer.status_code < 500 or path == "/api/pull"
            assert len(answer.content) < 2_000 or answer.ok, "an error does not echo the body"


FORMS = {
    "/api/chat": ["error"],
    "/v1/chat/completions": ["error", "message"],
    "/v1/messages": ["error", "message"],
}


@pytest.mark.parametrize("path", FORMS)
def test_more_than_the_limit_is_a_400_in_the_apis_own_form(proxy: ProxyServer, path: str) -> None:
    body = {"model": "free", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}] * 10_001}
    answer = proxy.post(path, body)
    told = answer.json()
    for step in FORMS[path]:
        told = told[step]
    assert (answer.status_code, told) == (400, "too many messages: 10001, and at most 10000 are taken")


HARMLESS = {
    "half a surrogate pair": rb'{"model":"free","stream":false,"messages":[{"content":"a\ud83d b"}]}',
    "separators of lines": '{"model":"free","stream":false,"messages":[{"content":"a\u2028b\u0085"}]}'.encode(),
    "an unknown number of hundreds of digits": b'{"model":"free","stream":false,"messages":[{"content":"a"}],"x":%s}'
    % (b"9" * 300),
    "a tool call's number of many digits": b'{"model":"free","stream":false,"messages":[{"content":"a"},'
    b'{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"n":%s}}}]}]}' % (b"9" * 200),
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_odd_but_harmless(proxy: ProxyServer, body: bytes) -> None:
    answer = requests.post(f"{proxy.url}/api/chat", data=body, timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.json()["done"] is True


def test_a_hundred_megabytes_within_the_limit(proxy: ProxyServer) -> None:
    """Ollama takes bodies of any size: pictures travel in them."""
    body = b'{"model":"!","messages":[{"content":"%b"}]}' % (b"a" * 99_900_000)
    with others_are_served(proxy):
        answer = requests.post(f"{proxy.url}/api/chat", data=body, timeout=PATIENCE)
    assert answer.status_code == 400


def test_a_larger_body_is_refused_unread(proxy: ProxyServer) -> None:
    with others_are_served(proxy):
        began = time.monotonic()
        answer = exchange(proxy, "POST /api/chat HTTP/1.1\r\nContent-Length: 600000000", b"x" * MEGABYTE)
        assert time.monotonic() - began < PATIENCE / 3
    assert status_and_error(answer)[0] == 413


def test_a_chunked_body_that_grows_over_the_limit(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(max_body_mb="1")
    chunk = b"%x\r\n%b\r\n" % (MEGABYTE, b"x" * MEGABYTE)
    with others_are_served(server):
        answer = exchange(server, "POST /api/chat HTTP/1.1\r\nTransfer-Encoding: chunked", chunk, chunk, chunk)
    assert status_and_error(answer)[0] == 413


def test_fewer_bytes_than_announced(proxy: ProxyServer) -> None:
    answer = exchange(proxy, "POST /api/chat HTTP/1.1\r\nContent-Length: 100", b'{"model":"free"}', finish=True)
    assert status_and_error(answer)[0] == 400


def test_a_dribbled_body(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(body_timeout_seconds="0.5")
    with others_are_served(server):
        began = time.monotonic()
        head = "POST /api/chat HTTP/1.1\r\nContent-Length: 1000"
        answer = exchange(server, head, *[b" "] * 200, pause=0.02)
        assert time.monotonic() - began < PATIENCE / 3
    assert status_and_error(answer)[0] == 408


def test_many_shows_at_once(proxy: ProxyServer) -> None:
    """Agents ask for every model at every turn, all at once."""
    names = [model["name"] for model in proxy.get("/api/tags").json()["models"]]
    body = [json.dumps({"model": names[number % len(names)]}).encode() for number in range(350)]
    head = "POST /api/show HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n"
    sockets = [socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) for _ in body]
    spent = cpu_seconds(proxy.process.pid)
    for sock, data in zip(sockets, body, strict=True):
        sock.sendall(head.format(len(data)).encode() + data)
    for sock in sockets:
        with sock:
            assert sock.recv(12) == b"HTTP/1.1 200"
    # On an idle machine it is 0.2 s; a loaded one counts more for the same work.
    assert cpu_seconds(proxy.process.pid) - spent < 0.6


def cpu_seconds(pid: int) -> float:
    """What a process and its children have used (proc(5))."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, fields = stat.parent.name, stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if pid in (int(number), int(fields[1])):
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
