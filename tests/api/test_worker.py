"""The worker under a real gunicorn with real sockets: unread bodies, slow clients, drains, reloads, disconnects.

Nothing waits for a fixed time: it waits for events, with a bound. The pauses that are left are the slow clients' own.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.api.worker_server import Server, in_background, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server")) as started:
        yield started


# Unread bodies


def test_a_refused_upload_costs_the_others_nothing(server: Server) -> None:
    uploader, other = server.client(), server.client()
    answers = []

    def upload() -> None:
        uploader.send("POST", "/refuse", "Content-Length: 600000000")
        with suppress(ConnectionError):
            for _ in range(100):
                uploader.socket.sendall(bytes(1_000_000))
        answers.append(uploader.answer())

    slowest = 0.0
    with in_background(upload):
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            started = time.monotonic()
            assert other.get("/ping").body == b"/ping"
            slowest = max(slowest, time.monotonic() - started)
    assert answers[0].status == 401
    assert answers[0].headers["connection"] == "close"
    assert slowest < 0.2


@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param("Content-Length: 70000", bytes(70000), id="large"),
        pytest.param("Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n", id="of unknown size"),
    ],
)
def test_an_unread_body_closes_the_connection_after_the_answer(server: Server, header: str, body: bytes) -> None:
    client = server.client().send("POST", "/refuse", header, body=body)
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (401, "close")
    assert client.is_closed()


def test_a_small_unread_body_keeps_the_connection(server: Server) -> None:
    client = server.client().send("POST", "/refuse", "Content-Length: 1000", body=b"G" * 1000)
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (401, "keep-alive")
    assert client.get("/next").body == b"/next"


def test_a_small_unread_body_that_never_comes_does_not_hold_the_connection(server: Server) -> None:
    client = server.client().send("POST", "/refuse", "Content-Length: 1000", body=b"G")
    assert client.answer().status == 401
    started = time.monotonic()
    assert client.is_closed()
    assert time.monotonic() - started < 4


# Bodies


def test_a_body_that_was_read_keeps_the_connection(server: Server) -> None:
    client = server.client()
    for header, body in [("Content-Length: 2", b"{}"), ("Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n")]:
        answer = client.send("POST", "/read", header, body=body).answer()
        assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"2", "keep-alive")
    assert client.get("/next").body == b"/next"


def test_a_short_body_is_a_400(server: Server) -> None:
    client = server.client().send("POST", "/read", "Content-Length: 10", body=b"shor")
    client.socket.shutdown(socket.SHUT_WR)
    answer = client.answer()
    assert (answer.status, answer.body) == (400, b"the request body ended after 4 of 10 bytes")


@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param("Content-Length: 2000000", bytes(100_000), id="announced"),
        pytest.param("Transfer-Encoding: chunked", b"1e8480\r\n" + bytes(1_500_000), id="chunked"),
    ],
)
def test_a_body_over_the_limit_is_a_413(server: Server, header: str, body: bytes) -> None:
    client = server.client().send("POST", "/read", header, body=body)
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_chunks_that_are_none_are_a_400(server: Server) -> None:
    client = server.client().send("POST", "/read", "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n")
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert client.is_closed()


@pytest.mark.parametrize(
    ("header", "piece"),
    [
        pytest.param("Content-Length: 1000", b"x", id="announced"),
        pytest.param("Transfer-Encoding: chunked", b"1\r\nx\r\n", id="chunked"),
    ],
)
def test_a_dribbled_body_is_a_408(server: Server, header: str, piece: bytes) -> None:
    client = server.client().send("POST", "/read", header)

    def dribble() -> None:
        with suppress(OSError):
            for _ in range(40):
                client.socket.sendall(piece)
                time.sleep(0.05)

    started = time.monotonic()
    with in_background(dribble):
        answer = client.answer()
        took = time.monotonic() - started
        client.reset()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert 0.4 < took < 1.5


# Heads


def test_a_dribbled_head_is_cut_off(server: Server) -> None:
    client = server.client()
    assert client.get("/first").status == 200
    started = time.monotonic()
    with suppress(ConnectionError):
        for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 100:
            client.socket.sendall(bytes([byte]))
            time.sleep(0.1)
    assert client.is_closed()
    assert time.monotonic() - started < 5  # `keepalive` is 2 here; the whole head would take 12


def test_what_is_not_http_is_refused_and_neither_logged_nor_sent_back(server: Server) -> None:
    client = server.client()
    client.socket.sendall(b"GET / HTTP/1.1\r\nAuthorization Bearer s3cret\r\n\r\n")
    answer = client.answer()
    assert answer.status == 400
    assert b"s3cret" not in answer.body
    assert "s3cret" not in server.log.read_text()


def test_a_reset_is_not_logged_as_an_error(server: Server) -> None:
    """The fixture looks at the log when it ends."""
    client = server.client().send("GET", "/stream?name=reset&count=50&gap=0.01&size=100000")
    assert server.wait_for("reset begun")
    client.reset()
    assert server.wait_for("reset closed")


# Disconnects


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("target", ["/wait?name={}", "/stream?name={}&count=3&gap=20"])
def test_a_client_that_leaves_before_the_first_byte_is_noticed(server: Server, target: str, leave: str) -> None:
    name = f"{leave}{target[1:4]}"
    client = server.client().send("GET", target.format(name))
    assert server.wait_for(f"{name} begun")
    started = time.monotonic()
    client.reset() if leave == "reset" else client.socket.close()
    assert server.wait_for(f"{name} gone")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_mid_stream_is_noticed(server: Server, leave: str) -> None:
    name = f"mid-{leave}"
    client = server.client().send("GET", f"/stream?name={name}&count=100&gap=0.3")
    client.until(b"line 0")
    client.reset() if leave == "reset" else client.socket.close()
    assert server.wait_for(f"{name} gone")
    assert server.wait_for(f"{name} closed")


def test_a_pipelined_request_ends_the_watch_and_is_answered(server: Server) -> None:
    client = server.client().send("GET", "/stream?name=piped&count=2&gap=0.2").send("GET", "/second")
    assert client.answer().body == b"line 0\nline 1\n"
    assert client.answer().body == b"/second"
    assert client.get("/third").body == b"/third"


def test_a_watch_leaves_the_next_request_alone(server: Server) -> None:
    client = server.client()
    for _ in range(3):
        assert client.get("/stream?name=again&count=2&gap=0.01").body == b"line 0\nline 1\n"
        answer = client.send("POST", "/read", "Content-Length: 2", body=b"{}").answer()
        assert answer.body == b"2"


# Drains


def test_idle_connections_do_not_hold_the_exit(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        idle, silent, partial = server.client(), server.client(), server.client()
        assert idle.get("/first").status == 200
        partial.socket.sendall(b"GET / HTT")
        assert server.get("/pid").status == 200
        server.terminate()
        assert server.exit_code(within=3) == 0
        assert idle.is_closed()
        assert silent.is_closed()
        assert partial.is_closed()


def test_a_running_answer_survives_sigterm(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        client = server.client().send("GET", "/stream?name=s&count=4&gap=0.3")
        last = server.client().send("GET", "/stream?name=t&count=1&gap=0.5")
        assert server.wait_for("s begun")
        server.terminate()
        assert last.answer().body == b"line 0\n"
        with pytest.raises(ConnectionError):
            server.get("/late")
        assert client.answer().body == b"line 0\nline 1\nline 2\nline 3\n"
        assert client.is_closed()
        assert server.exit_code(within=3) == 0


def test_what_does_not_end_in_time_is_ended_in_good_order(tmp_path: Path) -> None:
    with running(tmp_path, drain_seconds=0.5) as server:
        stream = server.client().send("GET", "/stream?name=s&count=100&gap=0.2")
        waiting = server.client().send("GET", "/wait?name=w")
        unread = server.client().send("GET", "/stream?name=u&count=100000&gap=0&size=1000000")
        for event in ("s begun", "w begun", "u begun"):
            assert server.wait_for(event)
        started = time.monotonic()
        server.terminate()
        assert stream.answer().body.endswith(b"\nerror: shutting down\n")
        refused = waiting.answer()
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert server.exit_code(within=6) == 0
        assert 0.5 < time.monotonic() - started < 5
        assert unread.is_closed()


def test_a_reload_loses_no_stream_and_a_dead_worker_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        old = int(server.get("/pid").body)
        client = server.client().send("GET", "/stream?name=s&count=10&gap=0.3")
        assert server.wait_for("s begun")
        server.process.send_signal(signal.SIGHUP)
        new = another_worker(server, old)
        assert client.answer().body == b"".join(b"line %d\n" % number for number in range(10))
        os.kill(new, signal.SIGKILL)
        assert another_worker(server, new) != old
        server.log.write_text("")  # the kill is logged as the error it would be
        server.terminate()
        assert server.exit_code(within=5) == 0


def another_worker(server: Server, old: int) -> int:
    """The process id of a worker that is not `old`, once there is one."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError):
            pid = int(server.get("/pid").body)
            if pid != old:
                return pid
    raise AssertionError("no other worker answered")
