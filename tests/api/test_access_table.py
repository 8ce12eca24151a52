"""What strangers try, over real sockets: each attempt with the status it gets. None is served, no secret is logged."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer, wait_for

KEY = "s3cret-of-the-proxy"
PROMPT = "the-prompt-is-private"
CHAT = json.dumps({"model": "free", "messages": [{"role": "user", "content": PROMPT}], "stream": False}).encode()
LIMIT_MB = 1
BODY_SECONDS = 0.5


@pytest.fixture(scope="module")
def servers(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ProxyServer]]:
    """`open` listens on loopback without keys, `keyed` has one, `lan` listens everywhere but trusts nobody here."""
    shared_simulator.reset()
    limits = {"max_body_mb": LIMIT_MB, "body_timeout_seconds": BODY_SECONDS}
    folder = tmp_path_factory.mktemp("access")
    with (
        ProxyServer(folder, shared_simulator.url, **limits) as without_key,
        ProxyServer(folder, shared_simulator.url, ready=False, proxy_api_keys=f"another,{KEY}", **limits) as keyed,
        ProxyServer(folder, shared_simulator.url, ready=False, host="0.0.0.0", allow_networks="192.0.2.0/24") as lan,
    ):
        yield {"open": without_key, "keyed": keyed, "lan": lan}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


def send(server: ProxyServer, data: bytes, *, more: bytes = b"", pause: float = 0.0, end: bool = False) -> Reply:
    """Send bytes as they are, then `more` byte by byte with pauses; `end` closes this side. The answer to it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(data)
        try:
            for number in range(len(more)):
                time.sleep(pause)
                connection.sendall(more[number : number + 1])
        except ConnectionError:
            pass  # it has been answered already
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection, method=data.partition(b" ")[0].decode("latin-1"))
        answer.begin()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def request(
    *headers: str, line: str = "POST /api/chat HTTP/1.1", host: str = "127.0.0.1:11434", body: bytes | None = CHAT
) -> bytes:
    """A request as bytes. `body` None: its framing is in `headers`, and what there is of it is sent apart."""
    lines = [line, f"Host: {host}", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


BASIC = base64.b64encode(f"{KEY}:".encode()).decode()

KEYS = {
    "no key": request(),
    "no key for the metrics": request(line="GET /metrics HTTP/1.1", body=None),
    "no key for the version": request(line="HEAD /api/version HTTP/1.1", body=None),
    "a wrong key": request("Authorization: Bearer wrong"),
    "an empty key": request("Authorization: Bearer "),
    "a key and a letter more": request(f"Authorization: Bearer {KEY}x"),
    "a key without its last letter": request(f"Authorization: Bearer {KEY[:-1]}"),
    "the key in capitals": request(f"Authorization: Bearer {KEY.upper()}"),
    "both keys as one": request(f"Authorization: Bearer another,{KEY}"),
    "a key without a scheme": request(f"Authorization: {KEY}"),
    "the key as the user of Basic": request(f"Authorization: Basic {BASIC}"),
    "the key in another header": request(
        f"X-Auth-Token: {KEY}", f"Api-Key: {KEY}", f"Proxy-Authorization: Bearer {KEY}"
    ),
    "the key in a cookie": request(f"Cookie: key={KEY}"),
    "the key in the query": request(line=f"POST /api/chat?key={KEY}&api_key={KEY} HTTP/1.1"),
    "the key in the body": request(body=CHAT[:-1] + f', "api_key": "{KEY}"}}'.encode()),
    "a claim to be local": request("X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1"),
    "two slashes": request(line="GET //api/tags HTTP/1.1", body=None),
    "a public path and back": request(line="GET /health/../api/tags HTTP/1.1", body=None),
    "a public path and back, encoded": request(line="GET /health/%2e%2e/api/tags HTTP/1.1", body=None),
    "a public path as a parameter": request(line="GET /api/tags;/health HTTP/1.1", body=None),
    "a dot": request(line="GET /./api/tags HTTP/1.1", body=None),
    "an encoded slash": request(line="GET /api%2ftags HTTP/1.1", body=None),
    "a null byte": request(line="GET /api/tags%00/health HTTP/1.1", body=None),
    "an address as the target": request(line="GET http://localhost/api/tags HTTP/1.1", body=None),
    "another method": request(line="PUT /api/chat HTTP/1.1"),
    "a preflight that is none": request(line="OPTIONS /api/chat HTTP/1.1", body=None),
}


@pytest.mark.parametrize("data", KEYS.values(), ids=KEYS.keys())
def test_without_the_key_it_is_401(servers: dict[str, ProxyServer], simulator: Simulator, data: bytes) -> None:
    reply = send(servers["keyed"], data)
    assert reply.status == 401
    assert b"models" not in reply.body
    assert not simulator.chats()


BROWSERS_AND_PROXIES = {
    "DNS rebinding": request(host="evil.example:11434"),
    "DNS rebinding, a name that begins well": request(host="localhost.evil.example"),
    "DNS rebinding, a name that looks like an address": request(host="127.0.0.1.evil.example"),
    "a public address as the host": request(host="8.8.8.8"),
    "an evil origin, simple": request("Origin: https://evil.example", "Content-Type: text/plain"),
    "an evil origin, preflighted": request(
        "Origin: https://evil.example",
        "Access-Control-Request-Method: POST",
        line="OPTIONS /api/chat HTTP/1.1",
        body=None,
    ),
    "an origin that begins well": request("Origin: http://localhost.evil.example"),
    "an origin on another port of an evil host": request("Origin: http://evil.example:11434"),
    "no origin that can be named": request("Origin: null"),
    "a forwarded public address": request("X-Forwarded-For: 203.0.113.9"),
    "a forwarded address that claims to be local": request("X-Forwarded-For: 127.0.0.1"),
    "RFC 7239": request("Forwarded: for=203.0.113.9"),
    "X-Real-IP": request("X-Real-IP: 203.0.113.9"),
    "Cloudflare": request("CF-Connecting-IP: 203.0.113.9"),
    "another X-Forwarded header": request("X-Forwarded-Host: ollama.example.org"),
    "HTTP/1.0, as a bare proxy_pass speaks": request(line="POST /api/chat HTTP/1.0"),
}


@pytest.mark.parametrize("data", BROWSERS_AND_PROXIES.values(), ids=BROWSERS_AND_PROXIES.keys())
def test_what_a_browser_or_a_proxy_brings_is_403(
    servers: dict[str, ProxyServer], simulator: Simulator, data: bytes
) -> None:
    reply = send(servers["open"], data)
    assert reply.status == 403
    assert "access-control-allow-origin" not in reply.headers
    assert not simulator.chats()


def test_an_address_outside_the_networks_is_403_and_told_both_ways_out(servers: dict[str, ProxyServer]) -> None:
    reply = send(servers["lan"], request())
    assert reply.status == 403
    assert b"PROXY_API_KEYS" in reply.body
    assert b"ALLOW_NETWORKS" in reply.body


BIG = LIMIT_MB * 1024 * 1024 + 1
CHUNKED = "Transfer-Encoding: chunked"
BOMB = gzip.compress(b" " * 50_000_000)

BODIES = {
    "announced over the limit": (413, {"data": request(f"Content-Length: {BIG}", body=None)}),
    "chunked over the limit": (413, {"data": request(CHUNKED, body=None) + b"%x\r\n" % (2 * BIG) + b"x" * 2 * BIG}),
    "a gzip bomb": (400, {"data": request("Content-Encoding: gzip", body=BOMB)}),
    "shorter than announced": (400, {"data": request("Content-Length: 1000", body=None) + CHAT, "end": True}),
    "a chunk cut off": (400, {"data": request(CHUNKED, body=None) + b"ff\r\n{", "end": True}),
    "dribbled": (408, {"data": request(f"Content-Length: {len(CHAT)}", body=None), "more": CHAT[:12], "pause": 0.1}),
    "dribbled in chunks": (408, {"data": request(CHUNKED, body=None), "more": b"1\r\n{\r\n1\r\n}\r\n", "pause": 0.1}),
    "a chunk size that is none": (400, {"data": request(CHUNKED, body=None) + b"zz\r\n{}\r\n0\r\n\r\n"}),
    "length and chunks at once": (400, {"data": request(CHUNKED, "Content-Length: 4", body=None) + b"0\r\n\r\n"}),
    "two lengths": (400, {"data": request("Content-Length: 3", body=CHAT)}),
    "a length that is none": (400, {"data": request("Content-Length: +5", body=None) + b"hello"}),
    "a space before the colon": (400, {"data": request("Content-Length : 5", body=None) + b"hello"}),
    "not JSON": (400, {"data": request(body=b"\x1f\x8b\x00")}),
    "a null byte in a header": (400, {"data": request("X-A: a\0b")}),
    "a header line without end": (431, {"data": request("X-A: " + "a" * 20_000)}),
    "a target without end": (414, {"data": request(line=f"GET /{'a' * 9_000} HTTP/1.1", body=None)}),
}


@pytest.mark.parametrize(("status", "sent"), BODIES.values(), ids=BODIES.keys())
def test_broken_and_endless_requests(
    servers: dict[str, ProxyServer], simulator: Simulator, status: int, sent: dict[str, object]
) -> None:
    began = time.monotonic()
    reply = send(servers["open"], **sent)  # type: ignore[arg-type]
    assert reply.status == status
    assert time.monotonic() - began < 5
    assert not simulator.chats()


@pytest.mark.parametrize(
    "name",
    [
        "x\r\nX-Evil: 1",
        "x\nX-Evil: 1",
        "x\0",
        "../../etc/passwd",
        "x" * 100_000,
        "\u2028",
        "free\r\n\r\nHTTP/1.1 200 OK",
    ],
    ids=["CRLF", "LF", "null", "dots", "long", "line separator", "a whole answer"],
)
def test_a_model_name_gets_into_no_header_and_no_line_of_the_log(
    servers: dict[str, ProxyServer], simulator: Simulator, name: str
) -> None:
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": PROMPT}], "stream": False}).encode()
    before = len(servers["open"].log().splitlines())
    reply = send(servers["open"], request(body=body))
    assert reply.status in (400, 404)
    assert "x-evil" not in reply.headers
    assert not simulator.chats()
    [line] = wait_for(lambda: servers["open"].log().splitlines()[before:], what="the line of the log")
    assert len(line) < 1000
    assert json.loads(line)["status"] == reply.status


def test_who_may_is_served(servers: dict[str, ProxyServer], simulator: Simulator) -> None:
    """Otherwise the tables above would prove nothing."""
    assert send(servers["open"], request()).status == 200
    basic = base64.b64encode(f"anybody:{KEY}".encode()).decode()
    for header in (f"Authorization: Bearer {KEY}", f"x-api-key: {KEY}", f"Authorization: Basic {basic}"):
        assert send(servers["keyed"], request(header, host="ollama.example.org")).status == 200
    for path in ("/", "/health", "/health/ready"):
        assert send(servers["keyed"], request(line=f"GET {path} HTTP/1.1", body=None)).status == 200
    assert len(simulator.chats()) == 4


FLOOD = """
import socket, sys
piece = b"x" * (1 << 20)
while True:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        try:
            connection.sendall(b"POST /api/chat HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 600000000\\r\\n\\r\\n")
            for _ in range(600):
                connection.sendall(piece)
            print("swallowed", flush=True)
        except OSError:
            print("closed", flush=True)
"""


def test_600_megabytes_to_a_refused_route_do_not_slow_another_client(servers: dict[str, ProxyServer]) -> None:
    server = servers["keyed"]
    flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(server.port)], stdout=subprocess.PIPE)
    try:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {KEY}"
            slowest, deadline = 0.0, time.monotonic() + 3
            while time.monotonic() < deadline:
                began = time.monotonic()
                assert session.get(f"{server.url}/api/version", timeout=PATIENCE).status_code == 200
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.002)
        assert slowest < 0.2
    finally:
        flood.kill()
        outcomes = flood.communicate()[0].split()
    # It was under way, and the server closes the connection rather than read all that.
    assert set(outcomes) == {b"closed"}


def test_no_secret_is_in_any_log(servers: dict[str, ProxyServer]) -> None:
    """The last of this module: the logs hold all that was tried above."""
    for server in servers.values():
        log = server.log()
        assert '"status":40' in log.replace(" ", "")
        for secret in (KEY, KEY.upper(), BASIC, PROMPT, "sk-or-test-key"):
            assert secret not in log
