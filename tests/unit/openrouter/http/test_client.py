"""The client over real local sockets: reuse of connections, what is sent twice, TLS, the environment."""

from __future__ import annotations

import errno
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3.util.connection

from ollama_proxy.openrouter.errors.failure import FailureKind
from ollama_proxy.openrouter.http import client as client_module
from ollama_proxy.openrouter.http import transport
from ollama_proxy.openrouter.http.client import Client, UpstreamError
from simulator.process import Simulator
from tests.servers import free_port
from tests.unit.openrouter.http.raw_upstream import CHUNKED, Peer, RawUpstream, answer, chunk

KEY = "sk-or-right"
ASK = b'{"model": "tidal/ember-4:free", "stream": true, "messages": [{"role": "user", "content": "hello there"}]}'


@contextmanager
def client_of(script: Callable[[Peer], None], **options: Any) -> Iterator[tuple[Client, RawUpstream]]:
    with RawUpstream(script) as upstream:
        client = Client(upstream.url + "/api/v1", KEY, read_timeout=5, **options)
        try:
            yield client, upstream
        finally:
            client.close()


class Recorder:
    """A script that answers every request with `{}` and keeps what was asked."""

    def __init__(self, *, head: bytes = b"") -> None:
        self.asked: list[tuple[bytes, bytes]] = []
        self._head = head

    def __call__(self, peer: Peer) -> None:
        while (request := peer.request())[0]:
            self.asked.append(request)
            peer.say(answer(b"{}", more=self._head))


def post(client: Client, body: bytes = b"{}") -> bytes:
    return client.post("/chat/completions", body).read_all(timeout=5)


#: Bytes: more than the system's buffers of both sides take.
LARGE = 16_000_000


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_calls_one_after_the_other_use_one_connection() -> None:
    script = Recorder()
    with client_of(script) as (client, upstream):
        assert [post(client) for _ in range(3)] == [b"{}"] * 3
        assert upstream.connections == 1
    assert len(script.asked) == 3


def test_what_is_sent() -> None:
    script = Recorder()
    with client_of(script, app_url="https://app.example", app_title="App") as (client, _):
        client.post("/chat/completions", b'{"a":1}', {"X-More": "1"}).read_all(timeout=5)
    head, body = script.asked[0]
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /api/v1/chat/completions http/1.1"
    assert {
        f"authorization: bearer {KEY}",
        "content-type: application/json",
        "accept-encoding: identity",
        "content-length: 7",
        "http-referer: https://app.example",
        "x-title: app",
        "x-more: 1",
    } <= set(lines)
    assert body == b'{"a":1}'


def test_headers_of_one_call_are_not_sent_with_the_next() -> None:
    script = Recorder()
    with client_of(script) as (client, _):
        client.post("/chat/completions", b"{}", {"X-More": "1"}).read_all(timeout=5)
        post(client)
    assert [b"X-More" in head for head, _ in script.asked] == [True, False]


@pytest.mark.parametrize("end", [Peer.reset, Peer.close], ids=["reset", "closed"])
@pytest.mark.usefixtures("way")
def test_a_kept_connection_that_was_closed_meanwhile_is_replaced_unseen(end: Callable[[Peer], None]) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.say(answer(b"{}"))
        if peer.number == 1:
            end(peer)
            closed.set()
        else:
            peer.request()

    with client_of(script) as (client, upstream):
        assert post(client) == b"{}"
        assert closed.wait(5)
        assert post(client) == b"{}"
        assert upstream.connections == 2


@pytest.mark.parametrize("reads", [0, 1000], ids=["nothing read", "a part read"])
@pytest.mark.usefixtures("way")
def test_a_kept_connection_that_breaks_before_all_is_sent_is_replaced_unseen(reads: int) -> None:
    asked = []

    def script(peer: Peer) -> None:
        asked.append(len(peer.request()[1]))
        peer.say(answer(b"{}"))
        if peer.number == 1:
            peer.read_exactly(reads or 1)
            peer.reset()
        else:
            peer.request()

    with client_of(script) as (client, upstream):
        assert [post(client), post(client, b"x" * LARGE)] == [b"{}", b"{}"]
        assert upstream.connections == 2
    assert asked == [2, LARGE]


@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
@pytest.mark.parametrize("end", [Peer.reset, Peer.close], ids=["reset", "closed"])
@pytest.mark.usefixtures("way")
def test_a_connection_that_ends_after_it_took_the_request_is_not_tried_again(
    end: Callable[[Peer], None], kept: bool
) -> None:
    # The request may have reached a model, and been paid for.
    asked = []

    def script(peer: Peer) -> None:
        if kept:
            peer.request()
            peer.say(answer(b"{}"))
        asked.append(peer.request())
        end(peer)

    with client_of(script) as (client, upstream):
        if kept:
            assert post(client) == b"{}"
        with pytest.raises(UpstreamError) as caught:
            post(client)
        assert upstream.connections == 1
    assert (caught.value.failure.kind, caught.value.failure.sent) == (FailureKind.NETWORK, True)
    assert len(asked) == 1


@pytest.mark.usefixtures("way")
def test_a_new_connection_that_ends_before_all_is_sent_says_so() -> None:
    def script(peer: Peer) -> None:
        peer.read_exactly(1000)
        peer.reset()

    with client_of(script) as (client, upstream):
        with pytest.raises(UpstreamError) as caught:
            post(client, b"x" * LARGE)
        assert upstream.connections == 1
    assert (caught.value.failure.kind, caught.value.failure.sent) == (FailureKind.NETWORK, False)


@pytest.mark.usefixtures("way")
def test_a_peer_that_takes_no_more_of_a_request_was_not_sent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CONNECT_TIMEOUT", 1.0)  # the library's limit for sending

    def script(peer: Peer) -> None:
        done.wait(5)

    done = threading.Event()
    with RawUpstream(script) as upstream:
        client = Client(upstream.url, KEY, read_timeout=0.05)
        with pytest.raises(UpstreamError) as caught:
            post(client, b"x" * LARGE)
        done.set()
    failure = caught.value.failure
    assert (failure.kind, failure.sent) == (FailureKind.NETWORK, False)
    assert failure.detail == "the request could not be sent in time"


@pytest.mark.usefixtures("way")
def test_an_answer_to_a_request_that_was_not_read_to_its_end_counts() -> None:
    def script(peer: Peer) -> None:
        peer.read_exactly(1000)
        peer.say(answer(b"too large", status="413 Payload Too Large", more=b"Connection: close\r\n"))
        peer.end_writing()
        peer.read_exactly(LARGE)

    with client_of(script) as (client, _):
        found = client.post("/chat/completions", b"x" * LARGE)
        assert (found.status, found.read_all(timeout=5)) == (413, b"too large")


@pytest.mark.usefixtures("way")
def test_an_idle_connection_is_not_used_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of(Recorder()) as (client, upstream):
        assert [post(client), post(client)] == [b"{}", b"{}"]
        assert upstream.connections == 1
        monkeypatch.setattr(transport, "LONGEST_IDLE", 0.0)
        assert post(client) == b"{}"
        assert upstream.connections == 2


def test_through_a_proxy_that_cannot_connect_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(answer(b"", status="502 Bad Gateway"))

    with RawUpstream(script) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(UpstreamError) as caught:
            post(Client("https://openrouter.invalid/api/v1", KEY))
    assert (caught.value.failure.kind, caught.value.failure.sent) == (FailureKind.NETWORK, False)


def test_through_a_proxy_that_closes_the_request_counts_as_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawUpstream(lambda peer: peer.request()) as proxy:  # type: ignore[arg-type, return-value]
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(UpstreamError) as caught:
            post(Client("http://openrouter.invalid/api/v1", KEY))
        assert proxy.connections == 1
    assert (caught.value.failure.kind, caught.value.failure.sent) == (FailureKind.NETWORK, True)


def test_a_new_tls_connection_that_ends_without_an_answer_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Simulator(tls=True) as simulator:
        assert simulator.ca_file is not None
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", simulator.ca_file)
        client = Client(simulator.url, KEY)
        simulator.scenario("*", early_close=0, before_headers=True)
        with pytest.raises(UpstreamError) as caught:
            client.post("/chat/completions", b'{"model": "a/b", "messages": []}')
        assert (caught.value.failure.kind, caught.value.failure.sent) == (FailureKind.NETWORK, True)
        assert len(simulator.chats()) == 1


@pytest.mark.usefixtures("way")
def test_refused() -> None:
    client = Client(f"http://127.0.0.1:{free_port()}/api/v1", KEY)
    with pytest.raises(UpstreamError) as caught:
        post(client)
    failure = caught.value.failure
    assert (failure.kind, failure.sent, failure.detail) == (FailureKind.NETWORK, False, "the connection was refused")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EMFILE, "file descriptors"), (errno.ENFILE, "file descriptors"), (errno.ENOMEM, "memory")],
)
@pytest.mark.usefixtures("way")
def test_what_this_machine_lacks_is_not_blamed_on_the_network(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def create_connection(*_: Any, **__: Any) -> Any:
        raise OSError(number, "no")

    monkeypatch.setattr(urllib3.util.connection, "create_connection", create_connection)
    with pytest.raises(UpstreamError) as caught:
        post(Client("http://127.0.0.1:9/api/v1", KEY))
    failure = caught.value.failure
    assert (failure.kind, failure.sent, words in failure.detail) == (FailureKind.OUT_OF_RESOURCES, False, True)


@pytest.mark.usefixtures("way")
def test_a_name_that_does_not_exist() -> None:
    client = Client("http://nowhere.invalid/api/v1", KEY)
    with pytest.raises(UpstreamError) as caught:
        post(client)
    failure = caught.value.failure
    said = (failure.kind, failure.sent, failure.detail)
    assert said == (FailureKind.NETWORK, False, "its name could not be resolved")


@pytest.mark.usefixtures("way")
def test_no_answer_in_time() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.is_closed()

    with RawUpstream(script) as upstream:
        client = Client(upstream.url, KEY, read_timeout=0.05)
        with pytest.raises(UpstreamError) as caught:
            post(client)
    assert (caught.value.failure.kind, caught.value.failure.sent) == (FailureKind.READ_TIMEOUT, True)


def test_tls_with_an_authority_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(tls=True) as simulator:
        assert simulator.ca_file is not None
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", simulator.ca_file)
        client = Client(simulator.url, KEY)
        assert [client.get("/models")[0] for _ in range(3)] == [200] * 3
        assert simulator.stats()["open_connections"] == 1
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(UpstreamError) as caught:
            Client(simulator.url, KEY).get("/models")
        failure = caught.value.failure
        assert (failure.sent, failure.detail) == (False, "no TLS connection could be made")


def test_short_waits_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(tls=True) as simulator:
        assert simulator.ca_file is not None
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", simulator.ca_file)
        simulator.scenario("*", text=["one", "two"], hold="gate", hold_at=1)
        found = Client(simulator.url, KEY).post("/chat/completions", ASK)
        simulator.log(holding="gate", wait=5)
        read = b""
        while data := found.body.read(0.02):
            read += data
        assert (data, found.body.read(0.02)) == (None, None)
        simulator.release("gate")
        assert b"two" not in read
        while data := found.body.read(5):
            read += data
        assert b"two" in read
        assert read.endswith(b"data: [DONE]\n\n")
        found.close()


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Recorder()
    with RawUpstream(script) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        client = Client("http://openrouter.invalid/api/v1", KEY)
        assert [post(client), post(client)] == [b"{}", b"{}"]
        assert proxy.connections == 1
    assert script.asked[0][0].startswith(b"POST http://openrouter.invalid/api/v1/chat/completions ")


def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with client_of(Recorder()) as (client, _):
        assert post(client) == b"{}"


def test_netrc_does_not_replace_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    script = Recorder()
    with client_of(script) as (client, _):
        post(client)
        client.get("/models")
    assert all(f"Authorization: Bearer {KEY}".encode() in head for head, _ in script.asked)


def test_cookies_are_not_kept() -> None:
    script = Recorder(head=b"Set-Cookie: a=b; Path=/\r\n")
    with client_of(script) as (client, _):
        post(client)
        post(client)
        client.get("/models")
    assert not any(b"cookie:" in head.lower() for head, _ in script.asked)


def test_redirects_are_not_followed_with_the_key() -> None:
    asked = []

    def script(peer: Peer) -> None:
        asked.append(peer.request())
        peer.say(answer(b"", status="307 Temporary Redirect", more=b"Location: http://elsewhere.invalid/\r\n"))

    with client_of(script) as (client, _):
        assert client.post("/chat/completions", b"{}").status == 307
    assert len(asked) == 1


def test_an_answer_that_trickles_is_not_waited_for_beyond_its_time() -> None:
    goes_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.say(CHUNKED + chunk(b" "))
        goes_on.wait(5)

    with client_of(script) as (client, _):
        with pytest.raises(UpstreamError) as caught:
            client.post("/models", b"{}").read_all(timeout=0.05)
        goes_on.set()
    assert caught.value.failure.kind is FailureKind.TOTAL_TIMEOUT


def test_an_endless_answer_is_cut_off() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(CHUNKED + chunk(b"x" * 3000))
        peer.is_closed()

    with client_of(script) as (client, _), pytest.raises(UpstreamError) as caught:
        client.post("/models", b"{}").read_all(timeout=5, limit=1000)
    assert caught.value.failure.kind is FailureKind.MALFORMED


def test_a_document_that_is_too_long_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LONGEST_DOCUMENT", 2048)

    def script(peer: Peer) -> None:
        peer.request()
        peer.say(CHUNKED)
        peer.say_while_wanted(chunk(b" " * 1000))

    with client_of(script) as (client, _), pytest.raises(UpstreamError) as caught:
        client.get("/models")
    failure = caught.value.failure
    assert (failure.kind, failure.detail) == (FailureKind.MALFORMED, "the answer is longer than 2 KiB")


def test_a_bundle_that_cannot_be_read_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(OSError):
        Client("https://openrouter.invalid", KEY)


def test_one_tls_context_serves_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = ssl.create_default_context

    def counting(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        made.append(1)
        return original(*args, **kwargs)

    with Simulator(tls=True) as simulator:
        assert simulator.ca_file is not None
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", simulator.ca_file)
        monkeypatch.setattr(ssl, "create_default_context", counting)
        client = Client(simulator.url, KEY)
        answers = [client.post("/chat/completions", ASK) for _ in range(3)]
        for found in answers:
            found.close()
    assert len(made) == 1
