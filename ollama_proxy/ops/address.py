"""Which address a server has for its neighbours, and who answers there: ours, a real Ollama, or somebody else."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from ollama_proxy.openrouter.http.transport import CA_BUNDLES

NAME = "ollama-proxy"
OLLAMA = "Ollama"

#: Seconds for each of the two questions.
_PATIENCE = 2.0
#: Where nothing listens (RFC 5737): choosing a way there sends nothing.
_ELSEWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who answers at an address: `name` is "ollama-proxy", "Ollama", or "" for anybody else, "no answer" included."""

    name: str = ""
    version: str = ""

    def __str__(self) -> str:
        return {NAME: f"{NAME} {self.version}".strip(), OLLAMA: "a real Ollama"}.get(self.name, "another program")


def is_unspecified(host: str) -> bool:
    """Whether a server on `host` listens on all addresses of its machine."""
    return host.strip("[]") in ("0.0.0.0", "::", "")


def local_url(host: str, port: int) -> str:
    """The URL at which a server that listens on `host` is reached from its own machine."""
    host = host.strip("[]")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def lan_address() -> str | None:
    """The address of this machine in its network, as other machines see it; None without a network. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_ELSEWHERE)
            address = str(probe.getsockname()[0])
    except OSError:
        return None
    return None if address.startswith(("127.", "0.")) else address


def session() -> requests.Session:
    """A session for a neighbour: no proxy has any business in between, and `.netrc` must not replace a key."""
    made = requests.Session()
    made.trust_env = False
    made.verify = next((os.environ[name] for name in CA_BUNDLES if os.environ.get(name)), True)
    return made


def holder(url: str) -> Holder:
    """Who answers at `url` (without a slash at its end). Asks only what anybody may ask. Raises nothing."""
    with session() as asked:
        try:
            health = _object(asked.get(f"{url}/health", timeout=_PATIENCE, allow_redirects=False))
            if health.get("name") == NAME:
                return Holder(NAME, str(health.get("version"))[:20])
            root = asked.get(f"{url}/", timeout=_PATIENCE, allow_redirects=False)
            return Holder(OLLAMA) if root.text.strip() == "Ollama is running" else Holder()
        except requests.RequestException:
            return Holder()


def port_is_taken_text(host: str, port: int) -> str:
    """Who holds the port that a server wants, and what to do about it: "taken by a real Ollama: stop it ..."."""
    found = holder(local_url(host, port))
    if found.name == OLLAMA:
        return (
            "taken by a real Ollama: stop it (`systemctl stop ollama`, or quit its app), or give this server another "
            "PORT and let clients know (OLLAMA_HOST)"
        )
    if found.name == NAME:
        return f"taken by {found}, which is running already: stop it, or set another PORT"
    return "taken by another program: stop it, or set another PORT (`ss -ltnp` tells which one it is)"


def _object(answer: requests.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
