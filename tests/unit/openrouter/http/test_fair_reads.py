"""Others get their turn however fast an upstream sends: counted in reads, not in time."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from ollama_proxy.openrouter.http import direct, fair_reads
from ollama_proxy.openrouter.http.answer_body import BodyBroken, SocketBody
from ollama_proxy.openrouter.http.direct import BadHead, read_head
from ollama_proxy.openrouter.http.framing import ChunkedFraming, CloseFraming, Framing
from ollama_proxy.openrouter.http.transport import MOST_INTERIM, NotHttp
from tests.servers import ROOT
from tests.unit.openrouter.http.raw_upstream import CHUNKED, Peer, RawUpstream, chunk

#: Reads that a connection may make before others get their turn.
MOST_READS = 64


class Flooding:
    """A socket that always has data; it notes how many reads were made between two turns of the others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, data: Iterator[bytes]) -> None:
        self._data = data
        self._reads = 0
        self.total = 0
        self.longest = 0
        monkeypatch.setattr(fair_reads, "give_turn", self._turn)

    def _turn(self) -> None:
        self._reads = 0

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def recv(self, size: int) -> bytes:
        self._reads += 1
        self.total += 1
        self.longest = max(self.longest, self._reads)
        assert self.total < 10_000, "it reads for ever"
        return next(self._data)


def body_of(sock: Flooding, framing: Framing) -> SocketBody:
    return SocketBody(sock, framing, ahead=bytes, end=lambda clean: None)


@pytest.mark.parametrize("size", [1, 100, 5000, 65536])
def test_a_body_at_full_speed(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    sock = Flooding(monkeypatch, itertools.repeat(b"x" * size))
    body = body_of(sock, CloseFraming())
    for _ in range(200):
        assert body.read(1)
    assert sock.total == 200
    assert sock.longest <= fair_reads.TURN // size + 1
    assert sock.longest <= MOST_READS


def test_what_is_no_part_of_a_body_does_not_make_the_wait_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of a chunk's extension flow, and no time-out of the socket ends the wait: the clock of the read does."""
    sock = Flooding(monkeypatch, itertools.chain([b"5"], itertools.repeat(b";")))
    assert body_of(sock, ChunkedFraming()).read(0.001) is None
    assert sock.longest <= MOST_READS


def test_trailers_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = Flooding(monkeypatch, itertools.chain([b"0\r\n"], itertools.repeat(b"A: b\r\n")))
    with pytest.raises(BodyBroken):
        body_of(sock, ChunkedFraming()).read(60)
    assert sock.longest <= MOST_READS


@pytest.mark.parametrize(
    ("said", "error"),
    [
        pytest.param(itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), BadHead, id="interim answers"),
        pytest.param(itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"A: b\r\n")), BadHead, id="headers"),
        pytest.param(itertools.chain([b"HTTP/1.1 200 "], itertools.repeat(b"O" * 100)), BadHead, id="a status line"),
        pytest.param(itertools.repeat(b"x"), NotHttp, id="no HTTP"),
    ],
)
def test_a_head_without_end(monkeypatch: pytest.MonkeyPatch, said: Iterator[bytes], error: type[OSError]) -> None:
    monkeypatch.setattr(direct, "LONGEST_HEAD", 30_000)
    sock = Flooding(monkeypatch, said)
    with pytest.raises(error):
        read_head(sock, 60)
    assert sock.longest <= MOST_READS


def test_interim_answers_are_read_over(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"] * MOST_INTERIM
    whole = b"".join(said) + b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"
    status, headers, _, rest = read_head(Flooding(monkeypatch, iter([whole[:100], whole[100:]])), 60)
    assert (status, dict(headers), rest) == (200, {"a": "b"}, b"body")


def test_a_head_that_dribbles_has_one_time_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = Flooding(monkeypatch, itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"A")))
    with pytest.raises(TimeoutError):
        read_head(sock, 0.001)


GREENLETS = textwrap.dedent("""
    from gevent import monkey
    monkey.patch_all()
    import json, sys
    import gevent
    from ollama_proxy.openrouter.http import answer_body
    from ollama_proxy.openrouter.http.client import Client

    reads = longest = 0

    class Counting(answer_body.FairReads):
        def took(self, size):
            global reads, longest
            reads += 1
            longest = max(longest, reads)
            super().took(size)

    def ticks():
        global reads
        while True:
            gevent.sleep(0.000001)  # which needs the event loop to come round
            reads = 0

    answer_body.FairReads = Counting
    client = Client(sys.argv[1], "sk-or-key")
    gevent.spawn(ticks)
    body = client.post("/chat/completions", b"{}").body
    size = 0
    while size < 30_000_000:
        size += len(body.read(5))
    body.close()
    print(json.dumps(longest))
""")


def test_other_greenlets_and_the_event_loop_get_their_turn() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(CHUNKED)
        peer.say_while_wanted(chunk(b"data: {}\n\n" * 10))

    with RawUpstream(script) as upstream:
        command = [sys.executable, "-c", GREENLETS, upstream.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert 0 < json.loads(done.stdout) <= 3 * MOST_READS
