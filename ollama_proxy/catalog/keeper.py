"""Keeps the current catalogue: the stored copy first, then refreshed in the background, by one process for all.

Requests only read `current()`. One process at a time fetches, under a lease in the database; the others pick up what it
stored. Without a database every process fetches for itself. How a list is fetched is passed in: this module knows
neither HTTP nor SQL (docs/contract.md, "Catalogue").
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from ollama_proxy.catalog.aliases import aliases_of
from ollama_proxy.catalog.filters import FilterFiles, Filters
from ollama_proxy.catalog.names import is_valid_id
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.storage.database import StorageUnavailable

if TYPE_CHECKING:
    from ollama_proxy.config import Settings
    from ollama_proxy.storage.catalog_table import CatalogTable, StoredCatalog

#: Seconds. How often requests look at the filter files and the date.
_FILTER_CHECK = 1.0
#: Seconds between looks at what other processes stored; while there is no copy at all, look more often.
_STORE_CHECK, _STORE_CHECK_EMPTY = 5.0, 1.0
#: Seconds. A process that dies while it fetches holds up the others for this long.
_LEASE = 90.0
#: Seconds. A stored copy older than this is refreshed at the start, whatever the TTL: key and address may have changed.
_FRESH_AT_START = 60.0
#: The most models that are read of one list, some ten times what OpenRouter has: making twenty thousand takes half a
#: second, in which nobody else is served.
MOST_RECORDS = 5000
#: Seconds before the first retry of a failed refresh; doubled up to the TTL.
_FIRST_RETRY = 5.0
#: Seconds between refreshes that a "no such model" asked for.
_FORCED_GAP = 30.0
#: Seconds. A deadline further away than the TTL by this much means that the clock was put back.
_CLOCK_SLACK = 60.0
_TICK = 1.0
#: Seconds that a process without any copy waits for the one that holds the lease.
_EMPTY_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class FetchedCatalog:
    """Both model lists as they came, and from where. `embeddings` None: that call failed, the earlier ones stay."""

    chat: list[dict[str, Any]]
    embeddings: list[dict[str, Any]] | None
    source: str


@dataclass(frozen=True, slots=True)
class _Copy:
    chat: list[dict[str, Any]]
    embeddings: list[dict[str, Any]]
    fetched_at: float
    source: str


_NO_PERSONAS: Mapping[str, Persona] = {}


class CatalogKeeper:
    """Holds the current Catalog of one process.

    `fetch` gets both lists and may raise anything; the text of what it raises becomes `last_error`. `personas` returns
    those that there are now, the same mapping as long as they have not changed. `on_event` is told
    `catalog.refreshed`, `catalog.loaded` (fields `models`, `free`, `joined`, `left`, `source`) and
    `catalog.refresh_failed` (`error`, `retry_seconds`).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        fetch: Callable[[], FetchedCatalog],
        table: CatalogTable | None,
        filters: FilterFiles,
        personas: Callable[[], Mapping[str, Persona]] = lambda: _NO_PERSONAS,
        clock: Callable[[], float] = time.time,
        today: Callable[[], date] | None = None,
        on_event: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._ttl = settings.catalog_ttl_minutes * 60
        self._fetch, self._table, self._filters, self._clock = fetch, table, filters, clock
        self._personas, self._aliases = personas, aliases_of(settings.model_aliases)
        self._today = today or (lambda: datetime.now(UTC).date())
        self._on_event = on_event or (lambda _name, _fields: None)
        self._token = uuid.uuid4().hex

        self._lock = threading.Lock()  # guards the five below; never held over a fetch or a query
        self._copy: _Copy | None = None
        self._gone: dict[str, float] = {}
        self._catalog: Catalog | None = None  # without personas
        self._built_with: tuple[Filters, date] | None = None
        self._checked_at = float("-inf")

        # The catalogue with personas, behind what it was made of: the same object until one of both changes.
        self._named: tuple[Catalog | None, Mapping[str, Persona], Catalog | None] = (None, _NO_PERSONAS, None)
        self._revision = 0
        self._failures = 0
        self._due_at = self._look_at = self._forced_at = float("-inf")
        self._wanted_at: float | None = None
        self._empty_since: float | None = None
        self._wake, self._ready = threading.Event(), threading.Event()
        #: Why there is no catalogue, or no new one; None while all is well.
        self.last_error: str | None = "the model list has not been fetched yet"

    # What requests call

    def current(self) -> Catalog | None:
        """Return the catalogue, None before there is any. It costs some attribute reads, once a second two `stat`s and
        a look whether personas have changed.
        """
        now = self._clock()
        if not 0 <= now - self._checked_at < _FILTER_CHECK and self._lock.acquire(blocking=False):
            try:
                self._checked_at = now
                if self._copy is not None and self._built_with != (self._filters.current(), self._today()):
                    self._catalog, self._built_with = self._build(self._copy, self._gone)
            finally:
                self._lock.release()
        catalog = self._catalog
        if catalog is None:  # such as for a command: there may be no database to look for personas in
            return None
        made_of, known, named = self._named
        personas = self._personas()
        if made_of is catalog and known is personas:
            return named
        named = catalog.with_personas(personas)
        self._named = catalog, personas, named
        return named

    def request_refresh(self) -> None:
        """Ask for a refresh soon: upstream says that a listed model does not exist. Many calls make one refresh."""
        if self._wanted_at is None:
            self._wanted_at = self._clock()
        self._wake.set()

    def forget(self, model_id: str) -> None:
        """Drop a model from the free list until a list fetched after this shows it again."""
        with self._lock:
            self._gone[model_id] = self._clock()
            if self._catalog is not None:
                self._catalog = self._catalog.without(self._gone.keys())

    @property
    def source(self) -> str:
        """Where the current list came from, a word or path; "" while there is none."""
        return self._copy.source if self._copy is not None else ""

    @property
    def has_failed(self) -> bool:
        """True if the last attempt to fetch the list failed: then there is nothing to wait for."""
        return self._failures > 0

    def wait_ready(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the first copy. Returns True if there is one."""
        return self._ready.wait(timeout)

    # What the background thread calls

    def run(self, stop_event: threading.Event) -> None:
        """Load the stored copy, then refresh until `stop_event` is set. Needs a thread of its own."""
        self.load_stored()
        while not stop_event.is_set():
            try:
                self.refresh_if_due()
            except Exception as error:  # noqa: BLE001 - this thread has to outlive any mistake made in it
                self._failed(f"{type(error).__name__}: {error}")
            if not stop_event.is_set():
                self._wake.wait(_TICK)
                self._wake.clear()

    def load_stored(self) -> bool:
        """Take over the stored copy. Returns False if there is none, it holds no models, or the database is away."""
        if self._table is None:
            return False
        try:
            stored: StoredCatalog | None = self._table.load()
        except StorageUnavailable:
            return False
        if stored is None:
            return False
        at_start, now = self._catalog is None, self._clock()
        self._revision = stored.revision
        fetched_at = min(stored.fetched_at, now)
        if not self._adopt(_Copy(stored.chat, stored.embeddings, fetched_at, stored.source), "catalog.loaded"):
            return False
        lifetime = min(self._ttl, _FRESH_AT_START) if at_start else self._ttl
        if at_start and stored.fetched_at > now + _CLOCK_SLACK:
            # The clock that stored it was ahead, so nobody knows how old the copy is. Later than at the start that
            # does not matter: a copy whose revision has just moved is new.
            lifetime = 0.0
        self._settle(fetched_at, lifetime)
        return True

    def refresh_if_due(self) -> bool:
        """Pick up another process's copy, or fetch when the time has come. Returns True if there is a new copy."""
        now = self._clock()
        picked_up = self._pick_up(now)
        if not self._is_due(now):
            return picked_up
        if not self._acquire_lease(now) and not self._must_not_wait(now):
            self._look_at = min(self._look_at, now + _STORE_CHECK_EMPTY)
            return picked_up
        try:
            # Another process may have stored its copy between our look and our lease.
            self._look_at = now
            picked_up = self._pick_up(now) or picked_up
            return self._refresh() if self._is_due(now) else picked_up
        finally:
            self._release_lease()

    # Inside

    def _is_due(self, now: float) -> bool:
        wanted = self._wanted_at is not None and not 0 <= now - self._forced_at < _FORCED_GAP
        return wanted or now >= self._due_at or self._due_at > now + self._ttl + _CLOCK_SLACK

    def _must_not_wait(self, now: float) -> bool:
        """Return whether to fetch in spite of another's lease: if there is no copy after a moment. It may be dead."""
        if self._catalog is not None:
            return False
        if self._empty_since is None:
            self._empty_since = now
        return not 0 <= now - self._empty_since < _EMPTY_PATIENCE

    def _pick_up(self, now: float) -> bool:
        if self._table is None or now < self._look_at <= now + _CLOCK_SLACK:
            return False
        self._look_at = now + (_STORE_CHECK if self._catalog is not None else _STORE_CHECK_EMPTY)
        try:
            revision = self._table.revision()
        except StorageUnavailable:
            return False
        return revision not in (0, self._revision) and self.load_stored()

    def _refresh(self) -> bool:
        if self._wanted_at is not None:
            self._forced_at = self._clock()
        try:
            fetched = self._fetch()
        except Exception as error:  # noqa: BLE001 - whatever went wrong with the fetch, the earlier copy stays
            self._failed(str(error) or type(error).__name__)
            return False
        now = self._clock()
        earlier = self._copy.embeddings if self._copy is not None else []
        embeddings = earlier if fetched.embeddings is None else _usable(fetched.embeddings)
        copy = _Copy(_usable(fetched.chat), embeddings, now, fetched.source)
        if not self._adopt(copy, "catalog.refreshed"):
            self._failed("the model list that came holds no models")
            return False
        self._settle(now, self._ttl)
        self._save(copy)
        return True

    def _adopt(self, copy: _Copy, event: str) -> bool:
        """Make the copy the current one. Returns False if it holds no chat models, which is a mistake of upstream."""
        now = self._clock()
        with self._lock:
            before = self._catalog
            gone = {model_id: at for model_id, at in self._gone.items() if copy.fetched_at < at <= now}
            catalog, built_with = self._build(copy, gone)
            if all(model.is_embedding for model in catalog.known()):
                return False
            self._copy, self._gone, self._catalog, self._built_with = copy, gone, catalog, built_with
        self._ready.set()
        old, new = ({model.id for model in one.free} if one is not None else set() for one in (before, catalog))
        self._on_event(
            event,
            {
                "models": len(catalog.models),
                "free": len(new),
                "joined": sorted(new - old) if before is not None else [],
                "left": sorted(old - new),
                "source": copy.source,
            },
        )
        return True

    def _build(self, copy: _Copy, gone: Mapping[str, float]) -> tuple[Catalog, tuple[Filters, date]]:
        filters, today = self._filters.current(), self._today()
        catalog = Catalog.build(
            copy.chat,
            copy.embeddings,
            free_mode=self._settings.free_mode,
            tool_use_only=self._settings.tool_use_only,
            filters=filters,
            today=today,
            fetched_at=copy.fetched_at,
            aliases=self._aliases,
        )
        return catalog.without(gone.keys()), (filters, today)

    def _settle(self, fetched_at: float, lifetime: float) -> None:
        self._failures, self.last_error = 0, None
        self._due_at = fetched_at + lifetime
        if self._wanted_at is not None and fetched_at >= self._wanted_at:
            self._wanted_at = None

    def _failed(self, error: str) -> None:
        pause = min(_FIRST_RETRY * 2 ** min(self._failures, 20), self._ttl)
        self._failures += 1
        self._due_at, self._wanted_at = self._clock() + pause, None
        self.last_error = " ".join(error.split())
        self._on_event("catalog.refresh_failed", {"error": self.last_error, "retry_seconds": pause})

    def _save(self, copy: _Copy) -> None:
        if self._table is not None:
            try:
                self._revision = self._table.save(
                    copy.chat, copy.embeddings, fetched_at=copy.fetched_at, source=copy.source
                )
            except StorageUnavailable:
                return  # served from memory; the database reports its own state

    def _acquire_lease(self, now: float) -> bool:
        """Return whether this process may fetch. Without a database each one may."""
        try:
            return self._table is None or self._table.acquire_lease(self._holder(), now, _LEASE)
        except StorageUnavailable:
            return True

    def _release_lease(self) -> None:
        if self._table is not None:
            try:
                self._table.release_lease(self._holder())
            except StorageUnavailable:
                return  # it runs out by itself

    def _holder(self) -> str:
        return f"{self._token}-{os.getpid()}"  # the process id: a fork shares the token


def _usable(records: object) -> list[dict[str, Any]]:
    """Return the records that can be stored: objects with a valid id. Others are mistakes of upstream.

    At most MOST_RECORDS are looked at.
    """
    found = records[:MOST_RECORDS] if isinstance(records, list) else []
    return [
        record
        for record in found
        if isinstance(record, dict) and isinstance(record.get("id"), str) and is_valid_id(record["id"])
    ]
