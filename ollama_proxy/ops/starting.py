"""What gunicorn's master does once, before the first worker: check the key, log who is served, migrate.

Only a key that OpenRouter refuses may stop the start. If OpenRouter or the database is away, the server starts and
works without them until they are back.
"""

from __future__ import annotations

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
from ollama_proxy.storage import migrate
from ollama_proxy.storage.database import StorageUnavailable, sqlalchemy_url
from ollama_proxy.version import __version__

log = structlog.get_logger("ollama_proxy")


def key_state(settings: Settings, *, refused: Callable[[str], object]) -> KeyState:
    """Check the key with OpenRouter, once and for at most 3 s. If it is refused, `refused` is called with the text."""
    client = Client(settings.openrouter_base_url, settings.openrouter_api_key)
    checked = KeyCheck(KeyState.UNKNOWN, reason=f"no answer in {SMALL_TIMEOUT:g} s")
    # The client's time-outs do not limit the look-up of a name, which can take longer.
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
    """Return the line that ends a start with a HOST on which no server can listen, else None. Uses no fixed port."""
    host = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
        why = error.strerror if isinstance(error, OSError) else "not a host's name"
        return (
            f"HOST={host!r} cannot be used: it takes an address of this machine, such as 127.0.0.1 or 0.0.0.0 ({why})"
        )
    return None


def announce(settings: Settings) -> None:
    """Log the first lines: the version, who is served, and where strangers could be served."""
    logs.configure(settings)
    mode = "free models only" if settings.free_mode else "all models"
    who, *warnings = describe(settings)
    log.info(f"ollama-proxy {__version__}: {mode}. {who}")
    for warning in warnings:
        log.warning(warning)


def migrate_database(settings: Settings, instance: Path) -> None:
    """Migrate the database, if it can be reached. Other machines may do so at the same time."""
    try:
        migrate.upgrade(sqlalchemy_url(settings.database_url, instance))
    except StorageUnavailable as error:
        log.warning(f"the database could not be migrated, going on without it: {error}")
