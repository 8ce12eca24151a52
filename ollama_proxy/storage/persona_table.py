"""A table and its statements: the personas, which all processes know (docs/contract.md, "Personas").

Knows texts only: what is in the JSON columns is read elsewhere (`catalog/library.py`). Times are UTC epoch seconds.
"""

from __future__ import annotations

from typing import Final, NamedTuple, cast

from sqlalchemy import Connection, Table, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, upsert
from ollama_proxy.storage.revisions import REVISIONS, moved
from ollama_proxy.storage.tables import Base


class PersonaEntry(Base):
    """One persona, by the key of its name. `size` is how many bytes its texts have together."""

    __tablename__ = "personas"

    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    base: Mapped[str]
    system: Mapped[str]
    template: Mapped[str]
    licenses: Mapped[str]
    parameters: Mapped[str]
    messages: Mapped[str]
    renderer: Mapped[str]
    parser: Mapped[str]
    requires: Mapped[str]
    digest: Mapped[str]
    size: Mapped[int]
    created: Mapped[float]
    modified: Mapped[float]


PERSONAS = cast(Table, PersonaEntry.__table__)

#: The name under which `storage/revisions.py` counts the changes of the table.
NAME: Final = "personas"

#: What a row keeps when a persona is replaced: how its name is written, and since when it is there.
_KEPT: Final = frozenset({"key", "name", "created"})


class NoRoom(Exception):
    """The table holds as much as it may: nothing was written. The text says what there is too much of."""


class PersonaRow(NamedTuple):
    """One row. `licenses`, `parameters` and `messages` are JSON."""

    key: str
    name: str
    base: str
    system: str
    template: str
    licenses: str
    parameters: str
    messages: str
    renderer: str
    parser: str
    requires: str
    digest: str
    size: int
    created: float
    modified: float


class PersonaRows(NamedTuple):
    """All rows, and the number of their revision: no later change was made before it than they hold."""

    revision: int
    rows: list[PersonaRow]


class PersonaTable:
    """The personas in `database`. All methods raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def revision(self) -> int:
        """Return how often the table has changed: one row is read, however many personas there are."""
        return self._database.run(_revision)

    def load(self) -> PersonaRows:
        """Return all rows."""
        return self._database.run(_all)

    def put(self, row: PersonaRow, *, most: int, most_bytes: int) -> PersonaRows:
        """Write a row in the place of the one with its key, which keeps its name and time of creation; all rows then.

        Raises NoRoom if there would be more than `most` rows, or more than `most_bytes` in all of them.
        """

        def write(connection: Connection) -> PersonaRows:
            moved(connection, NAME)
            others = select(func.count(), func.coalesce(func.sum(PERSONAS.c.size), 0)).where(PERSONAS.c.key != row.key)
            count, size = connection.execute(others).one()
            if count + 1 > most:
                raise NoRoom(f"{most} models")
            if size + row.size > most_bytes:
                raise NoRoom(f"{most_bytes // 1024} KB in all models together")
            insert = upsert(connection, PERSONAS).values(**row._asdict())
            new = {column.name: insert.excluded[column.name] for column in PERSONAS.c if column.name not in _KEPT}
            connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=new))
            return _all(connection)

        return self._database.run(write, write=True)

    def remove(self, key: str) -> tuple[bool, PersonaRows]:
        """Remove a row. Returns whether it was there, and all rows then."""

        def write(connection: Connection) -> tuple[bool, PersonaRows]:
            moved(connection, NAME)
            gone = connection.execute(delete(PERSONAS).where(PERSONAS.c.key == key)).rowcount
            return gone > 0, _all(connection)

        return self._database.run(write, write=True)


def _revision(connection: Connection) -> int:
    number = connection.execute(select(REVISIONS.c.revision).where(REVISIONS.c.name == NAME)).scalar()
    return int(number or 0)


def _all(connection: Connection) -> PersonaRows:
    # The number first: in PostgreSQL each statement sees what was committed before it.
    number = _revision(connection)
    rows = connection.execute(select(*PERSONAS.c).order_by(PERSONAS.c.key)).all()
    return PersonaRows(number, [PersonaRow(*row) for row in rows])
