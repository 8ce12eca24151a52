"""The bench's own parts: its upstream says all that was asked for, and its load generator would notice if not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from bench.load import Generator, Load, Measured, body_of
from bench.page import Turn, table
from bench.upstream import Upstream

CHAT = "/api/v1/chat/completions"


@pytest.fixture
def port() -> Iterator[int]:
    upstream = Upstream()
    thread = threading.Thread(target=upstream.serve)
    thread.start()
    yield upstream.port
    upstream.stop()
    thread.join(10)


def ask(port: int, mode: str, *, stream: bool = True, **load: object) -> Measured:
    body = json.dumps({"messages": [{"role": "user", "content": f"bench:{mode}"}], "stream": stream})
    return Generator(Load(port=port, path=CHAT, body=body, seconds=20, **load)).run()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "stream", "words", "last"),
    [
        pytest.param("whole:20", False, 20, "usage", id="one object"),
        pytest.param("whole:20", True, 20, "usage", id="one object, also to a streamed call"),
        pytest.param("burst:200", True, 200, "[DONE]", id="a burst"),
        pytest.param("burst:20", False, 20, "usage", id="a call that is not streamed gets one object"),
        pytest.param("burst:20000", True, 20000, "[DONE]", id="more than a socket takes at once"),
        pytest.param("paced:20:1", True, 20, "[DONE]", id="paced"),
    ],
)
def test_an_answer_holds_all_that_was_asked_for(port: int, mode: str, stream: bool, words: int, last: str) -> None:
    measured = ask(port, mode, stream=stream, clients=3, requests_each=2, words=words, last=last)
    assert (measured.answers, measured.lost, measured.words) == (6, 0, 6 * words), measured.problem
    assert len(measured.first) == 6


@pytest.mark.parametrize(
    ("words", "last", "problem"),
    [
        pytest.param(21, "[DONE]", "20 words of 21", id="a token is missing"),
        pytest.param(20, "nowhere", "no proper end", id="the end is missing"),
    ],
)
def test_an_incomplete_answer_is_lost(port: int, words: int, last: str, problem: str) -> None:
    measured = ask(port, "burst:20", requests_each=1, words=words, last=last)
    assert (measured.lost, measured.problem) == (1, problem)


def test_an_error_is_lost(port: int) -> None:
    measured = Generator(Load(port, "/api/v1/nothing", requests_each=1)).run()
    assert measured.lost == 1
    assert measured.problem.startswith("status 404")


def test_the_catalogue_has_the_models_that_the_rows_are_about(port: int) -> None:
    import requests

    models = requests.get(f"http://127.0.0.1:{port}/api/v1/models", timeout=10).json()["data"]
    assert len({model["id"] for model in models}) == 421


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", id="a length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", None, id="a byte is missing"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc", id="chunks"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nb", None, id="half a chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", None, id="no last chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", None, id="half a head"),
    ],
)
def test_body_of(answer: bytes, body: bytes | None) -> None:
    assert body_of(answer) == body


def test_the_pages_table_compares_the_turns_of_a_pair() -> None:
    bare = Turn.of([0.001 * number for number in range(1, 101)], cpu=0.2)
    assert (round(bare.p50, 1), round(bare.p99, 1), bare.cpu, bare.chats) == (50.5, 100.0, 2.0, 100)
    slower, quicker = Turn(60.5, 100, 110, 2.5, 90), Turn(40.5, 90, 100, 1.5, 90)
    said = table([(bare, slower), (bare, quicker), (bare, slower)]).splitlines()
    assert [line[:4].strip() for line in said[2:5]] == ["1", "2", "3"]
    assert said[5].startswith("p50: 50.50 ms without, with the pages +10.00 ms in the median (-10.00 to +10.00)")
    assert said[8].endswith("more in 2 of 3 pairs")
