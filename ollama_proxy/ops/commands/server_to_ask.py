"""Which server a command asks: `--url`, else what the settings or OLLAMA_HOST say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from ollama_proxy.config import Settings
from ollama_proxy.ops.address import is_unspecified, local_url

_DEFAULT_PORT = 11434
_HIGHEST_PORT = 65535
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ServerToAsk:
    """A server to ask. `key` is "" if none is known. `is_own`: the database of these settings is that server's, too.

    `is_local`: it runs on this machine, so that the doctor may look at the machine for it.
    """

    url: str
    key: str
    is_own: bool
    is_local: bool


def find_server(
    url: str | None, key: str | None, settings: Settings | None, variables: Mapping[str, str]
) -> ServerToAsk:
    """The server that `url` names, else HOST and PORT if one of them is set, else OLLAMA_HOST, else 127.0.0.1:11434.

    `settings` are None if they cannot be read; `variables` are the environment and `.env`. The key is `key`, else the
    first of PROXY_API_KEYS, which is sent to this machine only, else OLLAMA_API_KEY.
    """
    named = url if url is not None else _given(variables, "OLLAMA_HOST") if not _has_address(variables) else ""
    if not named and settings is not None:
        found, password = local_url(settings.host, settings.port), ""
        is_local = True
    else:
        found, password = parse_ollama_host(named)
        is_local = _is_loopback(found)
    own = settings.proxy_api_keys[0] if settings is not None and settings.proxy_api_keys and is_local else ""
    chosen = key or password or own or _given(variables, "OLLAMA_API_KEY")
    return ServerToAsk(found, chosen, is_own=url is None and is_local, is_local=is_local)


def parse_ollama_host(text: str) -> tuple[str, str]:
    """What OLLAMA_HOST means to Ollama's own clients: the base URL without a slash at its end, and a password in it.

    Without a scheme the port is 11434, with one it is the scheme's; a port that is none is the default. No host, or an
    address to listen on (0.0.0.0), is this machine. The rules are those of Ollama's documentation and client
    (https://docs.ollama.com/faq).
    """
    text = text.strip(" \t\r\n\"'")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    default = _PORTS.get(scheme, _DEFAULT_PORT) if separator else _DEFAULT_PORT
    authority, _, path = rest.partition("/")
    user, _, hostport = authority.rpartition("@")
    host, port = _split(hostport, default)
    if is_unspecified(host):
        host = "[::1]" if host == "::" else "127.0.0.1"
    elif ":" in host:
        host = f"[{host}]"
    url = f"{scheme}://{host}:{port}/{path}".rstrip("/")
    return url, user.partition(":")[2]


def _split(hostport: str, default: int) -> tuple[str, int]:
    """Host, without brackets, and port."""
    try:
        return str(ip_address(hostport.strip("[]"))), default
    except ValueError:
        host, _, port = hostport.rpartition(":") if ":" in hostport else (hostport, "", "")
    number = int(port) if port.isascii() and port.isdigit() else -1
    return host.strip("[]"), number if 0 <= number <= _HIGHEST_PORT else default


def _is_loopback(url: str) -> bool:
    host = url.partition("://")[2].partition("/")[0].rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _has_address(variables: Mapping[str, str]) -> bool:
    return bool(_given(variables, "HOST") or _given(variables, "PORT"))


def _given(variables: Mapping[str, str], name: str) -> str:
    return variables.get(name, "").strip()
