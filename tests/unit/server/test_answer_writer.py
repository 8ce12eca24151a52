"""How an answer is cut into writes: the head never goes alone, each write of the application is one of the server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ollama_proxy.server.answer_writer import AnswerWriter, status_line


class Wire:
    """A socket that keeps what is sent, by the write; `takes` bytes fit into one."""

    def __init__(self, takes: int = 1 << 20) -> None:
        self.sent: list[bytes] = []
        self._takes = takes

    def send(self, data: bytes) -> int:
        self.sent.append(data[: self._takes])
        return len(self.sent[-1])

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)


def writer(
    method: str = "POST", version: tuple[int, int] = (1, 1), closes: bool = False, wire: Wire | None = None
) -> tuple[AnswerWriter, Wire]:
    wire = wire or Wire()
    request: Any = SimpleNamespace(method=method, version=version, should_close=lambda: closes)
    return AnswerWriter(request, wire, SimpleNamespace(is_ssl=False)), wire


def test_an_answer_with_a_length_is_one_write() -> None:
    answer, wire = writer()
    answer.start_response("200 OK", [("Content-Length", "3"), ("X-A", "b")])
    answer.write(b"abc")
    answer.close()
    head, _, body = b"".join(wire.sent).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert len(wire.sent) == 1
    assert (lines[0], body) == (b"HTTP/1.1 200 OK", b"abc")
    assert {b"Connection: keep-alive", b"Content-Length: 3", b"X-A: b"} < set(lines)
    assert [line.split(b":")[0] for line in lines[1:3]] == [b"Server", b"Date"]


def test_a_stream_s_writes_are_chunks_the_first_with_the_head() -> None:
    answer, wire = writer()
    answer.start_response("200 OK", [])
    for data in (b"a" * 20, b"", b"b"):
        answer.write(data)
    answer.close()
    head, _, chunk = wire.sent[0].partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert [chunk, *wire.sent[1:]] == [b"14\r\n" + b"a" * 20 + b"\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"]


@pytest.mark.parametrize(
    ("method", "status", "headers", "end"),
    [
        pytest.param("HEAD", "200 OK", [("Content-Length", "3")], b"", id="HEAD"),
        pytest.param("POST", "204 No Content", [], b"", id="no content"),
        pytest.param("POST", "200 OK", [("Content-Length", "0")], b"", id="an empty body"),
        pytest.param("POST", "200 OK", [], b"0\r\n\r\n", id="an empty stream"),
    ],
)
def test_a_head_without_a_body_goes_out_at_the_end(method: str, status: str, headers: Any, end: bytes) -> None:
    answer, wire = writer(method)
    answer.start_response(status, headers)
    if method == "HEAD":
        answer.write(b"abc")
    assert not wire.sent
    answer.close()
    assert len(wire.sent) == 1
    assert wire.sent[0].startswith(f"HTTP/1.1 {status}\r\n".encode())
    assert wire.sent[0].partition(b"\r\n\r\n")[2] == end


def test_the_end_of_the_connection_is_announced() -> None:
    answer, wire = writer(closes=True)
    answer.start_response("200 OK", [("Content-Length", "1")])
    answer.write(b"a")
    assert b"\r\nConnection: close\r\n" in wire.sent[0]


def test_http_1_0_gets_no_chunks() -> None:
    answer, wire = writer(version=(1, 0))
    answer.start_response("200 OK", [])
    answer.write(b"a")
    answer.close()
    assert b"".join(wire.sent).startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"".join(wire.sent).endswith(b"\r\n\r\na")


def test_more_than_the_announced_length_is_cut_off() -> None:
    answer, wire = writer()
    answer.start_response("200 OK", [("Content-Length", "2")])
    answer.write(b"abc")
    answer.write(b"d")
    assert b"".join(wire.sent).endswith(b"\r\n\r\nab")


def test_what_a_full_socket_does_not_take_at_once_follows() -> None:
    answer, wire = writer(wire=Wire(takes=10))
    answer.start_response("200 OK", [("Content-Length", "3")])
    answer.write(b"abc")
    answer.close()
    assert [len(data) for data in wire.sent][:1] == [10]
    assert b"".join(wire.sent).endswith(b"\r\n\r\nabc")


STATUSES = {
    "502 BAD GATEWAY": "502 Bad Gateway",
    "200 OK": "200 OK",
    "404 NOT FOUND": "404 Not Found",
    "504 GATEWAY TIMEOUT": "504 Gateway Timeout",
    "599 SOMETHING ELSE": "599 SOMETHING ELSE",
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_written_as_http_writes_it(status: str) -> None:
    assert status_line(status) == STATUSES[status]
    answer, wire = writer()
    answer.start_response(status, [("Content-Length", "0")])
    answer.close()
    assert wire.sent[0].startswith(f"HTTP/1.1 {STATUSES[status]}\r\n".encode())
