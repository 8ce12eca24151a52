"""Three tables and their statements: the request log, what was used by the hour, and failed attempts by the hour.

Knows no clock and nothing of a request but the values it is given. Times are UTC epoch seconds; an hour is the epoch
second at which it begins. None of the tables holds a key, a prompt or an answer (docs/contract.md, "Ledger").
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from sqlalchemy import BigInteger, ColumnElement, Connection, Index, Row, Table, and_, delete, func, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, upsert
from ollama_proxy.storage.tables import Base
from ollama_proxy.storage.write_behind import Write

HOUR: Final = 3600

#: Upper bounds, in seconds, of the columns `first_token_0` to `first_token_10`; `first_token_11` counts what is above
#: them. A time equal to a bound counts in its column. The columns keep their meaning for ever: a change needs new ones.
FIRST_TOKEN_BOUNDS: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0)

#: The most spans of time of one answer: the hours of 90 days, as long as they are kept.
_MOST_SPANS: Final = 90 * 24

#: The caller under which those are counted who come when too many have come in an hour.
OTHERS: Final = "others"


class LoggedRequest(Base):
    """One request that asked a model, and how it ended: the columns of `ledger.record.RequestRecord`.

    `chain` is JSON text: a list of `[model, reason or null, seconds]`. `cost` is in millionths of a dollar.
    """

    __tablename__ = "request_log"
    # One index: of a caller or a model among some thousand rows there is no need for another, which would cost every
    # request something.
    __table_args__ = (Index("request_log_by_time", "ended_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    ended_at: Mapped[float]
    caller: Mapped[str]
    api: Mapped[str]
    route: Mapped[str]
    asked: Mapped[str]
    model: Mapped[str | None]
    chain: Mapped[str]
    free_attempts: Mapped[int]
    first_token_seconds: Mapped[float | None]
    seconds: Mapped[float]
    prompt_tokens: Mapped[int | None] = mapped_column(BigInteger)
    completion_tokens: Mapped[int | None] = mapped_column(BigInteger)
    cost: Mapped[int | None] = mapped_column(BigInteger)
    status: Mapped[int]
    outcome: Mapped[str]
    streamed: Mapped[int]
    error: Mapped[str]


class UsedInHour(Base):
    """What one caller used of one model in one hour; `model` is "" for requests that nobody answered.

    `whole` to `refused` count the requests by how they ended; `attempts` are all attempts of these requests, those
    that failed on other models too.
    """

    __tablename__ = "usage_hourly"

    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    caller: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int]
    whole: Mapped[int]
    failed: Mapped[int]
    broken: Mapped[int]
    left: Mapped[int]
    refused: Mapped[int]
    attempts: Mapped[int]
    free_attempts: Mapped[int]
    tokens_in: Mapped[int] = mapped_column(BigInteger)
    tokens_out: Mapped[int] = mapped_column(BigInteger)
    microusd: Mapped[int] = mapped_column(BigInteger)
    first_token_0: Mapped[int]
    first_token_1: Mapped[int]
    first_token_2: Mapped[int]
    first_token_3: Mapped[int]
    first_token_4: Mapped[int]
    first_token_5: Mapped[int]
    first_token_6: Mapped[int]
    first_token_7: Mapped[int]
    first_token_8: Mapped[int]
    first_token_9: Mapped[int]
    first_token_10: Mapped[int]
    first_token_11: Mapped[int]


class FailedInHour(Base):
    """How many attempts with one model failed in one hour, by what was to blame (`Blame`)."""

    __tablename__ = "attempt_failures_hourly"

    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    model: Mapped[str] = mapped_column(primary_key=True)
    blame: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]


REQUEST_LOG = cast(Table, LoggedRequest.__table__)
USAGE = cast(Table, UsedInHour.__table__)
FAILURES = cast(Table, FailedInHour.__table__)

_FIRST_TOKEN: Final = tuple(f"first_token_{n}" for n in range(len(FIRST_TOKEN_BOUNDS) + 1))
#: The columns of USAGE that are sums, without those of the first-token times.
_SUMS: Final = tuple(
    column.name for column in USAGE.c if not column.primary_key and not column.name.startswith("first_token_")
)


@dataclass(slots=True)
class HourlyUsage:
    """One row of `usage_hourly`: see `UsedInHour`. `first_token` counts by `FIRST_TOKEN_BOUNDS`, one more than these.

    `microusd` is the cost in millionths of a dollar.
    """

    hour: int
    caller: str
    model: str
    requests: int = 0
    whole: int = 0
    failed: int = 0
    broken: int = 0
    left: int = 0
    refused: int = 0
    attempts: int = 0
    free_attempts: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    microusd: int = 0
    first_token: Sequence[int] = (0,) * (len(FIRST_TOKEN_BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """The sums of several hours: of all, by caller and by model, those with the most requests first.

    In each row `hour` is 0, and what it is not grouped by ("caller", "model", or both) is "".
    """

    all: HourlyUsage
    callers: Sequence[HourlyUsage]
    models: Sequence[HourlyUsage]


@dataclass(frozen=True, slots=True)
class UsageOver:
    """The sums of some days: by span of time (only those with requests, `hour` is when it begins, oldest first), by
    caller and by model (as in UsageTotals), and the failed attempts by what was to blame, the most first.
    """

    spans: Sequence[HourlyUsage]
    callers: Sequence[HourlyUsage]
    models: Sequence[HourlyUsage]
    blames: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class HourlyFailures:
    """One row of `attempt_failures_hourly`."""

    hour: int
    model: str
    blame: str
    count: int


class LedgerTable:
    """The ledger in `database`. All methods but `record` raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Writing behind

    def record(
        self,
        rows: Sequence[tuple[object, ...]],
        *,
        usage: Callable[[Callable[[int], set[str]]], Iterable[HourlyUsage]],
        failures: Iterable[HourlyFailures],
    ) -> Write:
        """Add rows to the request log, each a value for every column in their order, and add to the hours' sums.

        `usage` gets a function that returns the callers that are named in an hour so far, and returns the sums. A row
        of the log that is there already stays as it is.
        """
        counts = [asdict(row) for row in sorted(failures, key=lambda row: (row.hour, row.model, row.blame))]

        def write(connection: Connection) -> None:
            if rows:
                connection.exec_driver_sql(_insert_into_log(connection), list(rows))
            sums = usage(lambda hour: _callers(connection, hour))
            ordered = sorted(sums, key=lambda row: (row.hour, row.caller, row.model))
            _add(connection, USAGE, [_usage_values(row) for row in ordered])
            _add(connection, FAILURES, counts)

        return write

    # Reading

    def newest(
        self,
        limit: int,
        *,
        before: float | None = None,
        failed_only: bool = False,
        caller: str | None = None,
        models: Collection[str] = (),
    ) -> list[dict[str, Any]]:
        """Return rows of the request log, the newest first: see `Ledger.newest`."""
        log = REQUEST_LOG.c
        which: list[ColumnElement[bool]] = []
        if before is not None:
            which.append(log.ended_at < before)
        if failed_only:
            which.append(log.outcome.in_(("failed", "broken")))
        if caller is not None:
            which.append(log.caller == caller)
        if models:
            which.append(or_(log.model.in_(models), log.asked.in_(models)))
        query = select(*log).where(and_(True, *which)).order_by(log.ended_at.desc(), log.id.desc()).limit(limit)
        return self._database.run(lambda connection: [dict(row) for row in connection.execute(query).mappings()])

    def find(self, beginning: str, *, caller: str | None = None) -> dict[str, Any] | None:
        """Return the newest row of the request log whose id begins so: see `Ledger.find`."""
        log = REQUEST_LOG.c
        which = log.id.startswith(beginning, autoescape=True)
        query = select(*log).where(which, *_of(REQUEST_LOG, caller)).order_by(log.ended_at.desc()).limit(1)

        def read(connection: Connection) -> dict[str, Any] | None:
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else dict(row)

        return self._database.run(read)

    def usage(self, since: float, *, caller: str | None = None) -> list[HourlyUsage]:
        """Return the sums of all hours that end after `since`, oldest first."""
        which = [USAGE.c.hour > since - HOUR]
        if caller is not None:
            which.append(USAGE.c.caller == caller)
        query = select(*USAGE.c).where(*which).order_by(USAGE.c.hour, USAGE.c.caller, USAGE.c.model)
        return self._database.run(lambda connection: [_usage_row(row) for row in connection.execute(query)])

    def usage_totals(self, since: float, most: int, *, caller: str | None = None) -> UsageTotals:
        """Return the sums over all hours that end after `since`, with at most `most` callers and models.

        With `caller` only what that one used.

        The database adds up: an hour has a row for each caller and model.
        """

        def read(connection: Connection) -> UsageTotals:
            [total] = _totals(connection, since, of=caller)
            callers = _totals(connection, since, USAGE.c.caller, most, of=caller)
            return UsageTotals(total, callers, _totals(connection, since, USAGE.c.model, most, of=caller))

        return self._database.run(read)

    def usage_over(self, since: float, step: int, most: int) -> UsageOver:
        """Return the same for each `step` seconds (whole hours, counted from the epoch), and the failed attempts."""
        span = (USAGE.c.hour - USAGE.c.hour % step).label("hour")
        count = func.sum(FAILURES.c.count)
        blames = select(FAILURES.c.blame, count).where(FAILURES.c.hour > since - HOUR).group_by(FAILURES.c.blame)

        def read(connection: Connection) -> UsageOver:
            return UsageOver(
                sorted(_totals(connection, since, span, _MOST_SPANS), key=lambda row: row.hour),
                _totals(connection, since, USAGE.c.caller, most),
                _totals(connection, since, USAGE.c.model, most),
                [(blame, int(n)) for blame, n in connection.execute(blames.order_by(count.desc(), FAILURES.c.blame))],
            )

        return self._database.run(read)

    def failures(self, since: float) -> list[HourlyFailures]:
        """Return the counts of failed attempts of all hours that end after `since`, oldest first."""
        query = select(*FAILURES.c).where(FAILURES.c.hour > since - HOUR)
        query = query.order_by(FAILURES.c.hour, FAILURES.c.model, FAILURES.c.blame)
        return self._database.run(lambda connection: [HourlyFailures(*row) for row in connection.execute(query)])

    # Removing

    def clear(self, caller: str | None = None, *, usage: bool = False) -> int:
        """Remove the log's rows of `caller`, or all; with `usage` the hourly sums too. Returns how many of the log."""

        def remove(connection: Connection) -> int:
            _alone(connection)
            if usage:
                connection.execute(delete(USAGE).where(*_of(USAGE, caller)))
                if caller is None:
                    connection.execute(delete(FAILURES))
            return int(connection.execute(delete(REQUEST_LOG).where(*_of(REQUEST_LOG, caller))).rowcount)

        return self._database.run(remove, write=True)

    def trim(self, *, newest: int, ended_after: float, hours_after: float) -> None:
        """Keep the `newest` rows of the log that ended after `ended_after`, and the hours that begin after
        `hours_after`.
        """
        log = REQUEST_LOG.c
        oldest_kept = select(log.ended_at).order_by(log.ended_at.desc()).offset(newest).limit(1).scalar_subquery()

        def remove(connection: Connection) -> None:
            _alone(connection)
            connection.execute(delete(REQUEST_LOG).where(or_(log.ended_at <= ended_after, log.ended_at <= oldest_kept)))
            for table in (USAGE, FAILURES):
                connection.execute(delete(table).where(table.c.hour < hours_after))

        self._database.run(remove, write=True)


def _alone(connection: Connection) -> None:
    """Wait until nobody else writes the ledger, and keep others from it until the transaction ends. They may read.

    A DELETE locks rows in any order. Without this, one in PostgreSQL and a write that adds to the same rows, or another
    DELETE, could each wait for a row of the other. The tables come in the order in which `record` writes them. SQLite
    has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        names = ", ".join(table.name for table in (REQUEST_LOG, USAGE, FAILURES))
        connection.exec_driver_sql(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")


def _insert_into_log(connection: Connection) -> str:
    """Return the INSERT as the driver takes it: for a row each of a thousand requests, SQLAlchemy's own way from values
    to parameters costs as much as the database does.
    """
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    names, marks = ", ".join(REQUEST_LOG.c.keys()), ", ".join([mark] * len(REQUEST_LOG.c))
    return f"INSERT INTO {REQUEST_LOG.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"


def _callers(connection: Connection, hour: int) -> set[str]:
    return set(connection.scalars(select(USAGE.c.caller).where(USAGE.c.hour == hour).distinct()))


def _of(table: Table, caller: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if caller is None else (table.c.caller == caller,)


def _usage_values(row: HourlyUsage) -> dict[str, object]:
    values: dict[str, object] = {"hour": row.hour, "caller": row.caller, "model": row.model}
    values |= {name: getattr(row, name) for name in _SUMS}
    return values | dict(zip(_FIRST_TOKEN, row.first_token, strict=True))


def _usage_row(row: Row[Any]) -> HourlyUsage:
    found = row._mapping
    named = {name: found[name] for name in ("hour", "caller", "model", *_SUMS)}
    return HourlyUsage(**named, first_token=tuple(found[name] for name in _FIRST_TOKEN))


def _totals(
    connection: Connection,
    since: float,
    by: ColumnElement[Any] | None = None,
    most: int = 1,
    *,
    of: str | None = None,
) -> list[HourlyUsage]:
    """Return one row for each value of `by`, at most `most` of them; without `by` one row, of zeros if nothing was.

    `of` is a caller, None for all.
    """
    names = (*_SUMS, *_FIRST_TOKEN)
    query = select(*(func.sum(USAGE.c[name]).label(name) for name in names))
    query = query.where(USAGE.c.hour > since - HOUR, *_of(USAGE, of))
    if by is not None:
        query = query.add_columns(by).group_by(by).order_by(func.sum(USAGE.c.requests).desc(), by).limit(most)
    found = []
    for row in connection.execute(query).mappings():
        # PostgreSQL's sum of big integers is a Decimal; of no rows it is NULL.
        values: dict[str, Any] = {name: int(row[name] or 0) for name in names}
        key = {name: row.get(name, "") for name in ("caller", "model")}
        first_token = [values.pop(name) for name in _FIRST_TOKEN]
        found.append(HourlyUsage(row.get("hour", 0), **key, **values, first_token=first_token))
    return found


def _add(connection: Connection, table: Table, values: list[dict[str, object]]) -> None:
    """Insert the rows, or add their numbers to the rows that are there.

    The rows come in the order of their keys: two processes that write the same rows must lock them in the same order.
    """
    if not values:
        return
    insert = upsert(connection, table)
    keys = list(table.primary_key)
    sums = {column.name: column + insert.excluded[column.name] for column in table.c if not column.primary_key}
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=sums), values)
