"""Joins the parts of a serving process, and starts their background work.

Nothing here starts by itself: the gunicorn worker, or the development server's first request, calls `start_background`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ollama_proxy.access.key_texts import keys_of_settings, names_of_settings
from ollama_proxy.access.policy import AccessPolicy
from ollama_proxy.access.register import READ_AGAIN, KeyRegister
from ollama_proxy.catalog.fetch import fetch_catalog
from ollama_proxy.catalog.filters import FilterFiles, Filters
from ollama_proxy.catalog.keeper import CatalogKeeper
from ollama_proxy.catalog.library import Library
from ollama_proxy.config import Settings, SettingsError
from ollama_proxy.fallback.backend import Backend, Explainer, FailureObserver, SlowObserver, in_background
from ollama_proxy.fallback.choosing import Chooser
from ollama_proxy.fallback.conversations import Conversations
from ollama_proxy.fallback.free_requests import FreeRequestCount
from ollama_proxy.fallback.measurements import WRITE_WITHIN, Measurements, SharedScores
from ollama_proxy.fallback.memory import FailureMemory, Shared
from ollama_proxy.fallback.suspicion import Suspicions, suspect_seconds
from ollama_proxy.ledger.books import Books, Stores, open_books
from ollama_proxy.ledger.clients_seen import ClientsSeen
from ollama_proxy.ledger.cost_lookup import ask_cost
from ollama_proxy.ledger.key_check import KeyState, check_key
from ollama_proxy.ledger.key_counting import KeyCounting
from ollama_proxy.ledger.ledger import Ledger
from ollama_proxy.ledger.names import NameKeeper
from ollama_proxy.ledger.quota_keeper import QuotaKeeper
from ollama_proxy.ledger.upkeep import Upkeep
from ollama_proxy.openrouter.errors.failure import Verdict
from ollama_proxy.openrouter.http.client import Client
from ollama_proxy.storage.catalog_table import CatalogTable
from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureTable
from ollama_proxy.storage.key_table import NAME as KEYS
from ollama_proxy.storage.key_table import KeyTable
from ollama_proxy.storage.persona_table import PersonaTable
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
    #: The personas, which all processes share.
    library: Library
    #: What all processes have recorded; an Observer, which `create_app` joins with the others.
    ledger: Ledger
    #: Which kinds of clients were served.
    clients: ClientsSeen
    #: What is left of the account.
    quota: QuotaKeeper
    upkeep: Upkeep
    #: What may be kept of a model name that a client sent.
    kept_name: NameKeeper
    #: What the keys of clients use, and what their limits allow.
    counting: KeyCounting
    #: The keys of the database, and this process's copy of them.
    key_table: KeyTable
    register: KeyRegister
    #: Since when the server serves, in UTC epoch seconds; the starting code sets it. None in what serves nobody.
    serving_since: float | None = None
    _has_started: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def key_state(self) -> KeyState:
        """What is known of the key: what OpenRouter said of it, or what the last requests met."""
        return self.quota.key_state

    def start_background(self) -> None:
        """Start the catalogue's refresh and the ledger's upkeep in this process, in daemon threads. May be called more
        than once.
        """
        with self._lock:
            if self._has_started:
                return
            self._has_started = True
            self.serving_since = self.serving_since or time.time()
            never = threading.Event()
            for name, run in (("catalogue", self.backend.keeper.run), ("ledger", self.upkeep.run)):
                threading.Thread(target=run, args=(never,), name=name, daemon=True).start()


@dataclass(frozen=True, slots=True)
class Observing:
    """Who is told of what a serving process does, for log and metrics. None of them may raise or wait.

    `failure` and `slow` are told of attempts, `writes_lost` of writes to the database that were dropped (the queue's
    name, how many), `records_lost` of requests that the ledger does not hold. `explainer` is None where the log is not
    to explain each request.
    """

    failure: FailureObserver
    slow: SlowObserver
    writes_lost: Callable[[str, int], None]
    records_lost: Callable[[int], None]
    explainer: Explainer | None = None


def build_runtime(settings: Settings, *, instance_path: str, observing: Observing) -> Runtime:
    """Join the parts. Opens no connection and starts no thread.

    Raises FilterError if the named filter file is missing, SettingsError if the database URL is not valid.
    """
    database, client = _database(settings, instance_path), _client(settings)
    failures = FailureTable(database)
    writes = WriteBehind(database, on_warning=_warn, on_lost=observing.writes_lost)
    revisions = Revisions(database, on_warning=_warn)
    scores = ScoreTable(database)
    filters = Filters.load(settings.models_filter, Path.cwd(), on_warning=_warn)
    key_table = KeyTable(database)
    register = _register(settings, key_table, revisions)
    library = Library(PersonaTable(database), revisions)
    keeper = _keeper(settings, client, database, filters, library)
    # The order of the queues must be the same in all processes: see `WriteBehind.queue`.
    shared = Shared(failures, writes.queue("failures"), revisions)
    shared_scores = SharedScores(scores, writes.queue("scores", within=WRITE_WITHIN), revisions)
    memory = FailureMemory(settings, shared)
    books = open_books(
        settings,
        Stores(database, writes, revisions),
        check=lambda: check_key(client),
        cost=ask_cost(client),
        limits=memory.limits,
        log=log,
        on_lost=observing.records_lost,
    )
    backend = Backend(
        settings=settings,
        client=client,
        start=in_background(client),
        keeper=keeper,
        memory=memory,
        free_requests=FreeRequestCount(settings.free_requests_per_minute, observer=books.quota),
        chooser=Chooser(
            settings,
            Measurements(settings.slow_first_token_seconds, shared_scores),
            Conversations(settings.sticky_minutes, settings.openrouter_api_key),
            may_explore=books.quota.has_plenty,
        ),
        suspicions=Suspicions(suspect_seconds(settings)),
        observe_failure=_told_of_failures(observing, books),
        observe_slow=observing.slow,
        gate=books.counting,
        explainer=observing.explainer,
    )
    return Runtime(
        settings,
        backend,
        database,
        failures,
        scores,
        writes,
        revisions,
        filters,
        AccessPolicy(settings, register=register.current),
        library,
        books.ledger,
        books.clients,
        books.quota,
        books.upkeep,
        NameKeeper(keeper.current, _secrets(settings)),
        books.counting,
        key_table,
        register,
    )


def _register(settings: Settings, table: KeyTable, revisions: Revisions) -> KeyRegister:
    taken = names_of_settings(settings.proxy_api_keys)
    register = KeyRegister(table.in_force, freshen=revisions.freshen, taken=taken, on_warning=_warn)
    revisions.subscribe(KEYS, register.reload, at_least_every=READ_AGAIN)
    return register


def _secrets(settings: Settings) -> tuple[str, ...]:
    """The keys that this server knows as texts."""
    of_clients = (text for one in keys_of_settings(settings.proxy_api_keys) for text in one.texts)
    return (settings.openrouter_api_key, *of_clients)


def _database(settings: Settings, instance_path: str) -> Database:
    try:
        url = sqlalchemy_url(settings.database_url, instance_path)
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL cannot be used (its value is not shown here): {error}") from None
    return Database(url, on_warning=_warn)


def _client(settings: Settings) -> Client:
    return Client(
        settings.openrouter_base_url,
        settings.openrouter_api_key,
        pool_size=settings.worker_connections,
        read_timeout=settings.upstream_read_timeout_seconds,
        app_url=settings.app_url,
        app_title=settings.app_title,
    )


def _keeper(
    settings: Settings, client: Client, database: Database, filters: FilterFiles, library: Library
) -> CatalogKeeper:
    return CatalogKeeper(
        settings,
        fetch=lambda: fetch_catalog(client, with_key=bool(settings.openrouter_api_key)),
        table=CatalogTable(database),
        filters=filters,
        personas=library.current,
        on_event=lambda event, fields: log.info(event, **fields),
    )


def _told_of_failures(observing: Observing, books: Books) -> FailureObserver:
    def failed(model: str, verdict: Verdict) -> None:
        observing.failure(model, verdict)
        books.ledger.failed(model, verdict)
        books.quota.failed(verdict)

    return failed


def _warn(text: str) -> None:
    log.warning(text)
