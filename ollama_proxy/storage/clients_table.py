"""A table of the kinds of clients that have called, and its statements. Times are UTC epoch seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from sqlalchemy import Connection, Table, case, select
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, upsert
from ollama_proxy.storage.tables import Base
from ollama_proxy.storage.write_behind import Write


class SeenClient(Base):
    """When a kind of client was served last. `name` is a slug of `clients/user_agents.py`, never what a client sent."""

    __tablename__ = "clients_seen"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_at: Mapped[float]


CLIENTS_SEEN = cast(Table, SeenClient.__table__)


class ClientsTable:
    """The kinds of clients seen, in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> dict[str, float]:
        """Return when each was served last. Raises StorageUnavailable."""
        query = select(CLIENTS_SEEN.c.name, CLIENTS_SEEN.c.last_at)
        rows = self._database.run(lambda connection: connection.execute(query).all())
        return {row.name: row.last_at for row in rows}

    @staticmethod
    def note(seen: Mapping[str, float]) -> Write:
        """Return the write that notes these; the later time wins. `seen` must not be empty."""
        rows = [{"name": name, "last_at": at} for name, at in sorted(seen.items())]

        def write(connection: Connection) -> None:
            insert = upsert(connection, CLIENTS_SEEN)
            later = case(
                (insert.excluded.last_at > CLIENTS_SEEN.c.last_at, insert.excluded.last_at),
                else_=CLIENTS_SEEN.c.last_at,
            )
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"last_at": later}), rows)

        return write
