"""Who may call: tables of requests and what becomes of them (docs/contract.md, "Access")."""

from __future__ import annotations

import base64
import socket
import timeit
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from ollama_proxy.access.hosts import machine_addresses
from ollama_proxy.access.policy import AccessPolicy, Decision, client_address, describe_access
from ollama_proxy.config import Settings
from ollama_proxy.errors import Forbidden, Unauthorized
from tests.servers import MEASURED


def request(method: str = "POST", path: str = "/api/chat", peer: str = "127.0.0.1", **headers: str) -> dict[str, Any]:
    """A WSGI environment; headers by their names in the environment without HTTP_."""
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "REMOTE_ADDR": peer,
        "SERVER_PROTOCOL": headers.pop("protocol", "HTTP/1.1"),
        "HTTP_HOST": headers.pop("HOST", "localhost:11434"),
        **{f"HTTP_{name}": value for name, value in headers.items()},
    }


def networks(*texts: str) -> tuple[Any, ...]:
    return tuple(ip_network(text) for text in texts)


def check(environ: dict[str, Any], **settings: Any) -> Decision:
    policy = AccessPolicy(Settings(**settings), hostnames=["MyBox"], interface_ips=[ip_address("203.0.113.9")])
    return policy.check(environ)


def verdict(decision: Decision) -> str | int:
    if decision.status is not None:
        return decision.status
    if isinstance(decision.error, Unauthorized | Forbidden):
        return f"{decision.error.status} with text"
    return "served"


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("", True),
        ("localhost", True),
        ("LOCALHOST:11434", True),
        ("mybox:11434", True),
        ("127.0.0.1:11434", True),
        ("127.8.8.8", True),
        ("0.0.0.0:11434", True),
        ("192.168.1.20", True),
        ("10.1.2.3:80", True),
        ("172.31.0.1", True),
        ("[::1]:11434", True),
        ("[::1]", True),
        ("[::]:1", True),
        ("[fd00::5]:11434", True),
        ("[::ffff:127.0.0.1]", True),
        ("203.0.113.9:11434", True),
        ("host.docker.internal:11434", True),
        ("printer.local", True),
        ("a.localhost", True),
        ("example.com", False),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("internal", False),
        ("ollama:11434", False),
        ("8.8.8.8", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("172.32.0.1", False),
        ("[2001:db8::1]:11434", False),
        ("127.0.0.1.example.com", False),
        ("127.0.0.1:11434@example.com", False),
        ("[::1].example.com", False),
        ("[::1", False),
        ("localhost:x", False),
    ],
)
def test_loopback_bind_serves_only_hosts_that_mean_this_machine(host: str, served: bool) -> None:
    assert verdict(check(request(HOST=host), host="127.0.0.1")) == ("served" if served else 403)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"host": "0.0.0.0"}, "served", id="other binds: any host"),
        pytest.param({"host": "::1"}, 403, id="IPv6 loopback"),
        pytest.param({"host": "localhost"}, 403, id="loopback by name"),
        pytest.param({"host": "127.0.0.1", "allow_anonymous": True}, 403, id="ALLOW_ANONYMOUS does not lift it"),
        pytest.param({"host": "127.0.0.1", "proxy_api_keys": ("k",)}, "401 with text", id="with keys: not looked at"),
    ],
)
def test_when_the_host_matters(settings: dict[str, Any], expected: str | int) -> None:
    assert verdict(check(request(HOST="evil.example"), **settings)) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost:11434", 204), ("127.0.0.1:11434", "served"), ("evil.example", 403)],
)
def test_options_without_origin_is_answered_for_local_names(host: str, expected: str | int) -> None:
    assert verdict(check(request("OPTIONS", HOST=host), host="127.0.0.1")) == expected


@pytest.mark.parametrize(
    ("origin", "extra", "allow_origin"),
    [
        pytest.param("http://localhost", (), "http://localhost", id="local page"),
        pytest.param("https://127.0.0.1:3000", (), "https://127.0.0.1:3000", id="local page with port"),
        pytest.param("http://0.0.0.0:1", (), "http://0.0.0.0:1", id="unspecified address"),
        pytest.param("app://obsidian.md", (), "app://obsidian.md", id="desktop app"),
        pytest.param("vscode-webview://x1", (), "vscode-webview://x1", id="VS Code"),
        pytest.param("http://localhost:3000.evil.com", (), "http://localhost:3000.evil.com", id="Ollama's looseness"),
        pytest.param("http://evil.example", (), None, id="any other page"),
        pytest.param("null", (), None, id="sandboxed page"),
        pytest.param("chrome-extension://abc", (), None, id="extension by default"),
        pytest.param(
            "chrome-extension://abc", ("chrome-extension://*",), "chrome-extension://abc", id="glob in the list"
        ),
        pytest.param("https://ui.example", (" https://UI.example ",), "https://ui.example", id="named page"),
        pytest.param("https://ui.example.evil", ("https://ui.example",), None, id="a name is the whole name"),
        pytest.param("https://a.example", ("https://*.example",), "https://a.example", id="glob inside"),
        pytest.param("https://example", ("https://exa*ample",), None, id="the two sides of a glob do not overlap"),
        pytest.param("http://evil.example", ("*",), "*", id="star"),
        pytest.param("http://localhost:11434", (), False, id="same origin: no CORS"),
        pytest.param("https://localhost:11434", (), False, id="same origin behind TLS"),
    ],
)
def test_origins(origin: str, extra: tuple[str, ...], allow_origin: str | bool | None) -> None:
    for method in ("GET", "POST"):
        decision = check(request(method, ORIGIN=origin), ollama_origins=extra)
        sent = dict(decision.headers)
        if allow_origin is None:
            assert (decision.status, decision.headers) == (403, ())
        elif allow_origin is False:
            assert (verdict(decision), decision.headers) == ("served", ())
        else:
            assert verdict(decision) == "served"
            assert sent["Access-Control-Allow-Origin"] == allow_origin
            assert sent.get("Vary") == (None if allow_origin == "*" else "Origin")


@pytest.mark.parametrize("bind", ["0.0.0.0", "127.0.0.1"])
def test_a_rebound_page_is_not_same_origin(bind: str) -> None:
    page = request(HOST="evil.example:11434", ORIGIN="http://evil.example:11434")
    assert verdict(check(page, host=bind)) == 403


def test_preflight_has_ollamas_headers_and_what_was_asked_for() -> None:
    asked = "content-type, x-api-key, x-stainless-new, bad\theader, \u00e9"
    preflight = request("OPTIONS", "/no/such/path", "8.8.8.8", ORIGIN="http://localhost:3000")
    preflight["HTTP_ACCESS_CONTROL_REQUEST_HEADERS"] = asked
    decision = check(preflight, proxy_api_keys=("k",))
    headers = dict(decision.headers)
    assert decision.status == 204
    assert headers["Access-Control-Allow-Methods"] == "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
    assert headers["Access-Control-Max-Age"] == "43200"
    assert headers["Access-Control-Allow-Headers"] == (
        "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"
        "X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
        "X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
        "X-Stainless-Runtime-Version,X-Stainless-Timeout,x-api-key,x-stainless-new"
    )
    vary = [value for name, value in decision.headers if name == "Vary"]
    assert vary == ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"]
    assert "Access-Control-Allow-Credentials" not in headers


def test_private_network_preflight_is_answered_only_when_asked() -> None:
    plain = request("OPTIONS", ORIGIN="app://x")
    asking = {**plain, "HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK": "true"}
    name = "Access-Control-Allow-Private-Network"
    assert name not in dict(check(plain).headers)
    assert dict(check(asking).headers)[name] == "true"


def test_preflight_of_another_page_is_refused_before_host_and_key() -> None:
    decision = check(request("OPTIONS", ORIGIN="http://evil.example"), proxy_api_keys=("k",))
    assert decision.status == 403
    assert decision.headers == ()


def test_a_refusal_can_be_read_by_an_allowed_page() -> None:
    decision = check(request(peer="8.8.8.8", ORIGIN="http://localhost:3000"))
    assert verdict(decision) == "403 with text"
    assert dict(decision.headers)["Access-Control-Allow-Origin"] == "http://localhost:3000"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("headers", "served"),
    [
        pytest.param({}, False, id="none"),
        pytest.param({"AUTHORIZATION": "Bearer second"}, True, id="bearer"),
        pytest.param({"AUTHORIZATION": "bearer  second "}, True, id="the scheme has no case"),
        pytest.param({"AUTHORIZATION": "Bearer wrong"}, False, id="wrong"),
        pytest.param({"AUTHORIZATION": "Bearer secon"}, False, id="a beginning of a key"),
        pytest.param({"AUTHORIZATION": "Bearer second,first"}, False, id="the list itself"),
        pytest.param({"AUTHORIZATION": "Bearer "}, False, id="empty"),
        pytest.param({"AUTHORIZATION": "Bearer sch\xc3\xbcssel"}, True, id="UTF-8"),
        pytest.param({"AUTHORIZATION": "second"}, False, id="no scheme"),
        pytest.param({"AUTHORIZATION": basic("anybody:first")}, True, id="basic"),
        pytest.param({"AUTHORIZATION": basic(":first")}, True, id="basic without a name"),
        pytest.param({"AUTHORIZATION": basic("first:")}, False, id="key as the name"),
        pytest.param({"AUTHORIZATION": "Basic !!"}, False, id="not base64"),
        pytest.param({"AUTHORIZATION": "Basic \xff"}, False, id="not ASCII"),
        pytest.param({"X_API_KEY": "first"}, True, id="x-api-key"),
        pytest.param({"X_API_KEY": "first", "AUTHORIZATION": "Bearer stray"}, True, id="one good key is enough"),
        pytest.param({"COOKIE": "first"}, False, id="another header"),
        pytest.param({"X_API_KEY": "\u20ac"}, False, id="text no server would send"),
    ],
)
def test_keys(headers: dict[str, str], served: bool) -> None:
    decision = check(request(peer="8.8.8.8", **headers), proxy_api_keys=("first", "second", "schüssel"))
    assert verdict(decision) == ("served" if served else "401 with text")
    if not served:
        assert ("WWW-Authenticate", "Bearer") in decision.headers


def test_a_key_lets_forwarded_old_and_far_requests_in() -> None:
    environ = request(peer="8.8.8.8", protocol="HTTP/1.0", X_FORWARDED_FOR="9.9.9.9", X_API_KEY="k", HOST="far.example")
    assert check(environ, proxy_api_keys=("k",), host="127.0.0.1").allowed


@pytest.mark.parametrize("value", ["Bearer ", "Bearer ollama", "nonsense", "Basic !!"])
def test_without_keys_a_stray_key_is_no_error(value: str) -> None:
    assert check(request(AUTHORIZATION=value, X_API_KEY="")).allowed


@pytest.mark.parametrize(
    ("peer", "served"),
    [
        ("127.0.0.1", True),
        ("10.0.0.5", True),
        ("172.16.3.4", True),
        ("192.168.0.9", True),
        ("169.254.1.1", True),
        ("::1", True),
        ("fd12::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:192.168.0.9", True),
        ("", True),  # a Unix socket: a process of this machine
        ("8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("100.64.0.1", False),
        ("2001:db8::1", False),
        ("not an address", False),
    ],
)
def test_networks_without_keys(peer: str, served: bool) -> None:
    decision = check(request(peer=peer, HOST="any.example"))
    assert verdict(decision) == ("served" if served else "403 with text")
    assert verdict(check(request(peer=peer), allow_anonymous=True)) == "served"


def test_a_request_without_a_peer_is_refused() -> None:
    environ = request()
    del environ["REMOTE_ADDR"]
    assert verdict(check(environ)) == "403 with text"


def test_networks_can_be_set() -> None:
    settings = {"allow_networks": networks("100.64.0.0/10")}
    assert check(request(peer="100.64.0.1"), **settings).allowed
    assert not check(request(peer="127.0.0.1"), **settings).allowed


FORWARDED = [
    {"FORWARDED": "for=10.0.0.1"},
    {"X_FORWARDED_FOR": "10.0.0.1"},
    {"X_FORWARDED_PROTO": "https"},
    {"X_FORWARDED_HOST": "localhost"},
    {"X_REAL_IP": "10.0.0.1"},
    {"CF_CONNECTING_IP": "10.0.0.1"},
    {"protocol": "HTTP/1.0"},
]


@pytest.mark.parametrize("mark", FORWARDED, ids=lambda mark: next(iter(mark)))
def test_a_request_through_an_unknown_proxy_is_refused(mark: dict[str, str]) -> None:
    decision = check(request(**dict(mark)))
    assert verdict(decision) == "403 with text"
    text = decision.error.message if decision.error else ""
    assert "PROXY_API_KEYS" in text
    assert "TRUSTED_PROXIES" in text
    assert check(request(**dict(mark)), allow_anonymous=True).allowed


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        pytest.param("127.0.0.1", {}, "served", id="the proxy itself, such as its health check"),
        pytest.param("127.0.0.1", {"protocol": "HTTP/1.0"}, "served", id="nginx speaks HTTP/1.0 by default"),
        pytest.param("127.0.0.1", {"X_FORWARDED_FOR": "192.168.1.7"}, "served", id="a near client"),
        pytest.param("127.0.0.1", {"X_FORWARDED_FOR": "8.8.8.8"}, "403 with text", id="a far client"),
        pytest.param("127.0.0.1", {"X_FORWARDED_FOR": "192.168.1.7, 8.8.8.8"}, "403 with text", id="a lie on the left"),
        pytest.param("127.0.0.1", {"X_FORWARDED_FOR": "nonsense"}, "403 with text", id="not an address"),
        pytest.param("127.0.0.1", {"X_FORWARDED_FOR": ""}, "403 with text", id="empty"),
        pytest.param("127.0.0.1", {"X_REAL_IP": "10.0.0.1"}, "403 with text", id="a proxy that uses another header"),
        pytest.param("10.0.0.9", {"X_FORWARDED_FOR": "10.0.0.1"}, "403 with text", id="a peer that is not trusted"),
        pytest.param("", {"X_FORWARDED_FOR": "8.8.8.8"}, "403 with text", id="a far client through a Unix socket"),
        pytest.param("", {"X_FORWARDED_FOR": "10.0.0.1"}, "served", id="a near client through a Unix socket"),
    ],
)
def test_trusted_proxies(peer: str, headers: dict[str, str], expected: str) -> None:
    assert verdict(check(request(peer=peer, **headers), trusted_proxies=networks("127.0.0.0/8"))) == expected


def test_a_unix_sockets_proxy_must_be_trusted_too() -> None:
    assert verdict(check(request(peer="", X_FORWARDED_FOR="10.0.0.1"))) == "403 with text"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("8.8.8.8", "10.0.0.1", "8.8.8.8"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "1.1.1.1,2.2.2.2", "2.2.2.2"),
        ("10.0.0.1", "1.1.1.1, 2.2.2.2, 10.0.0.7", "2.2.2.2"),
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "1.1.1.1:4711", "1.1.1.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "::ffff:2.2.2.2", "2.2.2.2"),
        ("::ffff:10.0.0.1", "2.2.2.2", "2.2.2.2"),
        ("10.0.0.1", "2.2.2.2, unknown", None),
        ("10.0.0.1", "unknown, 2.2.2.2", "2.2.2.2"),
        ("10.0.0.1", "2.2.2.2,", None),
        ("nonsense", "2.2.2.2", None),
    ],
)
def test_client_address(peer: str, forwarded: str | None, expected: str | None) -> None:
    environ = request(peer=peer) if forwarded is None else request(peer=peer, X_FORWARDED_FOR=forwarded)
    found = client_address(environ, networks("10.0.0.0/8"))
    assert (None if found is None else str(found)) == expected


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        pytest.param({}, True, id="a request of the proxy's own, such as a health check"),
        pytest.param({"X_FORWARDED_FOR": "10.0.0.2"}, True, id="all hops are trusted"),
        pytest.param({"X_FORWARDED_PROTO": "https"}, False, id="only the scheme"),
        pytest.param({"X_FORWARDED_HOST": "example.com"}, False, id="only the host"),
        pytest.param({"X_FORWARDED_SERVER": "proxy"}, False, id="only the proxy's name"),
        pytest.param({"FORWARDED": "for=8.8.8.8"}, False, id="Forwarded"),
        pytest.param({"X_REAL_IP": "10.0.0.9"}, False, id="X-Real-IP"),
        pytest.param({"CF_CONNECTING_IP": "10.0.0.9"}, False, id="CF-Connecting-IP"),
        pytest.param({"X_FORWARDED_FOR": ""}, False, id="nobody"),
        pytest.param({"X_FORWARDED_FOR": ",".join(["10.0.0.9"] * 32)}, True, id="32 hops"),
        pytest.param({"X_FORWARDED_FOR": ",".join(["10.0.0.9"] * 34)}, False, id="more hops than there are"),
    ],
)
def test_a_trusted_proxy_that_does_not_say_who_asks_is_not_taken_for_the_client(
    headers: dict[str, str], known: bool
) -> None:
    environ = request(peer="10.0.0.1", **headers)
    assert (client_address(environ, networks("10.0.0.0/8")) is not None) is known
    assert (verdict(check(environ, trusted_proxies=networks("10.0.0.0/8"), host="0.0.0.0")) == "served") is known


@pytest.mark.parametrize("path", ["/", "", "/health", "/health/", "/health/ready"])
@pytest.mark.parametrize(
    "headers", [{}, {"HOST": "evil.example"}, {"ORIGIN": "http://evil.example"}, {"X_FORWARDED_FOR": "8.8.8.8"}]
)
def test_public_paths_answer_anybody(path: str, headers: dict[str, str]) -> None:
    environ = request("GET", path, "8.8.8.8", **dict(headers))
    assert check(environ, host="127.0.0.1", proxy_api_keys=("k",)).allowed
    assert check(environ, host="127.0.0.1").allowed


def test_public_paths_carry_cors_headers_for_allowed_pages_only() -> None:
    assert dict(check(request("GET", "/", ORIGIN="app://x")).headers)["Access-Control-Allow-Origin"] == "app://x"
    assert check(request("GET", "/", ORIGIN="http://evil.example")).headers == ()


@pytest.mark.parametrize(
    "path", ["/metrics", "/api/tags", "/healthy", "/health/x", "/health/../api/chat", "/HEALTH", "/api//", "//health"]
)
def test_all_other_paths_are_protected(path: str) -> None:
    assert verdict(check(request("GET", path, "8.8.8.8"))) == "403 with text"
    assert verdict(check(request("GET", path), proxy_api_keys=("k",))) == "401 with text"


@pytest.mark.parametrize(
    ("settings", "who", "warnings"),
    [
        pytest.param({"host": "127.0.0.1"}, "programs on this machine", [], id="loopback"),
        pytest.param({}, "addresses in 127.0.0.0/8", ["NAT"], id="default"),
        pytest.param({"proxy_api_keys": ("a", "b")}, "one of the 2 keys", [], id="keys"),
        pytest.param({"allow_anonymous": True}, "anybody", ["ALLOW_ANONYMOUS"], id="anonymous"),
        pytest.param({"allow_anonymous": True, "host": "::1"}, "anybody", [], id="anonymous on loopback"),
        pytest.param({"allow_networks": networks("0.0.0.0/0")}, "0.0.0.0/0", ["NAT", "public"], id="the world"),
        pytest.param({"allow_networks": networks("100.64.0.0/10")}, "100.64.0.0/10", ["NAT"], id="Tailscale"),
        pytest.param({"host": "127.0.0.1", "ollama_origins": ("*",)}, "this machine", ["web page"], id="any page"),
        pytest.param({"host": "::1"}, "[::1]:11434: serves programs on this machine", [], id="an IPv6 address"),
    ],
)
def test_the_start_log_says_who_is_served_and_warns_of_strangers(
    settings: dict[str, Any], who: str, warnings: list[str]
) -> None:
    first, *rest = describe_access(Settings(**settings))
    assert who in first
    assert len(rest) == len(warnings)
    assert all(word in line for word, line in zip(warnings, rest, strict=True))


def test_no_key_is_in_the_start_log() -> None:
    assert "s3cret" not in " ".join(describe_access(Settings(proxy_api_keys=("s3cret",))))


@pytest.mark.skipif(MEASURED, reason="measuring coverage takes longer than what is timed")
def test_a_typical_request_is_decided_in_microseconds() -> None:
    """The aim is under 10 µs; the bound leaves room for a busy machine."""
    policy = AccessPolicy(Settings(), hostnames=[], interface_ips=[])
    environ = {**request(), **{f"HTTP_X_{number}": "x" for number in range(12)}}
    assert min(timeit.repeat(lambda: policy.check(environ), number=1000, repeat=5)) < 0.05


def test_a_system_that_does_not_tell_its_interfaces_still_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> list[tuple[int, str]]:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "if_nameindex", refused)
    assert not any(address.version == 4 for address in machine_addresses())


BEARER = {"HTTP_AUTHORIZATION": "Bearer two"}


@pytest.mark.parametrize(
    ("environ", "settings", "name"),
    [
        pytest.param({"REMOTE_ADDR": "192.168.1.5"}, {}, "192.168.1.5", id="the address"),
        pytest.param({"REMOTE_ADDR": "::ffff:192.168.1.5"}, {}, "192.168.1.5", id="mapped into IPv6"),
        pytest.param({"REMOTE_ADDR": ""}, {}, "127.0.0.1", id="a Unix socket"),
        pytest.param({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "1.2.3.4"}, {}, "10.0.0.1", id="not trusted"),
        pytest.param(
            {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "192.168.1.7"},
            {"trusted_proxies": networks("10.0.0.1/32")},
            "192.168.1.7",
            id="the client of a trusted proxy",
        ),
        pytest.param(
            {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "nonsense"},
            {"trusted_proxies": networks("10.0.0.1/32")},
            "unknown",
            id="a trusted proxy that names nobody",
        ),
        pytest.param(BEARER, {"proxy_api_keys": ("one", "two")}, "key 2", id="a key"),
        pytest.param({"HTTP_AUTHORIZATION": "Bearer x"}, {"proxy_api_keys": ("one",)}, "127.0.0.1", id="a wrong key"),
    ],
)
def test_who_calls(environ: dict[str, Any], settings: dict[str, Any], name: str) -> None:
    caller = check({**request(), **environ}, **settings).caller
    assert caller.name == name
    assert caller.name == (caller.key or caller.address)


def test_a_caller_with_a_key_still_has_an_address() -> None:
    caller = check(request(peer="10.1.2.3", AUTHORIZATION="Bearer two"), proxy_api_keys=("one", "two")).caller
    assert (caller.name, caller.key, caller.address) == ("key 2", "key 2", "10.1.2.3")


def test_every_403_says_why_in_the_log() -> None:
    rebound = request(HOST="evil.example")
    far = request(peer="8.8.8.8")
    decisions = [check(request(ORIGIN="http://evil.example")), check(rebound, host="127.0.0.1"), check(far)]
    reasons = [decision.reason or (decision.error.reason if decision.error else "") for decision in decisions]
    assert len(set(reasons)) == 3
    assert all(reasons)


@pytest.mark.parametrize(
    ("host", "origin", "origins", "own"),
    [
        pytest.param("localhost:11434", None, (), True, id="no page"),
        pytest.param("localhost:11434", "http://localhost:11434", (), True, id="a page of this server"),
        pytest.param("localhost:11434", "https://localhost:11434", (), True, id="behind a proxy that speaks TLS"),
        pytest.param("localhost:11434", "http://localhost:3000", (), False, id="another port of this machine"),
        pytest.param("localhost:11434", "http://127.0.0.1:11434", (), False, id="another name of this machine"),
        pytest.param("localhost:11434", "null", ("*",), False, id="a page without an origin"),
        pytest.param("proxy.example", "https://proxy.example", (), False, id="a name that may be rebound"),
        pytest.param("proxy.example", "https://proxy.example", ("*",), False, id="the same, where all may read"),
        pytest.param(
            "proxy.example", "https://proxy.example", ("https://proxy.example",), True, id="its name is listed"
        ),
        pytest.param(
            "proxy.example", "https://app.example", ("https://app.example",), False, id="another page that may read"
        ),
    ],
)
def test_which_pages_are_the_servers_own(host: str, origin: str | None, origins: tuple[str, ...], own: bool) -> None:
    policy = AccessPolicy(Settings(ollama_origins=origins), hostnames=["MyBox"], interface_ips=[])
    headers = {"HOST": host} if origin is None else {"HOST": host, "ORIGIN": origin}
    assert policy.is_own_page(request("DELETE", **headers)) is own


@pytest.mark.parametrize(
    ("origin", "origins", "trusted"),
    [
        pytest.param(None, (), True, id="no page"),
        pytest.param("http://localhost:11434", (), True, id="a page of this server"),
        pytest.param("https://chat.example", ("https://Chat.example",), True, id="a page that is named"),
        pytest.param("https://chat.example", ("https://*.example",), False, id="a page that a pattern allows"),
        pytest.param("https://chat.example", ("*",), False, id="where all may read"),
        pytest.param("http://localhost:3000", (), False, id="a page that Ollama's own list allows"),
        pytest.param("http://localhost", (), False, id="one that this list names in full"),
        pytest.param("null", (), False, id="a page without an origin"),
    ],
)
def test_which_pages_may_change_what_all_share(origin: str | None, origins: tuple[str, ...], trusted: bool) -> None:
    policy = AccessPolicy(Settings(ollama_origins=origins), hostnames=["MyBox"], interface_ips=[])
    headers = {"HOST": "localhost:11434"} if origin is None else {"HOST": "localhost:11434", "ORIGIN": origin}
    assert policy.is_trusted_page(request("POST", **headers)) is trusted


OWN = "http://localhost:11434"
SAME, CROSS, SITE = ({"SEC_FETCH_SITE": site} for site in ("same-origin", "cross-site", "same-site"))
LINK = {"SEC_FETCH_MODE": "navigate", "SEC_FETCH_DEST": "document"}
FRAME = {"SEC_FETCH_MODE": "navigate", "SEC_FETCH_DEST": "iframe"}


@pytest.mark.parametrize(
    ("method", "headers", "served"),
    [
        pytest.param("GET", {}, True, id="an old browser, or plain HTTP to another machine"),
        pytest.param("GET", {"SEC_FETCH_SITE": "none", **LINK}, True, id="typed into the address line"),
        pytest.param("GET", SAME, True, id="a poll or a file of the page"),
        pytest.param("GET", {"ORIGIN": OWN}, True, id="a file that the page asks for with CORS"),
        pytest.param("GET", {**CROSS, **LINK}, True, id="a link on another page"),
        pytest.param("GET", {**SITE, **LINK}, True, id="a link on a page of another local port"),
        pytest.param("GET", {**CROSS, **FRAME}, False, id="a frame in another page"),
        pytest.param("GET", {**SITE, **FRAME}, False, id="a frame in a page of another local port"),
        pytest.param("GET", CROSS, False, id="an image or script tag on another page"),
        pytest.param("GET", {**CROSS, "SEC_FETCH_MODE": "navigate"}, False, id="a window that nobody names"),
        pytest.param("GET", SITE, False, id="a fetch of a page of another local port, without CORS"),
        pytest.param("GET", {"ORIGIN": "https://evil.example"}, False, id="a fetch of another page"),
        pytest.param("GET", {"ORIGIN": "http://localhost:3000"}, False, id="a fetch of a page of another local port"),
        pytest.param("GET", {"ORIGIN": "null"}, False, id="a fetch of a page that hides its origin"),
        pytest.param("GET", {"ORIGIN": "https://chat.example"}, False, id="of a page that OLLAMA_ORIGINS names"),
        pytest.param("OPTIONS", {"ORIGIN": "https://evil.example"}, False, id="a preflight of another page"),
        pytest.param("OPTIONS", {"ORIGIN": "https://chat.example"}, False, id="a preflight of a page that may call"),
        pytest.param("POST", {"ORIGIN": OWN}, True, id="a form of the page"),
        pytest.param("POST", {"ORIGIN": OWN, **SAME}, True, id="a form of the page, in a newer browser"),
        pytest.param("POST", SAME, True, id="a form of the page whose Origin something took away"),
        pytest.param("POST", {}, False, id="a form without an Origin"),
        pytest.param("POST", {"ORIGIN": "null"}, False, id="a form of a page that hides its origin"),
        pytest.param("POST", {"ORIGIN": "http://localhost:3000"}, False, id="a form of another local port"),
        pytest.param("POST", {"ORIGIN": "http://127.0.0.1:11434"}, False, id="a form under another local name"),
        pytest.param("POST", {"ORIGIN": "http://localhost"}, False, id="a form of another port, not written"),
        pytest.param("POST", {"ORIGIN": "http://localhost:11434.evil.example"}, False, id="a longer name"),
        pytest.param("POST", {"ORIGIN": "https://chat.example"}, False, id="a form that OLLAMA_ORIGINS names"),
        pytest.param("POST", {"ORIGIN": OWN, **CROSS}, False, id="an Origin that the browser contradicts"),
        pytest.param("POST", {"ORIGIN": OWN, **SITE}, False, id="an Origin that the browser contradicts a little"),
        pytest.param("POST", {"SEC_FETCH_SITE": "none"}, False, id="a form that no page has caused"),
        pytest.param("POST", {"ORIGIN": "https://evil.example", **SAME}, False, id="a foreign Origin, own site"),
        pytest.param("DELETE", {}, False, id="any other method"),
    ],
)
@pytest.mark.parametrize("keys", [(), ("a-key",)], ids=["without keys", "with keys"])
def test_who_may_use_the_pages(method: str, headers: dict[str, str], keys: tuple[str, ...], served: bool) -> None:
    """Even with OLLAMA_ORIGINS=* no other page may, and no answer has a CORS header."""
    if keys:
        headers = headers | {"AUTHORIZATION": "Basic " + base64.b64encode(b"me:a-key").decode()}
    for origins in ((), ("https://chat.example",), ("*",)):
        decision = check(request(method, "/ui/models", **headers), proxy_api_keys=keys, ollama_origins=origins)
        assert decision.allowed is served
        assert {name for name, _ in decision.headers} >= {"Content-Security-Policy", "X-Frame-Options"}
        assert not [name for name, _ in decision.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    ("path", "is_page"),
    [
        ("/ui", True),
        ("/ui/", True),
        ("/ui/models", True),
        ("/uix", False),
        ("/UI", False),
        ("/api/ui", False),
        ("", False),
    ],
)
def test_which_paths_are_pages(path: str, is_page: bool) -> None:
    headers = dict(check(request("GET", path)).headers)
    assert ("Content-Security-Policy" in headers) is is_page
    assert "Content-Security-Policy" not in dict(check(request("GET", path), ui=False).headers)


@pytest.mark.parametrize(
    ("host", "settings", "served"),
    [
        pytest.param("192.168.1.7:11434", {}, True, id="an address of the network"),
        pytest.param("mybox:11434", {}, True, id="this machine's name"),
        pytest.param("evil.example:11434", {}, False, id="a name that anybody may own: DNS rebinding"),
        pytest.param("chat.example", {"ollama_origins": ("https://chat.example",)}, True, id="a name that is listed"),
        pytest.param("evil.example", {"ollama_origins": ("*", "https://*")}, False, id="a pattern lists no name"),
        pytest.param("evil.example:11434", {"proxy_api_keys": ("a-key",)}, True, id="any name, where a key is needed"),
    ],
)
@pytest.mark.parametrize("host_setting", ["127.0.0.1", "0.0.0.0"])
def test_under_which_names_the_pages_answer(
    host: str, settings: dict[str, Any], served: bool, host_setting: str
) -> None:
    scheme = "http" if ":" in host else "https"
    headers = {"HOST": host, "AUTHORIZATION": "Bearer a-key", "ORIGIN": f"{scheme}://{host}"}
    for method in ("GET", "POST"):
        assert check(request(method, "/ui", **headers), host=host_setting, **settings).allowed is served


def test_a_browser_is_asked_for_a_key_but_not_because_of_a_poll() -> None:
    def answer(path: str, **headers: str) -> tuple[str | int, str | None]:
        decision = check(request("GET", path, **headers), proxy_api_keys=("a-key",))
        return verdict(decision), dict(decision.headers).get("WWW-Authenticate")

    basic = 'Basic realm="ollama-proxy", charset="UTF-8"'
    assert answer("/ui") == ("401 with text", basic)
    assert answer("/ui", AUTHORIZATION="Basic " + base64.b64encode(b"me:wrong").decode()) == ("401 with text", basic)
    assert answer("/ui/now", HX_REQUEST="true") == ("401 with text", None)
    assert answer("/api/proxy/status") == ("401 with text", "Bearer"), "an agent reacts to a challenge"
    assert answer("/ui", AUTHORIZATION="Basic " + base64.b64encode(b"me:a-key").decode()) == ("served", None)


def test_strangers_see_no_page() -> None:
    assert verdict(check(request("GET", "/ui", peer="8.8.8.8"))) == "403 with text"
    assert verdict(check(request("GET", "/ui", peer="8.8.8.8"), allow_anonymous=True)) == "served"
