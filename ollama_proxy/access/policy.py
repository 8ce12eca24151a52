"""Decides who may call: keys, networks, forwarded requests, Host and Origin (docs/contract.md, "Access").

From a WSGI environment, the Settings and the keys to a Decision. It knows neither Flask nor any API's JSON.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from ollama_proxy.access.caller import UNKNOWN_CALLER, Caller
from ollama_proxy.access.hosts import Address, host_address, is_local_host, machine_addresses, unmapped
from ollama_proxy.access.key_texts import fingerprint, keys_of_settings
from ollama_proxy.access.keys import Key
from ollama_proxy.access.origins import HeaderPairs, OriginRules
from ollama_proxy.access.pages import CHALLENGE, PAGE_HEADERS, PAGES, is_page, is_poll, refusal_of_page
from ollama_proxy.access.register import NO_KEYS, Register
from ollama_proxy.config import Network, Settings
from ollama_proxy.errors import Forbidden, NeedsAdmin, ProxyError, Unauthorized, Unavailable

#: Paths that anybody may call: their answers hold nothing that helps a stranger.
PUBLIC_PATHS = frozenset({"", "/health", "/health/ready"})

#: Headers with which a proxy names its client. They are not believed: only X-Forwarded-For is.
_CLIENT_HEADERS = ("HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_CF_CONNECTING_IP")

#: Proxies one behind the other. A list may be as long as a header: each entry takes microseconds.
_MOST_HOPS = 32

_UNKNOWN = "unknown"

#: Where a WSGI environment holds the key that stood in front of its path (`key_in_path.py`).
PATH_KEY = "ollama_proxy.path_key"

#: The text of every 401: whoever asks learns neither which keys there are nor why one does not count.
_NO_KEY = "unauthorized: this server needs an API key (Authorization: Bearer <key>)"

#: The text of a 403 for a page that is called with a key in front of its path: its links would spread the key.
_NOT_IN_PATH = "forbidden: a page takes no key in its address"

#: The text of a 503 while the keys cannot be read.
_KEYS_UNKNOWN = (
    "this server does not know yet who may call: its database, which holds the keys, does not answer. Try again soon"
)

#: How the User-Agent of Ollama's Go client begins. It throws the body of a 401 away, and speaks of a sign-in instead.
_LOSES_401 = "ollama/"

_NOT_STRANGERS = tuple(
    ip_network(text)
    for text in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a request, and who sent it.

    `status` set: answer with it and an empty body (403: Host or Origin; 204: OPTIONS); `reason` is then for the log.
    `error` set: render it in the API's own JSON. Neither: serve. `headers` go on the answer in every case.
    """

    caller: Caller
    headers: HeaderPairs = ()
    status: int | None = None
    error: ProxyError | None = None
    reason: str = ""

    @property
    def allowed(self) -> bool:
        """True if the request is to be served."""
        return self.status is None and self.error is None


def client_address(environ: Mapping[str, Any], trusted: Sequence[Network]) -> Address | None:
    """Return the address of the client, or None where it cannot be known.

    It is the peer's address. For a peer in `trusted` it is the right-most `X-Forwarded-For` entry that is not in
    `trusted`: entries further left were written by the client. A Unix socket's peer counts as 127.0.0.1, because only
    processes of this machine reach it. None: an entry is not an address, there are more hops than proxies can be, or a
    trusted proxy shows by other headers that it passes on somebody else's request, without saying whose.
    """
    peer = _peer_address(environ)
    if peer is None or not _within(peer, trusted):
        return peer
    forwarded: str | None = environ.get("HTTP_X_FORWARDED_FOR")
    if forwarded is None:
        return None if _is_forwarded(environ) else peer
    address: Address | None = peer
    for entry in reversed(forwarded.rsplit(",", _MOST_HOPS)):
        address = _entry_address(entry)
        if address is None or not _within(address, trusted):
            break
    return address


class AccessPolicy:
    """Decides about requests.

    `register` returns the keys of the database, None while nobody knows them. `hostnames` and `interface_ips` are this
    machine's own; by default they are looked up once.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        register: Callable[[], Register | None] = lambda: NO_KEYS,
        clock: Callable[[], float] = time.time,
        hostnames: Iterable[str] | None = None,
        interface_ips: Iterable[Address] | None = None,
    ) -> None:
        self._settings = settings
        self._register, self._clock = register, clock
        self._keys = tuple(
            (fingerprint(text.encode()), one.key)
            for one in keys_of_settings(settings.proxy_api_keys)
            for text in one.texts
        )
        #: The names of these keys, by which their callers are known.
        self.key_names = tuple(dict.fromkeys(key.name for _, key in self._keys))
        self._origins = OriginRules(settings.ollama_origins)
        names = frozenset((socket.gethostname(),) if hostnames is None else hostnames)
        addresses = machine_addresses() if interface_ips is None else frozenset(interface_ips)
        self._is_loopback = is_loopback_bind(settings.host)
        self._is_local_host = lru_cache(256)(lambda host: is_local_host(host, names, addresses))
        self._is_near = lru_cache(4096)(lambda text: _within_text(text, settings.allow_networks))
        self._is_trusted = lru_cache(4096)(lambda text: _within_text(text, settings.trusted_proxies))
        self._caller_at = lru_cache(4096)(_caller_at)
        self._caller_with_key = lru_cache(4096)(Caller.with_key)
        # The usual decision is made once per caller.
        self._serve = lru_cache(4096)(Decision)

    def check(self, environ: Mapping[str, Any]) -> Decision:
        """The decision about one request: Origin first, then Host, then the key or the network. Raises nothing."""
        caller = self._caller(environ)
        path: str = environ.get("PATH_INFO", "")
        # Two questions, because each request is asked the first one.
        if path.startswith(PAGES) and self._settings.ui and is_page(path):
            return self._check_page(environ, caller)
        origin = self._origins.judge(environ, self._is_local_host)
        if path.rstrip("/") in PUBLIC_PATHS and PATH_KEY not in environ:
            return Decision(caller, origin.headers, 204 if origin.preflight else None)
        if origin.refused:
            return Decision(caller, status=403, reason="the Origin is not in OLLAMA_ORIGINS")
        if origin.preflight:
            return Decision(caller, origin.headers, 204)
        register = self._register()
        needs_key = self._needs_key(environ, register)
        if self._is_loopback and not needs_key:
            host = environ.get("HTTP_HOST", "")
            if not self._is_local_host(host):
                return Decision(caller, origin.headers, 403, reason="the Host is not one of this machine's")
            if environ["REQUEST_METHOD"] == "OPTIONS" and host_address(host) is None:
                return Decision(caller, origin.headers, 204)
        if needs_key:
            return self._check_key(environ, caller, origin.headers, register)
        refusal = None if self._settings.allow_anonymous else self._network_refusal(environ)
        if refusal is None and not origin.headers:
            return self._serve(caller)
        return Decision(caller, origin.headers, error=None if refusal is None else Forbidden(refusal))

    def is_own_page(self, environ: Mapping[str, Any]) -> bool:
        """Whether no web page asks, or one of this very server: what no other page may do asks this as well."""
        return self._origins.is_own(environ, self._is_local_host)

    def is_trusted_page(self, environ: Mapping[str, Any]) -> bool:
        """Whether no web page asks, one of this very server, or one that OLLAMA_ORIGINS names in full."""
        return self._origins.is_trusted(environ, self._is_local_host)

    def _needs_key(self, environ: Mapping[str, Any], register: Register | None) -> bool:
        """Return True if whoever asks must show a key: where keys are not known yet, nobody is served without one."""
        return register is None or register.required or bool(self._keys) or PATH_KEY in environ

    def _check_page(self, environ: Mapping[str, Any], caller: Caller) -> Decision:
        """The decision about a page under /ui: who may call may look (an admin, where keys are set: the pages say so),
        but no other web page may. Where a key is missing, the browser asks for it, but not because of a poll.
        """
        register = self._register()
        needs_key = self._needs_key(environ, register)
        trusts = needs_key or self._origins.names_host(environ, self._is_local_host)
        own = (lambda _: True) if needs_key else self._is_local_host
        refusal = refusal_of_page(environ, is_own=lambda it: self._origins.is_own(it, own), trusts=trusts)
        if refusal:
            return Decision(caller, PAGE_HEADERS, error=Forbidden(refusal))
        if needs_key:
            decision = self._check_key(environ, caller, PAGE_HEADERS, register)
            if not isinstance(decision.error, Unauthorized):
                return decision
            challenge = () if is_poll(environ) else (CHALLENGE,)
            message = "unauthorized: this page needs a key. Sign in with any name, and the key as the password"
            return Decision(caller, (*PAGE_HEADERS, *challenge), error=Unauthorized(message))
        far = None if self._settings.allow_anonymous else self._network_refusal(environ)
        return Decision(caller, PAGE_HEADERS, error=None if far is None else Forbidden(far))

    def _caller(self, environ: Mapping[str, Any]) -> Caller:
        """Who calls, by address: the client that a trusted proxy names, else the peer."""
        peer = environ.get("REMOTE_ADDR", _UNKNOWN)
        if not self._is_trusted(peer):
            return self._caller_at(peer)
        address = client_address(environ, self._settings.trusted_proxies)
        return UNKNOWN_CALLER if address is None else Caller.at(str(address))

    def _check_key(
        self, environ: Mapping[str, Any], caller: Caller, headers: HeaderPairs, register: Register | None
    ) -> Decision:
        given = [fingerprint(text.encode("latin-1", "replace")) for text in _given_keys(environ)]
        key = self._key_among(given, register)
        if key is None:
            return self._without_key(environ, caller, headers, is_known=register is not None)
        if PATH_KEY in environ:
            if environ["PATH_INFO"].startswith("/ui"):
                return Decision(caller, headers, error=Forbidden(_NOT_IN_PATH))
            # An address is written down in many places: histories, logs of proxies, chats.
            key, headers = replace(key, admin=False, metrics=False), (*headers, ("Referrer-Policy", "no-referrer"))
        if environ["REQUEST_METHOD"] == "DELETE" and not key.admin:
            return Decision(caller, headers, error=NeedsAdmin())
        return Decision(self._caller_with_key(key, caller.address), headers)

    def _key_among(self, given: Sequence[bytes], register: Register | None) -> Key | None:
        """Return the key that one of the digests is of. A key of PROXY_API_KEYS goes before one of the database."""
        found = None
        # Every pair is compared, so that the time tells neither which key matched nor how far one did.
        for digest, key in reversed(self._keys):
            if any([hmac.compare_digest(digest, theirs) for theirs in given]):  # noqa: C419
                found = key
        if register is not None:
            now = self._clock()
            stored = [register.find(digest, now) for digest in given]
            found = found or next(filter(None, stored), None)
        return found

    def _without_key(
        self, environ: Mapping[str, Any], caller: Caller, headers: HeaderPairs, *, is_known: bool
    ) -> Decision:
        """Return the refusal of a request that has no key that counts."""
        if not is_known:
            return Decision(caller, headers, error=Unavailable(_KEYS_UNKNOWN, retry_after=3))
        if environ.get("HTTP_USER_AGENT", "").startswith(_LOSES_401):
            return Decision(caller, headers, error=Forbidden(f"{_NO_KEY}, which this program cannot send"))
        return Decision(caller, (*headers, ("WWW-Authenticate", "Bearer")), error=Unauthorized(_NO_KEY))

    def _network_refusal(self, environ: Mapping[str, Any]) -> str | None:
        """Return the text of a 403, which says what can be done about it, or None if the client may call."""
        peer = environ.get("REMOTE_ADDR", _UNKNOWN)
        if self._is_trusted(peer):
            address = client_address(environ, self._settings.trusted_proxies)
            near = address is not None and _within(address, self._settings.allow_networks)
        elif _is_forwarded(environ) or environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            return (
                "forbidden: this request came through a proxy that hides who asks. Set PROXY_API_KEYS, or name the "
                "proxy in TRUSTED_PROXIES (ALLOW_ANONYMOUS=true serves anybody)"
            )
        else:
            address, near = _peer_address(environ), self._is_near(peer)
        if near:
            return None
        return (
            f"forbidden: {address or 'an unknown address'} is not in ALLOW_NETWORKS. Set PROXY_API_KEYS, or add the "
            "address to ALLOW_NETWORKS (ALLOW_ANONYMOUS=true serves anybody)"
        )


def is_loopback_bind(host: str) -> bool:
    """Return True if a server that listens on `host` can be reached from this machine only."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def describe_access(settings: Settings, register: Register | None = NO_KEYS) -> list[str]:
    """Return the first lines of the log: who will be served, then a warning for each way in which strangers could be
    served. `register` are the keys of the database, None if nobody knows them.
    """
    host = settings.host.strip("[]")
    where = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
    warnings = []
    if register is None:
        return [f"Listening on {where}: serves nobody until the database, which holds the keys, can be read"]
    if settings.proxy_api_keys or register.required:
        return [f"Listening on {where}: serves whoever has {_keys_in_words(len(settings.proxy_api_keys), register)}"]
    if settings.allow_anonymous:
        who = "serves anybody who can reach it, without a key"
        if not is_loopback_bind(settings.host):
            warnings.append("ALLOW_ANONYMOUS=true without PROXY_API_KEYS: strangers can spend your OpenRouter account")
    elif is_loopback_bind(settings.host):
        who = "serves programs on this machine, without a key"
    else:
        who = f"serves, without a key, addresses in {', '.join(map(str, settings.allow_networks)) or 'no network'}"
        warnings.append(
            "without PROXY_API_KEYS: NAT, port publishing and plain TCP proxies make strangers look local; "
            "set keys if anything outside your network can reach this port"
        )
    wide = [str(network) for network in settings.allow_networks if not _holds_no_strangers(network)]
    if wide and not settings.allow_anonymous:
        warnings.append(f"ALLOW_NETWORKS holds public addresses: {', '.join(wide)}")
    if OriginRules(settings.ollama_origins).everything:
        warnings.append(
            "OLLAMA_ORIGINS=* without PROXY_API_KEYS: any web page open in a browser here can use this server"
        )
    return [f"Listening on {where}: {who}", *warnings]


def _keys_in_words(of_settings: int, register: Register) -> str:
    count = of_settings + (len(register.keys) if register.required else 0)
    if not count:
        return "a key, and there is none: make one with `ollama-proxy keys add NAME` (or `ollama-proxy keys off`)"
    return "the key" if count == 1 else f"one of the {count} keys"


def _caller_at(peer: str) -> Caller:
    address = _address(peer)
    return UNKNOWN_CALLER if address is None else Caller.at(str(address))


def _peer_address(environ: Mapping[str, Any]) -> Address | None:
    return _address(environ.get("REMOTE_ADDR", _UNKNOWN))


def _address(text: str) -> Address | None:
    try:
        return unmapped(ip_address(text or "127.0.0.1"))
    except ValueError:
        return None


def _entry_address(entry: str) -> Address | None:
    """Parse an entry of X-Forwarded-For, which may carry a port: `1.2.3.4:5`, `[2001:db8::1]:5`, `2001:db8::1`."""
    entry = entry.strip()
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    return _address(entry) if entry else None


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _within_text(text: str, networks: Iterable[Network]) -> bool:
    address = _address(text)
    return address is not None and _within(address, networks)


def _holds_no_strangers(network: Network) -> bool:
    return any(
        network.version == near.version and network.subnet_of(near)  # type: ignore[arg-type]
        for near in _NOT_STRANGERS
    )


def _is_forwarded(environ: Mapping[str, Any]) -> bool:
    if any(name in environ for name in _CLIENT_HEADERS):
        return True
    return any(name.startswith("HTTP_X_FORWARDED") for name in environ)


def _given_keys(environ: Mapping[str, Any]) -> Iterable[str]:
    """Yield every key in a request: a Bearer token, the password of Basic (RFC 7617), x-api-key.

    One in front of the path goes before all others: programs that can only be given an address send words as keys.
    """
    if PATH_KEY in environ:
        yield environ[PATH_KEY]
        return
    scheme, _, rest = environ.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        yield rest.strip()
    elif scheme.lower() == "basic":
        with suppress(binascii.Error, ValueError):
            yield base64.b64decode(rest.strip(), validate=True).decode("latin-1").partition(":")[2]
    if "HTTP_X_API_KEY" in environ:
        yield environ["HTTP_X_API_KEY"].strip()
