"""Three tables and their statements: what each key used in each window, what is reserved, which costs are awaited.

A window is a row; nothing is ever reset. Knows no clock and no limit: who decides whether a request may reserve
something is passed in. Money is in millionths of a dollar, times are UTC epoch seconds. The names of windows are made
elsewhere: "d2026-11-24", "m2026-11", "t2026-11-24T14:05" (docs/contract.md, "Keys: limits").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import add
from typing import Any, Final, NamedTuple, TypeVar, cast

from sqlalchemy import (
    BigInteger,
    Connection,
    Double,
    Index,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, upsert
from ollama_proxy.storage.tables import Base
from ollama_proxy.storage.write_behind import Write

Refusal = TypeVar("Refusal")

#: The first half of the locks that PostgreSQL gives for a key; any number that nobody else in the database uses.
_LOCK: Final = 0x6B6579
#: The second half is a signed integer of 32 bits.
_MOST_LOCKS: Final = 2**31

#: The most ids in one statement. SQLite takes some ten thousand values.
_MOST_IDS: Final = 500


class KeyUse(Base):
    """What the key `key_id` used in the window `period`. `estimated` is the part of `microusd` that is an estimate."""

    __tablename__ = "key_usage"

    key_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    period: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    free_requests: Mapped[int] = mapped_column(BigInteger)
    tokens_in: Mapped[int] = mapped_column(BigInteger)
    tokens_out: Mapped[int] = mapped_column(BigInteger)
    microusd: Mapped[int] = mapped_column(BigInteger)
    estimated: Mapped[int] = mapped_column(BigInteger)


class Reservation(Base):
    """What one request under way may use at most. It counts until `until`: its process may be dead.

    `period` is the day in which the request began, `free` 1 for a free request. A row that has never counted says that
    the request `id`, for which nothing could be reserved, has been settled.
    """

    __tablename__ = "reservations"
    __table_args__ = (Index("reservations_by_key", "key_id", "until"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[int] = mapped_column(BigInteger)
    period: Mapped[str]
    microusd: Mapped[int] = mapped_column(BigInteger)
    free: Mapped[int]
    until: Mapped[float]


class AwaitedCost(Base):
    """A request whose cost was estimated as `microusd`, and is to be asked for at `due`.

    `looked` says how often it was asked for, `generation` is OpenRouter's id of the answer.
    """

    __tablename__ = "awaited_costs"
    __table_args__ = (Index("awaited_costs_by_due", "due"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[int] = mapped_column(BigInteger)
    period: Mapped[str]
    generation: Mapped[str]
    microusd: Mapped[int] = mapped_column(BigInteger)
    due: Mapped[float]
    looked: Mapped[int]


USE = cast(Table, KeyUse.__table__)
RESERVATIONS = cast(Table, Reservation.__table__)
AWAITED = cast(Table, AwaitedCost.__table__)


@dataclass(frozen=True, slots=True)
class Windows:
    """The names of the windows in which a request counts."""

    day: str
    month: str
    minute: str


@dataclass(slots=True)
class Standing:
    """What a key has used in three windows, and what its requests under way have reserved.

    `minute` counts requests, `day` and `month` are money, `free` free requests of the day. `under_way` counts the
    requests that have reserved something, `reserved_*` what they may use of the windows of the same name.
    """

    minute: int = 0
    day: int = 0
    month: int = 0
    free: int = 0
    under_way: int = 0
    reserved_day: int = 0
    reserved_month: int = 0
    reserved_free: int = 0


class Counts(NamedTuple):
    """What is added to the windows of a key, or what they hold."""

    requests: int = 0
    free_requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    microusd: int = 0
    estimated: int = 0


class Settlement(NamedTuple):
    """What a request used that ended at `at`. `id` is that of its reservation, "" for a key without limits.

    `reserved` says whether there is a reservation. If `generation` is not "", a part of the cost is an estimate, and is
    asked for at `due`; it waits for that as `awaited_id`, which no other request has.
    """

    id: str
    key_id: int
    windows: Windows
    reserved: bool
    counts: Counts
    at: float
    generation: str = ""
    due: float = 0.0
    awaited_id: str = ""


@dataclass(frozen=True, slots=True)
class Awaited:
    """A cost that is asked for later: see `AwaitedCost`."""

    id: str
    generation: str
    looked: int


_KEY, _NOW = bindparam("key", type_=BigInteger), bindparam("now", type_=Double)
#: One statement, so that what a settlement moves from a reservation to a window is seen in one of them.
_STANDING = union_all(
    select(literal(0).label("is_reserved"), USE.c.period, USE.c.requests, USE.c.free_requests, USE.c.microusd).where(
        USE.c.key_id == _KEY, USE.c.period.in_([bindparam("day"), bindparam("month"), bindparam("minute")])
    ),
    select(
        literal(1),
        RESERVATIONS.c.period,
        func.count(),
        func.sum(RESERVATIONS.c.free),
        func.sum(RESERVATIONS.c.microusd),
    )
    .where(RESERVATIONS.c.key_id == _KEY, RESERVATIONS.c.until > _NOW)
    .group_by(RESERVATIONS.c.period),
)
# Made once: SQLAlchemy takes longer to put a statement together than to run it.
_RESERVE = insert(RESERVATIONS)
_END = delete(RESERVATIONS).where(RESERVATIONS.c.id.in_(bindparam("ids", expanding=True))).returning(RESERVATIONS.c.id)
_COUNTED: Final = Counts._fields
#: The statement that adds to windows, by the dialect that it is written in.
_ADDING: dict[str, Any] = {}
_NOTHING: Final = Counts()


class KeyUsageTable:
    """The tables in `database`. What reads or writes at once raises StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(
        self,
        key_id: int,
        request_id: str,
        windows: Windows,
        *,
        microusd: int,
        free: bool,
        now: float,
        until: float,
        counts_minute: bool,
        decide: Callable[[Standing], Refusal | None],
    ) -> tuple[Standing, Refusal | None]:
        """Reserve for one request what `decide`, asked with how the key stands, does not refuse. One transaction.

        No other request of the key is decided about meanwhile, in any process. With `counts_minute` the request is
        counted in its minute. Returns how the key stood before, and the refusal. `decide` is called in a native thread
        in SQLite: it uses no lock and nothing of gevent.
        """
        row = {"id": request_id, "key_id": key_id, "period": windows.day, "microusd": microusd, "free": int(free)}

        def statements(connection: Connection) -> tuple[Standing, Refusal | None]:
            _lock(connection, key_id)
            standing = _standing(connection, key_id, windows, now)
            refusal = decide(standing)
            if refusal is None:
                connection.execute(_RESERVE, {**row, "until": until})
                if counts_minute:
                    _add(connection, {(key_id, windows.minute): Counts(requests=1)})
            return standing, refusal

        return self._database.run(statements, write=True)

    def standing(self, key_id: int, windows: Windows, now: float) -> Standing:
        """Return how a key stands at `now`."""
        return self._database.run(lambda connection: _standing(connection, key_id, windows, now))

    def counts(self, key_ids: Sequence[int], periods: Sequence[str]) -> dict[tuple[int, str], Counts]:
        """Return what these keys used in these windows; a window in which a key used nothing is left out."""
        c = USE.c
        query = select(c.key_id, c.period, *[c[name] for name in _COUNTED]).where(
            c.key_id.in_(list(key_ids)), c.period.in_(list(periods))
        )
        rows = self._database.run(lambda connection: connection.execute(query).all())
        return {(row[0], row[1]): Counts(*row[2:]) for row in rows}

    def counts_of_all(self, periods: Sequence[str]) -> dict[tuple[int, str], Counts]:
        """Return what all keys used in these windows, and in the last day in which each was used: one statement."""
        c = USE.c
        is_day = c.period.between("d", "e")
        last = select(c.key_id, func.max(c.period)).where(is_day).group_by(c.key_id)
        query = select(c.key_id, c.period, *[c[name] for name in _COUNTED]).where(
            or_(c.period.in_(list(periods)), tuple_(c.key_id, c.period).in_(last))
        )
        rows = self._database.run(lambda connection: connection.execute(query).all())
        return {(row[0], row[1]): Counts(*row[2:]) for row in rows}

    def settle(self, settlements: Sequence[Settlement]) -> Write:
        """Remove reservations, and count what was used in their place. Made twice, it counts only once.

        Only keys without limits (`id` is "") are counted again: nothing is decided by their numbers.
        """

        def write(connection: Connection) -> None:
            first = _not_settled_yet(connection, settlements)
            added: defaultdict[tuple[int, str], Sequence[int]] = defaultdict(lambda: _NOTHING)
            awaited = []
            for one in settlements:
                if one.id and one.id not in first:
                    continue
                for period in (one.windows.day, one.windows.month):
                    sums = added[one.key_id, period]
                    added[one.key_id, period] = tuple(map(add, sums, one.counts))
                if one.generation:
                    awaited.append(_awaited(one))
            _add(connection, {which: Counts(*sums) for which, sums in added.items()})
            if awaited:
                # Of a key without limits they may be there already: this write was made before, and nobody heard of it.
                connection.execute(upsert(connection, AWAITED).on_conflict_do_nothing(), awaited)

        return write

    def renew(self, ids: Iterable[str], until: float) -> None:
        """Let these reservations count until `until`: their requests are still under way."""

        def statements(connection: Connection) -> None:
            for some in _parts(list(ids)):
                connection.execute(update(RESERVATIONS).where(RESERVATIONS.c.id.in_(some)).values(until=until))

        self._database.run(statements, write=True)

    def awaited(self, now: float, most: int) -> tuple[list[Awaited], float | None]:
        """Return the costs that are to be asked for by `now`, `most` at most, and when the next one is due."""
        c = AWAITED.c
        due = select(c.id, c.generation, c.looked).where(c.due <= now).order_by(c.due).limit(most)
        later = select(func.min(c.due)).where(c.due > now)

        def read(connection: Connection) -> tuple[list[Awaited], float | None]:
            return [Awaited(*row) for row in connection.execute(due)], connection.execute(later).scalar()

        return self._database.run(read)

    def await_longer(self, request_id: str, due: float) -> None:
        """Ask for this cost once more, at `due`."""
        c = AWAITED.c
        again = update(AWAITED).where(c.id == request_id).values(due=due, looked=c.looked + 1)
        self._database.run(lambda connection: connection.execute(again), write=True)

    def correct(self, request_id: str, microusd: int | None) -> None:
        """Put the true cost in the place of the estimate; None: it stays an estimate. Only the first call counts."""
        c = AWAITED.c

        def statements(connection: Connection) -> None:
            gone = delete(AWAITED).where(c.id == request_id).returning(c.key_id, c.period, c.microusd)
            row = connection.execute(gone).one_or_none()
            if row is not None and microusd is not None:
                key_id, day, estimate = row
                change = Counts(microusd=microusd - estimate, estimated=-estimate)
                _add(connection, {(key_id, day): change, (key_id, month_of(day)): change})

        self._database.run(statements, write=True)

    def forget(self, *, ended_by: float, minutes_before: str, days_before: str) -> None:
        """Remove reservations that had ended by then, minutes and days that are older."""
        c = USE.c
        old = (
            delete(RESERVATIONS).where(RESERVATIONS.c.until <= ended_by),
            delete(USE).where(c.period >= "t", c.period < minutes_before),
            delete(USE).where(c.period >= "d", c.period < days_before),
        )
        self._database.run(lambda connection: [connection.execute(one) for one in old], write=True)


def forget_key(connection: Connection, key_id: int) -> None:
    """Remove all that is known of what a key has used. Ids are never given twice."""
    for table in (RESERVATIONS, AWAITED, USE):
        connection.execute(delete(table).where(table.c.key_id == key_id))


def month_of(day: str) -> str:
    """Return the name of the month in which the day of that name is."""
    return "m" + day[1:8]


def _lock(connection: Connection, key_id: int) -> None:
    """Let no other transaction decide about the key until this one has ended. A transaction that writes to SQLite is
    alone anyhow.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK, key_id % _MOST_LOCKS)))


def _standing(connection: Connection, key_id: int, windows: Windows, now: float) -> Standing:
    names = {"day": windows.day, "month": windows.month, "minute": windows.minute}
    found = Standing()
    for is_reserved, period, requests, free, microusd in connection.execute(
        _STANDING, {"key": key_id, "now": now, **names}
    ):
        if is_reserved:
            found.under_way += requests
            if period == windows.day:
                found.reserved_day, found.reserved_free = int(microusd), int(free)
            if month_of(period) == windows.month:
                found.reserved_month += int(microusd)
        elif period == windows.day:
            found.day, found.free = microusd, free
        elif period == windows.month:
            found.month = microusd
        else:
            found.minute = requests
    return found


def _not_settled_yet(connection: Connection, settlements: Sequence[Settlement]) -> set[str]:
    """Return the ids of those that are settled only now: their reservations are removed."""
    found: set[str] = set()
    c = RESERVATIONS.c
    for some in _parts([one.id for one in settlements if one.id and one.reserved]):
        found.update(connection.execute(_END, {"ids": some}).scalars())
    for one in settlements:
        if one.id and not one.reserved:
            row = {"id": one.id, "key_id": one.key_id, "period": one.windows.day, "microusd": 0, "free": 0}
            mark = upsert(connection, RESERVATIONS).values(**row, until=one.at)
            # There may be a reservation all the same: committed when the connection broke.
            ended = {name: mark.excluded[name] for name in ("microusd", "free", "until")}
            mark = mark.on_conflict_do_update(index_elements=["id"], set_=ended, where=c.until > one.at)
            found.update(connection.execute(mark.returning(c.id)).scalars())
    return found


def _awaited(one: Settlement) -> dict[str, Any]:
    return {
        "id": one.awaited_id,
        "key_id": one.key_id,
        "period": one.windows.day,
        "generation": one.generation,
        "microusd": one.counts.estimated,
        "due": one.due,
        "looked": 0,
    }


def _add(connection: Connection, added: dict[tuple[int, str], Counts]) -> None:
    """Add to windows, in an order that is the same in all processes: so none waits for the other."""
    if not added:
        return
    rows = [{"key_id": which[0], "period": which[1], **added[which]._asdict()} for which in sorted(added)]
    dialect = connection.dialect.name
    if dialect not in _ADDING:
        new = upsert(connection, USE)
        sums = {name: USE.c[name] + new.excluded[name] for name in _COUNTED}
        _ADDING[dialect] = new.on_conflict_do_update(index_elements=["key_id", "period"], set_=sums)
    connection.execute(_ADDING[dialect], rows)


def _parts(ids: list[str]) -> Iterable[list[str]]:
    return (ids[at : at + _MOST_IDS] for at in range(0, len(ids), _MOST_IDS))
