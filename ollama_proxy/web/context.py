"""Gives a route what it needs while it serves a request: the process's parts, the Observation, the request's body.

It knows Flask, so that the modules below the routes do not have to.
"""

from __future__ import annotations

from flask import current_app, request

from ollama_proxy.access.caller import CALLER_KEY, Caller
from ollama_proxy.catalog.scope import scope_of
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.errors import DatabaseAway
from ollama_proxy.observation import ENVIRON_KEY, Observation
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.web.request_body import decoded_zstd, read_body

MEGABYTE = 1024 * 1024

#: How many free requests are left of this day (docs/contract.md, "Quota").
FREE_LEFT = "X-Free-Requests-Left"


def runtime() -> Runtime:
    """Return the parts of this process."""
    found: Runtime = current_app.extensions["ollama_proxy"]
    return found


def observation() -> Observation:
    """Return the Observation of this request."""
    found: Observation = request.environ[ENVIRON_KEY]
    return found


def caller() -> Caller:
    """Return who sends this request."""
    found: Caller = request.environ[CALLER_KEY]
    return found


def catalog() -> Catalog:
    """Return the catalogue as the caller of this request may see it. Raises Unavailable while there is none.

    The one place where a route gets its catalogue: what is not in it is neither listed nor asked for, by any name.
    """
    whole = runtime().backend.catalog()
    key = caller().holds
    return whole if key is None else whole.within(scope_of(key.models, free_only=key.free_only))


def newest_catalog() -> Catalog:
    """Return the catalogue with all personas that were there when this request came. Raises DatabaseAway.

    It costs a small query, so it is for names that mean nothing in `catalog()`.
    """
    try:
        runtime().library.look(observation().began)
    except StorageUnavailable as error:
        raise DatabaseAway from error
    return catalog()


def has_scope() -> bool:
    """Return True if the caller of this request may not see all models."""
    key = caller().holds
    return key is not None and scope_of(key.models, free_only=key.free_only) is not None


def pays_nothing() -> bool:
    """Return True if no request of this caller may cost anything: in free mode, and for a key of free models only."""
    key = caller().holds
    return runtime().settings.free_mode or (key is not None and key.free_only)


def asked_for(name: str) -> None:
    """Note the model name that the client sent, for the log, the ledger and the metrics: "" if it may be a key."""
    note_asked(name, observation(), runtime())


def note_asked(name: str, observation: Observation, parts: Runtime) -> None:
    """As `asked_for`, for a route that has looked up both already: each look-up costs as much as the rest of it."""
    observation.asked = parts.kept_name(name)


def free_left() -> dict[str, str]:
    """Return the header that tells in free mode how many free requests are left today; nothing if nobody knows."""
    parts = runtime()
    left = parts.quota.free_left() if parts.settings.free_mode else None
    return {} if left is None else {FREE_LEFT: str(left)}


def request_body(*, zstd: bool = False, most_bytes: int | None = None) -> bytes:
    """Return the request's body, whatever its Content-Type; with `zstd`, decode a compressed one. Raises ProxyError.

    `most_bytes` is for a body that is always small; else MAX_BODY_MB counts.
    """
    settings, environ = runtime().settings, request.environ
    data = read_body(
        environ,
        limit_bytes=int(settings.max_body_mb * MEGABYTE) if most_bytes is None else most_bytes,
        timeout_seconds=settings.body_timeout_seconds,
        total_bytes=int(settings.max_bodies_mb * MEGABYTE),
    )
    return decoded_zstd(environ, data) if zstd else data
