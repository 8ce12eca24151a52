"""The direct way to send: heads of answers, and that it and the library's way give the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ollama_proxy.openrouter.errors.classify import classify
from ollama_proxy.openrouter.errors.failure import Blame
from ollama_proxy.openrouter.http import client as client_module
from ollama_proxy.openrouter.http import transport as transport_module
from ollama_proxy.openrouter.http.answer_body import SocketBody
from ollama_proxy.openrouter.http.client import Client, UpstreamError
from ollama_proxy.openrouter.http.direct import AnswerHeaders, BadHead, parse_head, pool_of
from ollama_proxy.openrouter.http.transport import NotHttp, Transport
from tests.unit.openrouter.http.raw_upstream import CHUNKED, LAST_CHUNK, Peer, RawUpstream, answer, chunk


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Peer], None]], tuple[Client, RawUpstream]]]:
    made: list[Any] = []

    def serve(script: Callable[[Peer], None]) -> tuple[Client, RawUpstream]:
        upstream = RawUpstream(script)
        made.append((upstream, client := Client(upstream.url + "/api/v1", "sk-or-right", read_timeout=1)))
        return client, upstream

    yield serve
    for upstream, client in made:
        client.close()
        upstream.__exit__()


def always(data: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        while peer.request()[0]:
            peer.say(data)

    return script


@pytest.mark.parametrize(
    ("data", "status", "body", "connections"),
    [
        pytest.param(answer(b"{}"), 200, b"{}", 1, id="a length"),
        pytest.param(answer(b'{"error": 1}', status="429 Too Many Requests"), 429, b'{"error": 1}', 1, id="an error"),
        pytest.param(CHUNKED + chunk(b"abc") + chunk(b"d") + LAST_CHUNK, 200, b"abcd", 1, id="chunks"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"{}"), 200, b"{}", 1, id="an interim answer before"),
        pytest.param(answer(b"{}", more=b"Connection: close\r\n"), 200, b"{}", 2, id="the connection will close"),
        pytest.param(answer(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"), 200, b"{}", 2, id="HTTP/1.0"),
        pytest.param(answer(b"{}").replace(b"200 OK", b"200"), 200, b"{}", 1, id="a status without words"),
        pytest.param(answer(b"{}").replace(b"\r\n", b"\n"), 200, b"{}", 1, id="bare line feeds"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", 1, id="no body"),
        pytest.param(
            b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, b"", 1, id="no body, chunked"
        ),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", 1, id="no body, a length"),
        pytest.param(answer(b"{}", more=b"Content-Length: 2\r\n"), 200, b"{}", 1, id="a length said twice"),
        pytest.param(answer(b"{}", more=b"X-\xff: \x85\xe9\x0b\x00\r\n"), 200, b"{}", 1, id="odd bytes"),
    ],
)
@pytest.mark.usefixtures("way")
def test_answers(serve: Any, data: bytes, status: int, body: bytes, connections: int) -> None:
    client, upstream = serve(always(data))
    for _ in range(2):
        found = client.post("/chat", b"{}")
        assert (found.status, found.read_all(timeout=5)) == (status, body)
    assert upstream.connections == connections


def test_both_ways_say_the_same(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bytes, bytes]] = []

    def script(peer: Peer) -> None:
        while (request := peer.request())[0]:
            asked.append(request)
            peer.say(answer(b"{}", more=b"X-Word: a\r\nX-Word: b\r\n"))

    client, upstream = serve(script)
    first = client.post("/chat", b'{"a": 1}', {"X-More": "yes"})
    assert isinstance(first.body, SocketBody)
    monkeypatch.setattr(client_module, "pool_of", lambda *_: None)
    second = Client(upstream.url + "/api/v1", "sk-or-right").post("/chat", b'{"a": 1}', {"X-More": "yes"})
    for found in (first, second):
        assert found.headers.get("x-word") == "a, b"
        assert found.read_all(timeout=5) == b"{}"
    heads = [sorted(head.decode().lower().split("\r\n")) for head, _ in asked]
    assert heads[0] == heads[1]
    assert asked[0][1] == asked[1][1] == b'{"a": 1}'


@pytest.mark.parametrize(
    ("script", "blame"),
    [
        pytest.param(lambda peer: peer.request(), Blame.MODEL_FAILING, id="closed without an answer"),
        pytest.param(lambda peer: (peer.request(), peer.reset()), Blame.MODEL_FAILING, id="reset"),
        pytest.param(lambda peer: (peer.request(), peer.say(b"SSH-2.0-x\r\n")), Blame.ADDRESS, id="not HTTP"),
        pytest.param(
            lambda peer: (peer.request(), peer.say(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70000)),
            Blame.MODEL_FAILING,
            id="no end of the head",
        ),
        pytest.param(
            lambda peer: (peer.request(), peer.say(b"HTTP/1.1 OK\r\n\r\n")), Blame.MODEL_FAILING, id="no status"
        ),
        pytest.param(lambda peer: (peer.request(), peer.say(b"HTTP/1.")), Blame.MODEL_FAILING, id="half a head"),
        pytest.param(
            lambda peer: (peer.request(), peer.say_while_wanted(b"HTTP/1.1 100 Continue\r\n\r\n")),
            Blame.MODEL_FAILING,
            id="interim answers without end",
        ),
        pytest.param(
            lambda peer: (peer.request(), peer.say(answer(b"{}", more=b"Content-Length: 3\r\n"))),
            Blame.MODEL_FAILING,
            id="two lengths",
        ),
        pytest.param(lambda peer: (peer.request(), peer.is_closed()), Blame.MODEL_FAILING, id="silence"),
    ],
)
@pytest.mark.usefixtures("way")
def test_failures(serve: Any, script: Any, blame: Blame) -> None:
    client, upstream = serve(script)
    with pytest.raises(UpstreamError) as caught:
        client.post("/chat", b"{}")
    failure = caught.value.failure
    assert (classify(failure, now=0.0).blame, failure.sent) == (blame, True)
    assert upstream.connections == 1


@pytest.mark.parametrize("path", ["http://nowhere.invalid/", "https://nowhere.invalid/"])
def test_what_is_used_of_urllib3_that_is_not_public(path: str) -> None:
    """An update of urllib3 that drops one of these must fail here: requirements.txt pins the version for that."""
    transport = Transport(pool_size=1)
    request = requests.Request("POST", path).prepare()
    pool = pool_of(transport, request, {})
    assert type(pool).__mro__[1].__name__ == "_NotesIdling"
    for owner in (HTTPConnectionPool, HTTPSConnectionPool):
        assert callable(owner._get_conn)
        assert callable(owner._put_conn)
    for connection in (HTTPConnection, HTTPSConnection):
        assert isinstance(connection.is_connected, property)
        assert callable(connection.connect)
    connection = pool._get_conn()
    assert connection.sock is None
    connection.timeout = 1.0
    pool._put_conn(connection)
    assert pool._get_conn() is connection
    assert connection.idle_since > 0


def test_the_pool_asks_whether_a_connection_can_be_used(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "LONGEST_IDLE", -1)
    client, upstream = serve(always(answer(b"{}")))
    for _ in range(2):
        assert client.post("/chat", b"{}").read_all(timeout=5) == b"{}"
    assert upstream.connections == 2


def test_the_pool_is_not_used_directly_through_a_proxy_or_without_its_methods(serve: Any) -> None:
    client, _ = serve(always(answer(b"{}")))
    transport, request = client._transport, client._prepared("/chat")
    assert pool_of(transport, request, {"http": "http://proxy:1"}) is None

    class Other:
        def get_connection_with_tls_context(self, *_: Any, **__: Any) -> object:
            return object()

    assert pool_of(Other(), request, {}) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("head", "status", "headers"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b", 200, {"a": "b"}, id="plain"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA:b\r\na:  c ", 200, {"a": "b, c"}, id="repeated"),
        pytest.param(b"HTTP/1.1 502 \r\nA: b\r\n  c", 502, {"a": "b c"}, id="folded"),
        pytest.param(b"HTTP/1.1 200\r\nnonsense\r\nA: \xe9", 200, {"a": "é"}, id="a line that is no header"),
        pytest.param(b"HTTP/1.1 200 OK", 200, {}, id="none"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\x85C: d\x0bE: f", 200, {"a": "b\x85C: d\x0bE: f"}, id="odd line ends"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 3, 200, {"a": "b, b, b"}, id="thrice"),
    ],
)
def test_parse_head(head: bytes, status: int, headers: dict[str, str]) -> None:
    found, found_headers, version = parse_head(head)
    assert (found, dict(found_headers), version) == (status, headers, 1)


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"", NotHttp),
        (b"HTTP/2 200 OK", NotHttp),
        (b"ICY 200 OK", NotHttp),
        (b"HTTP/1.1 20 OK", BadHead),
        (b"HTTP/1.1 2000", BadHead),
    ],
)
def test_what_is_no_head(head: bytes, error: type[OSError]) -> None:
    with pytest.raises(error):
        parse_head(head)


def test_header_names_have_no_case() -> None:
    headers = AnswerHeaders(["Content-Type: a/b"])
    assert (headers["content-type"], headers.get("CONTENT-TYPE"), "content-Type" in headers) == ("a/b", "a/b", True)
    assert headers.get("x", "y") == "y"
