"""Two tables and their statements: the last good model list, and the lease to fetch a new one.

One process at a time has the lease. Records are kept as OpenRouter sent them: this module knows of a record no more
than its `id`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Connection, Table, and_, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, upsert
from ollama_proxy.storage.leases import is_free
from ollama_proxy.storage.tables import Base


class CatalogModel(Base):
    """One record of the last good model list, as JSON text, in the order OpenRouter listed it.

    The kind belongs to the key: an id in both lists must not cost the whole copy.
    """

    __tablename__ = "catalog_models"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    record: Mapped[str]


class CatalogRefresh(Base):
    """One row named "models": when the list was fetched, and which process is fetching it now."""

    __tablename__ = "catalog_state"

    name: Mapped[str] = mapped_column(primary_key=True)
    fetched_at: Mapped[float]
    source: Mapped[str]
    lease_holder: Mapped[str]
    lease_until: Mapped[float]
    revision: Mapped[int]


CATALOG_MODELS = cast(Table, CatalogModel.__table__)
CATALOG_STATE = cast(Table, CatalogRefresh.__table__)

CHAT: Final = "chat"
EMBEDDING: Final = "embedding"
_NAME: Final = "models"


@dataclass(frozen=True, slots=True)
class StoredCatalog:
    """The stored list: records in OpenRouter's order, when and from where (a word or path) they were fetched."""

    chat: list[dict[str, Any]]
    embeddings: list[dict[str, Any]]
    fetched_at: float
    source: str
    revision: int


class CatalogTable:
    """The model list in `database`. Every method raises StorageUnavailable when the database is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> StoredCatalog | None:
        """Return the stored list, None if nothing was ever saved."""
        found = self._database.run(_read)
        if found is None:
            return None
        (fetched_at, source, revision), rows = found
        records: dict[str, list[dict[str, Any]]] = {CHAT: [], EMBEDDING: []}
        for kind, record in rows:
            records.setdefault(kind, []).append(json.loads(record))
        return StoredCatalog(records[CHAT], records[EMBEDDING], fetched_at, source, revision)

    def save(
        self,
        chat: Iterable[Mapping[str, Any]],
        embeddings: Iterable[Mapping[str, Any]],
        *,
        fetched_at: float,
        source: str,
    ) -> int:
        """Replace the stored list as one transaction, and return its revision.

        A record needs a string `id`; of two with the same id the first stays. Rows that did not change are not written.
        """
        wanted = {**_rows(CHAT, chat), **_rows(EMBEDDING, embeddings)}

        def replace(connection: Connection) -> int:
            revision = _touch(connection, fetched_at, source)
            _rewrite(connection, wanted)
            return revision

        return self._database.run(replace, write=True)

    def revision(self) -> int:
        """Return how often the list has been saved. Other processes see by it that there is a new one."""
        query = select(CATALOG_STATE.c.revision).where(CATALOG_STATE.c.name == _NAME)
        return self._database.run(lambda connection: connection.execute(query).scalar_one_or_none()) or 0

    def acquire_lease(self, holder: str, now: float, seconds: float) -> bool:
        """Take or renew the lease for `holder` until `now + seconds`. Returns False if another process has it. Atomic.

        Which leases can be taken says `storage.leases.is_free`. This one is older than the table there, and servers of
        version 1.0.0 share it.
        """
        old = CATALOG_STATE.c
        lease = {"lease_holder": holder, "lease_until": now + seconds}
        free = is_free(old.lease_holder, old.lease_until, by=holder, now=now, seconds=seconds)

        def statement(connection: Connection) -> bool:
            insert = upsert(connection, CATALOG_STATE).values(
                name=_NAME, fetched_at=0.0, source="", revision=0, **lease
            )
            whole = insert.on_conflict_do_update(index_elements=["name"], set_=lease, where=free)
            return connection.execute(whole.returning(old.name)).one_or_none() is not None

        return self._database.run(statement, write=True)

    def release_lease(self, holder: str) -> None:
        """Give the lease back, if `holder` still has it."""
        own = and_(CATALOG_STATE.c.name == _NAME, CATALOG_STATE.c.lease_holder == holder)
        statement = update(CATALOG_STATE).where(own).values(lease_holder="", lease_until=0.0)
        self._database.run(lambda connection: connection.execute(statement), write=True)


_Rows = dict[tuple[str, str], tuple[int, str]]


def _rows(kind: str, records: Iterable[Mapping[str, Any]]) -> _Rows:
    rows: _Rows = {}
    for position, record in enumerate(records):
        # ASCII text: any database holds it, also a NUL or a lone surrogate inside a description.
        rows.setdefault((kind, record["id"]), (position, json.dumps(record, separators=(",", ":"))))
    return rows


def _read(connection: Connection) -> tuple[tuple[float, str, int], list[tuple[str, str]]] | None:
    # The state first: if another process saves in between, the revision is too old and the next look reads again.
    state = CATALOG_STATE.c
    query = select(state.fetched_at, state.source, state.revision).where(state.name == _NAME, state.revision > 0)
    head = connection.execute(query).one_or_none()
    if head is None:
        return None
    models = select(CATALOG_MODELS.c.kind, CATALOG_MODELS.c.record).order_by(CATALOG_MODELS.c.position)
    return (head.fetched_at, head.source, head.revision), [(row.kind, row.record) for row in connection.execute(models)]


def _touch(connection: Connection, fetched_at: float, source: str) -> int:
    """Note the refresh. This also locks the row, so a second save waits until this one is done."""
    old = CATALOG_STATE.c
    fresh = {"fetched_at": fetched_at, "source": source}
    insert = upsert(connection, CATALOG_STATE).values(name=_NAME, lease_holder="", lease_until=0.0, revision=1, **fresh)
    whole = insert.on_conflict_do_update(index_elements=["name"], set_={**fresh, "revision": old.revision + 1})
    return int(connection.execute(whole.returning(old.revision)).scalar_one())


def _rewrite(connection: Connection, wanted: _Rows) -> None:
    known: _Rows = {
        (row.kind, row.id): (row.position, row.record) for row in connection.execute(select(CATALOG_MODELS))
    }
    for kind in (CHAT, EMBEDDING):
        gone = [id_ for (of, id_) in known.keys() - wanted.keys() if of == kind]
        if gone:
            table = CATALOG_MODELS.c
            connection.execute(delete(CATALOG_MODELS).where(table.kind == kind, table.id.in_(gone)))
    changed = [
        {"kind": kind, "id": id_, "position": position, "record": record}
        for (kind, id_), (position, record) in wanted.items()
        if known.get((kind, id_)) != (position, record)
    ]
    if changed:
        insert = upsert(connection, CATALOG_MODELS)
        fresh = {"position": insert.excluded.position, "record": insert.excluded.record}
        connection.execute(insert.on_conflict_do_update(index_elements=["id", "kind"], set_=fresh), changed)
