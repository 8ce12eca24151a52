"""Reading a body in bursts from real sockets: what one read brings, short waits, ends, and the way back to the pool."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ollama_proxy.openrouter.http.answer_body import READ_SIZE, BodyBroken, Decompressed, SocketBody
from ollama_proxy.openrouter.http.client import Client, UpstreamAnswer
from tests.unit.openrouter.http.raw_upstream import CHUNKED, LAST_CHUNK, Peer, RawUpstream, answer, chunk

PATIENCE = 10.0


@contextmanager
def client_of(script: Callable[[Peer], None]) -> Iterator[tuple[Client, RawUpstream]]:
    with RawUpstream(script) as upstream:
        client = Client(upstream.url, "sk-or-key", read_timeout=PATIENCE)
        try:
            yield client, upstream
        finally:
            client.close()


def says(*parts: bytes) -> Callable[[Peer], None]:
    """A script that answers the first request with `parts`, one write each, and ends the connection."""

    def script(peer: Peer) -> None:
        if peer.request()[0]:
            for part in parts:
                peer.say(part)

    return script


def read_all(found: UpstreamAnswer) -> bytes:
    body = b""
    while data := found.body.read(PATIENCE):
        body += data
    return body


def test_all_that_has_arrived_comes_in_one_read() -> None:
    sent = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.say(CHUNKED)
        peer.say(chunk(b"one ") + chunk(b"two ") + chunk(b"three"))
        sent.set()
        peer.is_closed()

    with client_of(script) as (client, _):
        found = client.post("/chat", b"{}")
        sent.wait(PATIENCE)
        first = found.body.read(PATIENCE)
        found.close()
    assert first == b"one two three"


def test_what_came_with_the_headers_is_read_too() -> None:
    with client_of(says(CHUNKED + chunk(b"early") + LAST_CHUNK)) as (client, _):
        assert read_all(client.post("/chat", b"{}")) == b"early"


def test_a_read_that_waited_in_vain_gives_none_and_reading_goes_on() -> None:
    goes_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.say(CHUNKED + chunk(b"a"))
        goes_on.wait(PATIENCE)
        peer.say(chunk(b"b") + LAST_CHUNK)

    with client_of(script) as (client, _):
        found = client.post("/chat", b"{}")
        assert found.body.read(PATIENCE) == b"a"
        assert found.body.read(0.01) is None
        assert found.body.read(0.01) is None
        goes_on.set()
        assert read_all(found) == b"b"


def test_half_a_chunk_header_is_no_data_yet() -> None:
    goes_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.say(CHUNKED + b"5")
        goes_on.wait(PATIENCE)
        peer.say(b"\r\nhello\r\n" + LAST_CHUNK)

    with client_of(script) as (client, _):
        found = client.post("/chat", b"{}")
        assert found.body.read(0.01) is None
        goes_on.set()
        assert read_all(found) == b"hello"


def reset_after(data: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(data)
        peer.reset()

    return script


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(says(CHUNKED + chunk(b"half")), id="chunked, closed without the last chunk"),
        pytest.param(says(CHUNKED + b"ff\r\nhalf"), id="chunked, closed inside a chunk"),
        pytest.param(says(answer(b"half")[:-2]), id="closed before the announced length"),
        pytest.param(says(CHUNKED + b"zz\r\nhalf"), id="framing that is none"),
        pytest.param(reset_after(CHUNKED + chunk(b"half")), id="reset"),
    ],
)
def test_an_end_before_the_end_is_told(script: Callable[[Peer], None]) -> None:
    with client_of(script) as (client, _):
        found = client.post("/chat", b"{}")
        with pytest.raises(BodyBroken):
            read_all(found)
        found.close()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"to the end", id="neither length nor chunks"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", id="an empty body"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="a status without a body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", b"abc", id="closing"),
    ],
)
def test_other_ends_of_a_body(head: bytes, body: bytes) -> None:
    with client_of(says(head + body)) as (client, _):
        assert read_all(client.post("/chat", b"{}")) == body


def answers_all(data: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        while peer.request()[0]:
            peer.say(data)

    return script


@pytest.mark.parametrize(
    ("data", "connections"),
    [
        pytest.param(CHUNKED + chunk(b"x") + LAST_CHUNK, 1, id="chunked and read to its end: used again"),
        pytest.param(answer(b"x"), 1, id="with a length and read to its end: used again"),
        pytest.param(CHUNKED + chunk(b"x") + LAST_CHUNK + b"!", 2, id="with bytes behind its end: closed"),
    ],
)
def test_the_connection_goes_back_only_when_it_is_clean(data: bytes, connections: int) -> None:
    with client_of(answers_all(data)) as (client, upstream):
        for _ in range(2):
            found = client.post("/chat", b"{}")
            assert read_all(found) == b"x"
            found.close()
            found.close()  # idempotent
        assert upstream.connections == connections


def test_a_body_that_was_not_read_to_its_end_closes_its_connection() -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.say(CHUNKED + chunk(b"a"))
        if peer.is_closed():
            closed.set()

    with client_of(script) as (client, _):
        found = client.post("/chat", b"{}")
        assert found.body.read(PATIENCE) == b"a"
        found.close()
        assert closed.wait(PATIENCE)


def test_a_large_request_follows_a_short_wait_on_the_same_connection() -> None:
    # The last wait for a body leaves a time-out on the socket; sending must not inherit it.
    large = b"x" * 8_000_000
    lengths: list[int] = []

    def script(peer: Peer) -> None:
        while (request := peer.request())[0]:
            lengths.append(len(request[1]))
            peer.say(answer(b"x"))

    with client_of(script) as (client, upstream):
        found = client.post("/chat", b"{}")
        while (data := found.body.read(0.001)) is None or data:
            pass
        found.close()
        assert read_all(client.post("/chat", large)) == b"x"
        assert upstream.connections == 1
    assert lengths == [2, len(large)]


PACKED = gzip.compress(b'{"data": []}')


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        pytest.param(PACKED, b'{"data": []}', id="one member"),
        pytest.param(gzip.compress(b'{"da') + gzip.compress(b'ta": []}'), b'{"data": []}', id="two members"),
        pytest.param(gzip.compress(b"") + PACKED, b'{"data": []}', id="an empty member first"),
        pytest.param(PACKED + b"\0" * 512, b'{"data": []}', id="padding behind it"),
        pytest.param(gzip.compress(b" " * 3_000_000 + b"{}"), b" " * 3_000_000 + b"{}", id="much from little"),
        pytest.param(b"", b"", id="no body at all"),
    ],
)
@pytest.mark.usefixtures("way")
def test_a_compressed_body_is_read(packed: bytes, plain: bytes) -> None:
    with client_of(answers_all(answer(packed, more=b"Content-Encoding: gzip\r\n"))) as (client, upstream):
        for _ in range(2):
            found = client.post("/chat", b"{}")
            assert read_all(found) == plain
            found.close()
        assert upstream.connections == 1


@pytest.mark.parametrize("cut", [1, 3, 7])
def test_a_compressed_body_is_the_same_however_it_is_cut(cut: int) -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"two")
    body = Decompressed(Pieces([packed[at : at + cut] for at in range(0, len(packed), cut)]))
    found = b""
    while data := body.read(1):
        found += data
    assert found == b"one two"


def test_what_a_compressed_body_is_blown_up_to_comes_in_bounded_reads() -> None:
    body = Decompressed(Pieces([gzip.compress(b" " * 10_000_000)]))
    sizes = []
    while data := body.read(1):
        sizes.append(len(data))
    assert sum(sizes) == 10_000_000
    assert max(sizes) <= READ_SIZE


class Pieces:
    """A body that comes in the given reads."""

    def __init__(self, reads: list[bytes]) -> None:
        self._reads = iter(reads)

    def read(self, timeout: float) -> bytes | None:
        return next(self._reads, b"")

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress(b"x" * 5000)[:-10], id="that breaks off"),
        pytest.param(b"{}", id="that is none"),
    ],
)
@pytest.mark.usefixtures("way")
def test_a_broken_compressed_body_is_told(packed: bytes) -> None:
    with client_of(says(answer(packed, more=b"Content-Encoding: gzip\r\n"))) as (client, _):
        found = client.post("/chat", b"{}")
        with pytest.raises(BodyBroken):
            read_all(found)
        found.close()


def test_a_body_in_a_coding_that_was_not_asked_for_is_no_crash() -> None:
    with client_of(says(answer(b"\x0b\x02", more=b"Content-Encoding: br\r\n"))) as (client, _):
        assert read_all(client.post("/chat", b"{}")) == b"\x0b\x02"


def test_a_plain_body_is_read_from_its_socket() -> None:
    with client_of(says(answer(b"x"))) as (client, _):
        found = client.post("/chat", b"{}")
        assert isinstance(found.body, SocketBody)
        assert read_all(found) == b"x"
        found.close()
