"""Three tables and their statements: clients' keys, whether keys are required, and who changed what of them.

No table holds a key itself: `sha256` is its hash, `prefix` its first characters, by which its owner knows it. Knows no
rights and no limits: that is in `access/`. Times are UTC epoch seconds, money is millionths of a dollar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import BigInteger, Connection, Table, delete, func, insert, inspect, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, StorageUnavailable, upsert
from ollama_proxy.storage.key_usage_table import forget_key
from ollama_proxy.storage.revisions import moved
from ollama_proxy.storage.tables import Base, storable


class ApiKey(Base):
    """One key. `folded` is the name without regard to case. `models` are lines as in a filter file.

    An id is never given twice, so that a new key inherits nothing of one that was removed.
    """

    __tablename__ = "api_keys"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    folded: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    prefix: Mapped[str]
    models: Mapped[str]
    free_only: Mapped[int]
    per_minute: Mapped[int | None] = mapped_column(BigInteger)
    parallel: Mapped[int | None] = mapped_column(BigInteger)
    free_per_day: Mapped[int | None] = mapped_column(BigInteger)
    microusd_per_day: Mapped[int | None] = mapped_column(BigInteger)
    microusd_per_month: Mapped[int | None] = mapped_column(BigInteger)
    expires: Mapped[float | None]
    disabled: Mapped[int]
    admin: Mapped[int]
    metrics: Mapped[int]
    note: Mapped[str]
    created: Mapped[float]


class KeyRequirement(Base):
    """One row, once a key has been made: whether keys are required. It stays when the last key is removed."""

    __tablename__ = "key_requirement"

    name: Mapped[str] = mapped_column(primary_key=True)
    required: Mapped[int]


class KeyEvent(Base):
    """What was done to a key: by whom (a key's name, or "command line"), from which address, and what changed."""

    __tablename__ = "key_events"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    actor: Mapped[str]
    address: Mapped[str]
    action: Mapped[str]
    key: Mapped[str]
    detail: Mapped[str]


API_KEYS = cast(Table, ApiKey.__table__)
REQUIREMENT = cast(Table, KeyRequirement.__table__)
EVENTS = cast(Table, KeyEvent.__table__)

#: The name under which `storage/revisions.py` counts the changes of the keys.
NAME: Final = "keys"

#: The name of the only row of `key_requirement`.
_ROW: Final = "keys"

#: The most keys that there may be: each process holds them all.
MOST_KEYS: Final = 1000
#: The most events that are kept, the newest.
MOST_EVENTS: Final = 10_000
#: The most characters of an event's texts.
_LONGEST: Final = 1000


class NoSuchKey(LookupError):
    """There is no key of that name."""


class NameTaken(ValueError):
    """There is a key of that name already."""


class TooManyKeys(ValueError):
    """There are MOST_KEYS keys already."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as it is stored; the columns of `ApiKey`."""

    id: int
    name: str
    folded: str
    sha256: str
    prefix: str
    models: str
    free_only: int
    per_minute: int | None
    parallel: int | None
    free_per_day: int | None
    microusd_per_day: int | None
    microusd_per_month: int | None
    expires: float | None
    disabled: int
    admin: int
    metrics: int
    note: str
    created: float


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit, as `KeyEvent` describes it."""

    at: float
    actor: str
    address: str
    action: str
    key: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """All keys by name, and whether keys are required: None if the database never had a key."""

    rows: tuple[KeyRow, ...] = ()
    required: bool | None = None


class KeyTable:
    """The keys in `database`. Every method is one transaction, and raises StorageUnavailable.

    What changes something writes its event in the same transaction, and raises the number of NAME.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> StoredKeys:
        """Return all keys. A database that was never migrated so far has none."""
        return self._database.run(_load)

    def in_force(self) -> StoredKeys:
        """Return all keys, for whoever decides who may call.

        A SQLite file that is not there and cannot be made holds none: there is nobody to ask for them, now or later.
        Raises StorageUnavailable where there may be keys.
        """
        try:
            return self.load()
        except StorageUnavailable:
            if self._database.is_missing:
                return StoredKeys()
            raise

    def events(self, limit: int, *, before: int | None = None) -> list[tuple[int, Event]]:
        """Return at most `limit` events with their numbers, the newest first; those below the number `before`."""
        query = select(EVENTS).order_by(EVENTS.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(EVENTS.c.id < before)

        def read(connection: Connection) -> list[tuple[int, Event]]:
            if not inspect(connection).has_table(EVENTS.name):
                return []
            return [(row[0], Event(*row[1:])) for row in connection.execute(query)]

        return self._database.run(read)

    def add(self, values: Mapping[str, Any], event: Event) -> KeyRow:
        """Add a key with these columns, and return it; from now on keys are required. Raises NameTaken, TooManyKeys."""

        def write(connection: Connection) -> KeyRow:
            moved(connection, NAME)
            if connection.execute(select(API_KEYS.c.id).where(API_KEYS.c.folded == values["folded"])).first():
                raise NameTaken(values["name"])
            if connection.execute(select(func.count()).select_from(API_KEYS)).scalar_one() >= MOST_KEYS:
                raise TooManyKeys
            connection.execute(insert(API_KEYS).values(**values))
            _require(connection, required=True)
            _note(connection, event)
            return _row(connection, values["folded"])

        return self._database.run(write, write=True)

    def change(self, folded: str, values: Mapping[str, Any], event: Event) -> KeyRow:
        """Change columns of a key, and return it as it is then. Raises NoSuchKey."""

        def write(connection: Connection) -> KeyRow:
            moved(connection, NAME)
            done = connection.execute(update(API_KEYS).where(API_KEYS.c.folded == folded).values(**values))
            if not done.rowcount:
                raise NoSuchKey(folded)
            _note(connection, event)
            return _row(connection, folded)

        return self._database.run(write, write=True)

    def remove(self, folded: str, event: Event) -> None:
        """Remove a key, and what it has used; keys stay required, also if it was the last one. Raises NoSuchKey."""

        def write(connection: Connection) -> None:
            moved(connection, NAME)
            gone = delete(API_KEYS).where(API_KEYS.c.folded == folded).returning(API_KEYS.c.id)
            if (key_id := connection.execute(gone).scalar_one_or_none()) is None:
                raise NoSuchKey(folded)
            forget_key(connection, key_id)
            _note(connection, event)

        self._database.run(write, write=True)

    def require(self, event: Event, *, required: bool) -> None:
        """Say whether keys are required from now on."""

        def write(connection: Connection) -> None:
            moved(connection, NAME)
            _require(connection, required=required)
            _note(connection, event)

        self._database.run(write, write=True)


def _load(connection: Connection) -> StoredKeys:
    if not inspect(connection).has_table(REQUIREMENT.name):
        return StoredKeys()
    required = connection.execute(select(REQUIREMENT.c.required)).scalar()
    rows = connection.execute(select(API_KEYS).order_by(API_KEYS.c.folded)).all()
    return StoredKeys(tuple(KeyRow(*row) for row in rows), None if required is None else bool(required))


def _row(connection: Connection, folded: str) -> KeyRow:
    return KeyRow(*connection.execute(select(API_KEYS).where(API_KEYS.c.folded == folded)).one())


def _require(connection: Connection, *, required: bool) -> None:
    row = upsert(connection, REQUIREMENT).values(name=_ROW, required=int(required))
    connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"required": int(required)}))


def _note(connection: Connection, event: Event) -> None:
    texts = {name: storable(getattr(event, name), _LONGEST) for name in ("actor", "address", "action", "key", "detail")}
    made = connection.execute(insert(EVENTS).values(at=event.at, **texts)).inserted_primary_key
    assert made is not None
    connection.execute(delete(EVENTS).where(EVENTS.c.id <= made[0] - MOST_EVENTS))
