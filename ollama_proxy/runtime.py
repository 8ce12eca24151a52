"""Joins the parts of a serving process, and starts their background work.

Nothing here starts by itself: the gunicorn worker, or the development server's first request, calls `start_background`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ollama_proxy.access.policy import AccessPolicy
from ollama_proxy.catalog.fetch import fetch_catalog
from ollama_proxy.catalog.filters import FilterFiles, Filters
from ollama_proxy.catalog.keeper import CatalogKeeper
from ollama_proxy.config import Settings, SettingsError
from ollama_proxy.fallback.backend import Backend, FailureObserver, in_background
from ollama_proxy.fallback.choosing import Chooser
from ollama_proxy.fallback.conversations import Conversations
from ollama_proxy.fallback.free_requests import FreeRequestCount
from ollama_proxy.fallback.measurements import WRITE_WITHIN, Measurements, SharedScores
from ollama_proxy.fallback.memory import FailureMemory, Shared
from ollama_proxy.fallback.suspicion import Suspicions, suspect_seconds
from ollama_proxy.observation import Observer
from ollama_proxy.openrouter.http.client import Client
from ollama_proxy.storage.catalog_table import CatalogTable
from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureTable
from ollama_proxy.storage.revisions import Revisions
from ollama_proxy.storage.score_table import ScoreTable
from ollama_proxy.storage.write_behind import WriteBehind

log = structlog.get_logger("ollama_proxy")


@dataclass(slots=True)
class Runtime:
    """The parts of a serving process; `app.extensions["ollama_proxy"]` holds it."""

    settings: Settings
    backend: Backend
    database: Database
    failures: FailureTable
    scores: ScoreTable
    writes: WriteBehind
    revisions: Revisions
    filters: FilterFiles
    access: AccessPolicy
    observer: Observer
    #: What OpenRouter said of the key at the start, an `ops.key_check.KeyState`. The starting code sets it.
    key_state: str = "unknown"
    _thread: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start_background(self) -> None:
        """Start the catalogue's refresh in this process, in a daemon thread. May be called more than once."""
        with self._lock:
            if self._thread is None:
                never = threading.Event()
                self._thread = threading.Thread(
                    target=self.backend.keeper.run, args=(never,), name="catalogue", daemon=True
                )
                self._thread.start()


def build_runtime(
    settings: Settings, *, instance_path: str, observer: Observer, observe_failure: FailureObserver
) -> Runtime:
    """Join the parts. Opens no connection and starts no thread.

    Raises FilterError if the named filter file is missing, SettingsError if the database URL is not valid.
    """
    try:
        database_url = sqlalchemy_url(settings.database_url, instance_path)
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL cannot be used (its value is not shown here): {error}") from None
    client = Client(
        settings.openrouter_base_url,
        settings.openrouter_api_key,
        pool_size=settings.worker_connections,
        read_timeout=settings.upstream_read_timeout_seconds,
        app_url=settings.app_url,
        app_title=settings.app_title,
    )
    database = Database(database_url, on_warning=_warn)
    failures = FailureTable(database)
    writes = WriteBehind(database, on_warning=_warn)
    revisions = Revisions(database, on_warning=_warn)
    scores = ScoreTable(database)
    filters = Filters.load(settings.models_filter, Path.cwd(), on_warning=_warn)
    keeper = CatalogKeeper(
        settings,
        fetch=lambda: fetch_catalog(client, with_key=bool(settings.openrouter_api_key)),
        table=CatalogTable(database),
        filters=filters,
        on_event=lambda event, fields: log.info(event, **fields),
    )
    # The order of the queues must be the same in all processes: see `WriteBehind.queue`.
    shared = Shared(failures, writes.queue("failures"), revisions)
    shared_scores = SharedScores(scores, writes.queue("scores", within=WRITE_WITHIN), revisions)
    backend = Backend(
        settings=settings,
        client=client,
        start=in_background(client),
        keeper=keeper,
        memory=FailureMemory(settings, shared),
        free_requests=FreeRequestCount(settings.free_requests_per_minute),
        chooser=Chooser(
            settings,
            Measurements(settings.slow_first_token_seconds, shared_scores),
            Conversations(settings.sticky_minutes, settings.openrouter_api_key),
        ),
        suspicions=Suspicions(suspect_seconds(settings)),
        observe_failure=observe_failure,
    )
    return Runtime(
        settings, backend, database, failures, scores, writes, revisions, filters, AccessPolicy(settings), observer
    )


def _warn(text: str) -> None:
    log.warning(text)
