"""A table of leases, so that one process at a time does something, or only one does it at all.

A lease has a name, a holder and an end. Whoever takes it for a time and does not give it back says: this is done for so
long. Times are UTC epoch seconds.
"""

from __future__ import annotations

from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, or_
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, upsert
from ollama_proxy.storage.tables import Base

#: Seconds that the clocks of machines which share a database may differ.
CLOCKS_DIFFER: Final = 60.0


class Lease(Base):
    """A lease: `holder` has it until `until`."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[float]


LEASES = cast(Table, Lease.__table__)


def is_free(holder: Any, until: Any, *, by: str, now: float, seconds: float) -> ColumnElement[bool]:
    """Return the condition that `by` can take a lease for `seconds`, whose columns are `holder` and `until`.

    A lease that has ended can be taken: its holder may be dead. So can one that ends more than `seconds` and a minute
    from now: its holder's clock was ahead.
    """
    return or_(until <= now, holder == by, until > now + seconds + CLOCKS_DIFFER)


class Leases:
    """The leases in `database`. All methods raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, holder: str, *, now: float, seconds: float) -> bool:
        """Take or renew the lease `name` until `now + seconds`. Returns False if another holder has it. Atomic."""
        old = LEASES.c
        new = {"holder": holder, "until": now + seconds}
        free = is_free(old.holder, old.until, by=holder, now=now, seconds=seconds)

        def statement(connection: Connection) -> bool:
            insert = upsert(connection, LEASES).values(name=name, **new)
            whole = insert.on_conflict_do_update(index_elements=["name"], set_=new, where=free)
            return connection.execute(whole.returning(old.name)).one_or_none() is not None

        return self._database.run(statement, write=True)

    def release(self, name: str, holder: str) -> None:
        """Give the lease back, if `holder` still has it."""
        own = and_(LEASES.c.name == name, LEASES.c.holder == holder)
        self._database.run(lambda connection: connection.execute(delete(LEASES).where(own)), write=True)

    def forget_ended(self, ended_by: float) -> None:
        """Remove the leases that had ended by then: they mean nothing any more."""
        self._database.run(
            lambda connection: connection.execute(delete(LEASES).where(LEASES.c.until <= ended_by)), write=True
        )
