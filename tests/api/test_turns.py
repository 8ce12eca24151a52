"""One connection that always has something to do does not keep the others waiting: what came first is counted.

Each attack begins with a request that holds the worker for half a second. Meanwhile all that the attacker sends, and
the other client's request, lie in the sockets; in which order they are served is then the worker's choice alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.api.worker_app import BODY_LIMIT_BYTES
from tests.api.worker_server import Client, Server, in_background, running

HELD = "seconds=0.5"
MANY = 3000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server")) as started:
        yield started


def number(client: Client) -> int:
    """The number that the server gives this client's `/count`, which has been sent."""
    return int(client.answer().body)


def test_pipelined_requests_are_served_in_turns_with_others(server: Server) -> None:
    attacker, other = server.client(), server.client()
    first = int(other.get("/count").body)
    spin = f"GET /spin?{HELD} HTTP/1.1\r\nHost: x\r\n\r\n"
    attacker.socket.sendall((spin + "GET /count HTTP/1.1\r\nHost: x\r\n\r\n" * MANY).encode())
    other.send("GET", "/count")
    assert number(other) - first < MANY / 2
    attacker.answer()
    for _ in range(MANY):
        assert attacker.answer().status == 200


@pytest.mark.parametrize(
    ("chunk", "times"),
    [
        pytest.param(b"1\r\nx\r\n", 50_000, id="chunks of one byte"),
        pytest.param(b"1;" + b"a;" * 1000 + b"a\r\nx\r\n", 1000, id="long extensions"),
    ],
)
def test_a_body_in_small_chunks_is_read_in_turns_with_others(server: Server, chunk: bytes, times: int) -> None:
    attacker, other = server.client(), server.client()
    attacker.send("POST", f"/read-slowly?{HELD}", "Transfer-Encoding: chunked")
    with in_background(lambda: attacker.socket.sendall(chunk * times + b"0\r\n\r\n")):
        other.send("GET", "/count")
        mine = number(other)
        theirs, size = attacker.answer().body.split()
    assert int(size) == times
    assert mine < int(theirs), "the other client is answered before the body is complete"


def test_an_answer_that_is_all_there_is_written_in_turns_with_others(server: Server) -> None:
    attacker, other = server.client(), server.client()
    attacker.send("GET", f"/burst?{HELD}&count=50000")
    other.send("GET", "/count")
    mine = number(other)
    assert mine < int(attacker.answer().body.rpartition(b"\n")[2])


def test_the_time_for_a_body_also_ends_while_bytes_keep_coming(server: Server) -> None:
    """A 408, although there is always a chunk to be read: the clock needs its turn as well."""
    client = server.client().send("POST", "/read", "Transfer-Encoding: chunked")
    sent = 0

    def flood() -> None:
        nonlocal sent
        with suppress(OSError):
            while True:
                client.socket.sendall(b"1\r\nx\r\n" * 2000)
                sent += 2000

    with in_background(flood):
        answer = client.answer()
        client.reset()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert sent < BODY_LIMIT_BYTES, "bytes of the body"


# Heads and lines that grow


@pytest.mark.parametrize(
    ("begin", "piece", "status"),
    [
        pytest.param("GET / HTTP/1.1\r\n", b"A: b\r\n" * 1000, 431, id="many lines"),
        pytest.param("GET / HTTP/1.1\r\n", b"A: " + b"b" * 6000, 431, id="a long line"),
        pytest.param("GET /", b"a" * 6000, 414, id="a long path"),
        pytest.param(
            "POST /read HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 6000, 400, id="a chunk's line"
        ),
        pytest.param(
            "POST /read HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n" * 1000, 400, id="trailers"
        ),
    ],
)
def test_what_has_no_end_is_refused_early(server: Server, begin: str, piece: bytes, status: int) -> None:
    """After a quarter of a megabyte at most: gunicorn alone would take 1.6 MB, and look through it at each read."""
    client = server.client()
    with suppress(ConnectionError):
        client.socket.sendall(begin.encode() + piece * (256 * 1024 // len(piece)))
    assert client.answer().status == status
