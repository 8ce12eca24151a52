"""Two tables and their statements: which models cool down, and which limits of the account hold.

Knows no clock, no HTTP and no arithmetic: the caller passes in a function that makes the new row from the old one
(`fallback/cooldown.py`). Times are UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, TypeVar, cast

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, StorageUnavailable, upsert
from ollama_proxy.storage.revisions import moved
from ollama_proxy.storage.tables import Base, storable
from ollama_proxy.storage.write_behind import Write


class ModelFailure(Base):
    """A model that is to blame for a failure, and until when it cools down (docs/contract.md, "Failures")."""

    __tablename__ = "model_failures"

    model: Mapped[str] = mapped_column(primary_key=True)
    blame: Mapped[str]
    count: Mapped[int]
    failed_at: Mapped[float]
    until: Mapped[float]
    reason: Mapped[str]
    record_digest: Mapped[str | None]


class AccountLimit(Base):
    """A limit of the account or key; `scope` is "free", "stealth" or "account"."""

    __tablename__ = "account_limits"

    scope: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[float]
    reason: Mapped[str]
    message: Mapped[str]
    updated_at: Mapped[float]
    status: Mapped[int]


MODEL_FAILURES = cast(Table, ModelFailure.__table__)
ACCOUNT_LIMITS = cast(Table, AccountLimit.__table__)

#: The name under which `storage/revisions.py` counts the changes of both tables.
NAME: Final = "failures"

#: The columns that hold upstream's words, which are cut to so many characters.
_WORDS: Final = ("reason", "message")
TEXT_LIMIT: Final = 1000

#: How often a row is looked for that another process makes or drops between two statements.
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class FailureRow:
    """What is remembered of a model; times in UTC epoch seconds. It cools down while now < `until`.

    `count` is of the failures that lengthen the cooldown, `failed_at` the last failure of any kind. `record_digest` is
    of the model's catalogue record, where the failure means nothing once that has changed.
    """

    model: str
    blame: str
    count: int
    failed_at: float
    until: float
    reason: str
    record_digest: str | None


@dataclass(frozen=True, slots=True)
class LimitRow:
    """What is remembered of the account: `scope` is "free", "stealth" or "account"; it holds while now < `until`."""

    scope: str
    until: float
    reason: str
    message: str
    updated_at: float
    status: int


Row = TypeVar("Row", FailureRow, LimitRow)


class FailureTable:
    """The failure memory in `database`. Methods that read or clear raise StorageUnavailable.

    Methods that return a Write change nothing yet: give it to a `WriteQueue`, or to `Database.run`. Each Write is
    atomic: between reading a row and writing it no other process can change it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading

    def load(self) -> list[FailureRow]:
        """Return all that is remembered of models, sorted by id. Past cooldowns too: their count still matters."""
        query = select(*MODEL_FAILURES.c).order_by(MODEL_FAILURES.c.model)
        return self._database.run(lambda connection: [FailureRow(*row) for row in connection.execute(query)])

    def limits(self) -> list[LimitRow]:
        """Return all limits, past ones too, sorted by scope."""
        query = select(*ACCOUNT_LIMITS.c).order_by(ACCOUNT_LIMITS.c.scope)
        return self._database.run(lambda connection: [LimitRow(*row) for row in connection.execute(query)])

    # Writing behind

    def change(self, model: str, become: Callable[[FailureRow | None], FailureRow]) -> Write:
        """Replace the row of `model` by what `become` returns for it, a pure function that may be called twice."""
        which = MODEL_FAILURES.c.model == model
        return lambda connection: _change(connection, MODEL_FAILURES, FailureRow, which, become)

    def change_limit(self, scope: str, become: Callable[[LimitRow | None], LimitRow]) -> Write:
        """Replace the row of `scope` in the same way."""
        which = ACCOUNT_LIMITS.c.scope == scope
        return lambda connection: _change(connection, ACCOUNT_LIMITS, LimitRow, which, become)

    def forget_older(self, model: str, began_at: float) -> Write:
        """Forget the failure of `model` if it is older than `began_at`, when an attempt began that has succeeded."""
        older = and_(MODEL_FAILURES.c.model == model, MODEL_FAILURES.c.failed_at < began_at)
        return lambda connection: _delete(connection, MODEL_FAILURES, older)

    def forget_past(self, *, ended_by: float, failed_before: float) -> Write:
        """Drop the rows of models whose cooldown had ended by `ended_by` and that failed before `failed_before`.

        The revision stays as it is: such rows mean nothing to any process.
        """
        past = and_(MODEL_FAILURES.c.until <= ended_by, MODEL_FAILURES.c.failed_at < failed_before)
        return lambda connection: connection.execute(delete(MODEL_FAILURES).where(past))

    def forget(self, model: str | None = None) -> Write:
        """Forget the failure of `model`, or all failures and all limits."""
        if model is not None:
            return lambda connection: _delete(connection, MODEL_FAILURES, MODEL_FAILURES.c.model == model)
        return lambda connection: [_delete(connection, table) for table in (MODEL_FAILURES, ACCOUNT_LIMITS)]

    # By hand, from the command line, where no server answers

    def clear(self, model: str | None = None) -> int:
        """Forget the failure of `model`, or of all models. Returns how many there were."""
        which = () if model is None else (MODEL_FAILURES.c.model == model,)
        return self._database.run(lambda connection: _delete(connection, MODEL_FAILURES, *which), write=True)

    def clear_limit(self, scope: str | None = None) -> int:
        """Forget the limit of `scope`, or all limits. Returns how many there were."""
        which = () if scope is None else (ACCOUNT_LIMITS.c.scope == scope,)
        return self._database.run(lambda connection: _delete(connection, ACCOUNT_LIMITS, *which), write=True)


def _delete(connection: Connection, table: Table, *which: ColumnElement[bool]) -> int:
    moved(connection, NAME)
    return int(connection.execute(delete(table).where(*which)).rowcount)


def _change(
    connection: Connection,
    table: Table,
    kind: type[Row],
    which: ColumnElement[bool],
    become: Callable[[Row | None], Row],
) -> Row:
    """Read the row, have `become` work out the new one, and write that. One process at a time does so.

    In SQLite the transaction holds the write lock. In PostgreSQL servers of this version wait for each other at
    `moved`. Servers of version 1.0.0 do not call it: because of them the row is locked when it is read, and a row that
    they make between the reading and the insert is not overwritten but read.
    """
    moved(connection, NAME)
    for _ in range(_TRIES):
        found = connection.execute(select(*table.c).where(which).with_for_update()).one_or_none()
        row = become(None if found is None else kind(*found))
        values = {name: storable(value, TEXT_LIMIT) if name in _WORDS else value for name, value in asdict(row).items()}
        if found is not None:
            connection.execute(update(table).where(which).values(values))
            return row
        insert = upsert(connection, table).values(values).on_conflict_do_nothing().returning(*table.primary_key)
        if connection.execute(insert).one_or_none() is not None:
            return row
    raise StorageUnavailable(f"a row of {table.name} is made and dropped too often")
