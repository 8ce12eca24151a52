"""A table and its statements: what was measured of each model, so that all processes learn together.

Knows no clock and no arithmetic: the caller passes in a function that makes the new row from the old one
(`fallback/measurements.py`). Times are UTC epoch seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, cast

from sqlalchemy import Connection, Table, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, upsert
from ollama_proxy.storage.revisions import moved
from ollama_proxy.storage.tables import Base
from ollama_proxy.storage.write_behind import Write


class ModelScore(Base):
    """What was measured of a model (docs/contract.md, "Scores"); the row with an empty id stands for all models."""

    __tablename__ = "model_scores"

    model: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[float]
    ok: Mapped[float]
    failed: Mapped[float]
    timed: Mapped[float]
    waited: Mapped[float]
    tokens: Mapped[float]
    seconds: Mapped[float]
    since: Mapped[float]
    recent: Mapped[str]


MODEL_SCORES = cast(Table, ModelScore.__table__)

#: The name under which `storage/revisions.py` counts the changes of the table.
NAME: Final = "scores"

#: The id of the row whose `since` is every model's.
ALL_MODELS: Final = ""

#: The most attempts that are read of a row, whoever wrote it.
_MOST_RECENT: Final = 100


class ScoreRow(NamedTuple):
    """What was measured of a model: sums as of `at`, nothing from before `since`, and the latest attempts.

    `timed` is the number of first tokens for which `waited` seconds were waited. An attempt is its time, whether it
    was answered, and the seconds to its first token, None if that is not known.
    """

    model: str
    at: float
    ok: float
    failed: float
    timed: float
    waited: float
    tokens: float
    seconds: float
    since: float
    recent: tuple[tuple[float, bool, float | None], ...]


class ScoreTable:
    """What was measured, in `database`. Methods that read or clear raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> dict[str, ScoreRow]:
        """Return all rows by the model's id, among them perhaps the one for all models."""
        return self._database.run(_rows)

    def change(
        self, make: Callable[[Mapping[str, ScoreRow]], list[ScoreRow]], *, forget_before: Callable[[], float]
    ) -> Write:
        """Write the rows that `make` returns, in one write; it gets all rows. Both functions may be called twice.

        Rows as of before `forget_before` are dropped: they mean nothing to any process. Between reading and writing no
        other process can change the table.
        """

        def write(connection: Connection) -> None:
            moved(connection, NAME)
            made = make(_rows(connection))
            connection.execute(delete(MODEL_SCORES).where(MODEL_SCORES.c.at < forget_before()))
            _put(connection, made)

        return write

    def forget(self, row: ScoreRow) -> int:
        """Put `row`, which knows only since when anything counts, in the place of what was measured of its model.

        With the id `ALL_MODELS` all other rows go. Returns of how many models something was known.
        """

        def write(connection: Connection) -> int:
            moved(connection, NAME)
            known = delete(MODEL_SCORES).where(MODEL_SCORES.c.ok + MODEL_SCORES.c.failed > 0)
            gone = delete(MODEL_SCORES)
            if row.model != ALL_MODELS:
                known = known.where(MODEL_SCORES.c.model == row.model)
                gone = gone.where(MODEL_SCORES.c.model == row.model)
            count = int(connection.execute(known).rowcount)
            connection.execute(gone)
            _put(connection, [row])
            return count

        return self._database.run(write, write=True)


def _rows(connection: Connection) -> dict[str, ScoreRow]:
    found = connection.execute(select(*MODEL_SCORES.c)).all()
    return {row.model: ScoreRow(**{**row._mapping, "recent": _attempts(row.recent)}) for row in found}


def _put(connection: Connection, rows: list[ScoreRow]) -> None:
    if not rows:
        return
    insert = upsert(connection, MODEL_SCORES)
    values = {column.name: insert.excluded[column.name] for column in MODEL_SCORES.c if not column.primary_key}
    # In one order everywhere: two processes must not wait for each other's row locks.
    given = [{**row._asdict(), "recent": json.dumps(row.recent)} for row in sorted(rows)]
    connection.execute(insert.on_conflict_do_update(index_elements=["model"], set_=values), given)


def _attempts(text: str) -> tuple[tuple[float, bool, float | None], ...]:
    """Return the attempts in a row. What another program wrote there and cannot be read counts as none."""
    try:
        found = [
            (float(at), bool(answered), None if first is None else float(first))
            for at, answered, first in json.loads(text)
        ]
    except (ValueError, TypeError, RecursionError):
        return ()
    return tuple(found[-_MOST_RECENT:])
