"""What gunicorn's master does before the first worker, and before the new workers of a reload (SIGHUP).

It checks the key, logs who is served, and migrates the database. Only a key that OpenRouter refuses may stop the start.
If OpenRouter or the database is away, the server starts and works without them until they are back.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from gevent import Timeout

from ollama_proxy.access.key_texts import names_of_settings
from ollama_proxy.access.policy import describe_access
from ollama_proxy.access.register import KeyRegister, Register
from ollama_proxy.background import Background
from ollama_proxy.config import Settings, misspelt_names
from ollama_proxy.ledger.key_check import REFUSED_TEXT, KeyCheck, KeyState, check_key
from ollama_proxy.openrouter.http.client import SMALL_TIMEOUT, Client
from ollama_proxy.openrouter.http.transport import CA_BUNDLES, tls_context
from ollama_proxy.ops import logs
from ollama_proxy.ops.address import port_is_taken_text
from ollama_proxy.ops.terminal import is_terminal
from ollama_proxy.ops.welcome import greet, tell_when_known
from ollama_proxy.runtime import Runtime
from ollama_proxy.server.listener import EXHAUSTED
from ollama_proxy.storage import migrate
from ollama_proxy.storage.database import Database, StorageUnavailable, sqlalchemy_url
from ollama_proxy.storage.key_table import KeyTable
from ollama_proxy.version import __version__


def _log(settings: Settings) -> Any:
    """A logger that writes as `settings` say. Made anew each time, as a reload may change LOG_LEVEL and LOG_FORMAT."""
    logs.configure(settings)
    return structlog.get_logger("ollama_proxy")


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
        _log(settings).warning(f"the key could not be checked: {checked.reason}")
    return checked.state


def unusable_host(host: str) -> str | None:
    """Return the line that ends a start with a HOST on which no server can listen, else None. Uses no fixed port."""
    host = host.strip("[]")
    try:
        _bind(host, 0)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            return _exhausted(error)
        why = error.strerror if isinstance(error, OSError) else "not a host's name"
        return (
            f"HOST={host!r} cannot be used: it takes an address of this machine, such as 127.0.0.1 or 0.0.0.0 ({why})"
        )
    return None


def at_the_address_of(earlier: Settings, loaded: Settings, *, warn: Callable[[str], object]) -> Settings:
    """`loaded`, but listening where `earlier` does; `warn` gets a line if that makes a difference.

    gunicorn could move to another address on SIGHUP. If the new one is taken, it ends the server; and HOST with the
    same PORT is always taken, by the old workers.
    """
    if (loaded.host, loaded.port) == (earlier.host, earlier.port):
        return loaded
    warn(f"HOST and PORT change at a restart only: the server still listens on {earlier.host}, port {earlier.port}")
    return replace(loaded, host=earlier.host, port=earlier.port)


def unusable_certificates() -> str | None:
    """Return the line that ends a start if the CA bundle that the environment names cannot be read, else None."""
    named = [name for name in CA_BUNDLES if os.environ.get(name)]
    if not named:
        return None  # certifi's are there; reading them once more would make the start slower
    try:
        tls_context()
    except OSError as error:
        return f"the certificates that {named[0]} names cannot be read: {error.strerror or error}"
    return None


def unusable_port(host: str, port: int) -> str | None:
    """The line that ends a start on a PORT that is taken or forbidden; None if it is free now."""
    host = host.strip("[]")
    try:
        _bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"PORT={port} is {port_is_taken_text(host, port)}"
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


def announce(settings: Settings, register: Register | None) -> None:
    """Log the first lines: the version, who is served, where strangers could be served, which names are misspelt.

    `register` are the keys of the database, None if nobody knows them. To a terminal the lines are said to a person
    (`welcome`).
    """
    if _is_said_to_a_person(settings):
        greet(settings, misspelt_names(), register)
        return
    log = _log(settings)
    mode = "free models only" if settings.free_mode else "all models"
    who, *warnings = describe_access(settings, register)
    log.info(f"ollama-proxy {__version__}: {mode}. {who}")
    for warning in [*warnings, *misspelt_names()]:
        log.warning(warning)


def tell_models(runtime: Runtime) -> None:
    """Say to a person, in the background, how many models there are, once the first worker knows it."""
    if _is_said_to_a_person(runtime.settings):
        Background(partial(tell_when_known, runtime), discard=lambda _: None)


def _is_said_to_a_person(settings: Settings) -> bool:
    return settings.log_format == "text" and is_terminal(sys.stderr)


def migrate_database(settings: Settings, instance: Path) -> Register | None:
    """Migrate the database, if it can be reached. Other machines may do so at the same time.

    Returns the keys that it holds, None if it is away.
    """
    url = sqlalchemy_url(settings.database_url, instance)
    try:
        migrate.upgrade(url)
    except migrate.NewerDatabase as error:
        _log(settings).warning(f"the database is used as it is: {error}")
    except StorageUnavailable as error:
        _log(settings).warning(f"the database could not be migrated, going on without it: {error}")
        if not Database(url).is_missing:  # asking one that is away again would cost seconds
            return None
    return _stored_keys(settings, url)


def _stored_keys(settings: Settings, url: str) -> Register | None:
    database = Database(url)
    register = KeyRegister(KeyTable(database).in_force, taken=names_of_settings(settings.proxy_api_keys))
    try:
        register.reload()
    except StorageUnavailable:
        return None
    finally:
        database.dispose()  # the workers are forked from this process: each opens its own
    return register.known
