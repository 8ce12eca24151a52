"""What gunicorn's master does once, before the first worker: ask for the key, say who is served, migrate.

Nothing here may stop the start but a key that OpenRouter refuses: with OpenRouter or the database away the server
starts, and gets by until they are back.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path

import structlog
from gevent import Timeout

from ollama_proxy.access.policy import describe
from ollama_proxy.config import Settings
from ollama_proxy.openrouter.http.client import SMALL_TIMEOUT, Client
from ollama_proxy.ops import logs
from ollama_proxy.ops.key_check import REFUSED_TEXT, KeyCheck, KeyState, check_key
from ollama_proxy.server.listener import EXHAUSTED
from ollama_proxy.storage import migrate
from ollama_proxy.storage.database import StorageUnavailable, sqlalchemy_url
from ollama_proxy.version import __version__

log = structlog.get_logger("ollama_proxy")


def key_state(settings: Settings, *, refused: Callable[[str], object]) -> KeyState:
    """Ask OpenRouter for the key, once and for at most 3 s. `refused` gets the line to end with, or to log."""
    client = Client(settings.openrouter_base_url, settings.openrouter_api_key)
    checked = KeyCheck(KeyState.UNKNOWN, reason=f"no answer in {SMALL_TIMEOUT:g} s")
    # A name server that does not answer is slower than any time-out of the client.
    with Timeout(SMALL_TIMEOUT, False):
        checked = check_key(client)
    client.close()
    if checked.state is KeyState.REFUSED:
        refused(REFUSED_TEXT)
    elif checked.state is KeyState.UNKNOWN:
        logs.configure(settings)
        log.warning(f"the key could not be checked: {checked.reason}")
    return checked.state


def unusable_host(host: str) -> str | None:
    """The line that ends a start on a HOST where nobody can listen; None if somebody can. Uses no fixed port."""
    host = host.strip("[]")
    try:
        _bind(host, 0)
    except (OSError, UnicodeError) as error:  # the latter: a name that no host can have
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            return _exhausted(error)
        why = error.strerror if isinstance(error, OSError) else "not a host's name"
        return (
            f"HOST={host!r} cannot be used: it takes an address of this machine, such as 127.0.0.1 or 0.0.0.0 ({why})"
        )
    return None


def unusable_port(host: str, port: int) -> str | None:
    """The line that ends a start on a PORT that is taken or forbidden; None if it is free now."""
    host = host.strip("[]")
    try:
        _bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"PORT={port} is taken: another program listens on {host}, port {port} (Ollama's own server?). "
                "Stop it, or choose another port with PORT or --port"
            )
        if error.errno == errno.EACCES:
            return f"PORT={port} cannot be used: this process may not listen there ({error.strerror})"
        return _exhausted(error) if error.errno in EXHAUSTED else f"PORT={port} cannot be used: {error.strerror}"
    return None


def _bind(host: str, port: int) -> None:
    """Take an address as gunicorn does, for a moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _exhausted(error: OSError) -> str:
    return f"no connection can be opened: {error.strerror} (see ulimit -n)"


def announce(settings: Settings) -> None:
    """The log's first lines: the version, who is served, and where that could be strangers."""
    logs.configure(settings)
    mode = "free models only" if settings.free_mode else "all models"
    who, *warnings = describe(settings)
    log.info(f"ollama-proxy {__version__}: {mode}. {who}")
    for warning in warnings:
        log.warning(warning)


def migrate_database(settings: Settings, instance: Path) -> None:
    """Bring the database up to date, if it can be reached. Other machines may do so at the same time."""
    try:
        migrate.upgrade(sqlalchemy_url(settings.database_url, instance))
    except StorageUnavailable as error:
        log.warning(f"the database could not be migrated, going on without it: {error}")
