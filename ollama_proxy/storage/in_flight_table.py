"""A table of the requests that are under way now in all processes, and its statements.

Processes write it only while somebody looks (`ledger/upkeep.py`). Times are UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, cast

from sqlalchemy import Connection, Table, delete, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database
from ollama_proxy.storage.leases import CLOCKS_DIFFER
from ollama_proxy.storage.tables import Base
from ollama_proxy.storage.write_behind import Write

#: Seconds after which the rows of a process that writes no more mean nothing: it is dead, or nobody looked. By
#: the clock of another machine it may be `CLOCKS_DIFFER` more: `ledger/under_way.py` looks closer.
EXPIRE: Final = 10.0


class RequestInFlight(Base):
    """One request under way. `process` names the process that serves it, `seen_at` is when it wrote the row."""

    __tablename__ = "in_flight"

    process: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    began_at: Mapped[float]
    seen_at: Mapped[float]
    caller: Mapped[str]
    api: Mapped[str]
    route: Mapped[str]
    asked: Mapped[str]
    model: Mapped[str | None]
    attempts: Mapped[int]
    streamed: Mapped[int]


IN_FLIGHT = cast(Table, RequestInFlight.__table__)


@dataclass(frozen=True, slots=True)
class InFlight:
    """One request under way, as it was at `seen_at`. `model` is the one that answers, None while nobody does;
    `attempts` is how many have been asked. The other fields are those of `ledger.record.RequestRecord`.
    """

    process: str
    id: str
    began_at: float
    seen_at: float
    caller: str
    api: str
    route: str
    asked: str
    model: str | None
    attempts: int
    streamed: bool


class InFlightTable:
    """The requests under way in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, now: float) -> list[InFlight]:
        """Return what all processes have written lately, the longest under way first. Raises StorageUnavailable."""
        query = (
            select(*IN_FLIGHT.c)
            .where(IN_FLIGHT.c.seen_at > now - EXPIRE - CLOCKS_DIFFER)
            .order_by(IN_FLIGHT.c.began_at)
        )
        rows = self._database.run(lambda connection: connection.execute(query).mappings().all())
        return [InFlight(**{**row, "streamed": bool(row["streamed"])}) for row in rows]

    def replace(self, process: str, rows: Sequence[InFlight]) -> Write:
        """Write what `process` has under way, in the place of what it wrote before."""
        values = [asdict(row) | {"streamed": int(row.streamed)} for row in rows]

        def write(connection: Connection) -> None:
            connection.execute(delete(IN_FLIGHT).where(IN_FLIGHT.c.process == process))
            if values:
                connection.execute(insert(IN_FLIGHT), values)

        return write

    def forget_dead(self, now: float) -> None:
        """Remove the rows of processes that write no more. Raises StorageUnavailable."""
        dead = IN_FLIGHT.c.seen_at <= now - EXPIRE - CLOCKS_DIFFER
        self._database.run(lambda connection: connection.execute(delete(IN_FLIGHT).where(dead)), write=True)
