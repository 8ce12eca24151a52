"""Two tables and their statements: what OpenRouter says of the account, and how many free attempts were sent.

Knows no arithmetic: that is in `ledger/quota.py`. Times are UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from sqlalchemy import BigInteger, Connection, Table, case, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from ollama_proxy.storage.database import Database, upsert
from ollama_proxy.storage.revisions import moved
from ollama_proxy.storage.tables import Base
from ollama_proxy.storage.write_behind import Write


class Account(Base):
    """One row named "openrouter".

    `key_state` is the last thing known of the key, and since when. `counted_at` is when OpenRouter last told its counts
    (0: never), `free_used` and `free_limit` what it said of the day's free requests, `sent_then` our own count of that
    day at that moment, `document` the rest of what it said, as JSON text. `looked_at` is when somebody last looked at
    a report.
    """

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(primary_key=True)
    key_state: Mapped[str]
    key_state_at: Mapped[float]
    counted_at: Mapped[float]
    free_used: Mapped[int | None] = mapped_column(BigInteger)
    free_limit: Mapped[int | None] = mapped_column(BigInteger)
    sent_then: Mapped[int] = mapped_column(BigInteger)
    document: Mapped[str]
    looked_at: Mapped[float]


class FreeAttempts(Base):
    """How many free attempts all processes sent in the `seconds` (a day or a minute) that begin at `begins`."""

    __tablename__ = "free_attempts"

    seconds: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    begins: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(BigInteger)


ACCOUNT = cast(Table, Account.__table__)
FREE_ATTEMPTS = cast(Table, FreeAttempts.__table__)

#: The name under which `storage/revisions.py` counts the changes of both tables.
NAME: Final = "quota"

_ROW: Final = "openrouter"

DAY: Final = 86_400
MINUTE: Final = 60

#: A window in which free attempts are counted: its length in seconds, and when it begins.
Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What is stored of the account: see `Account`."""

    key_state: str = "unknown"
    key_state_at: float = 0.0
    counted_at: float = 0.0
    free_used: int | None = None
    free_limit: int | None = None
    sent_then: int = 0
    document: str = "{}"
    looked_at: float = 0.0


class QuotaTable:
    """The account's row and the counts in `database`. Reading and removing raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, windows: Iterable[Window]) -> tuple[AccountRow, dict[Window, int]]:
        """Return the account's row, and the counts of the windows that have one."""
        wanted = list(windows)
        account = select(*list(ACCOUNT.c)[1:]).where(ACCOUNT.c.name == _ROW)
        begins = [begin for _, begin in wanted]
        counts = select(*FREE_ATTEMPTS.c).where(FREE_ATTEMPTS.c.begins.in_(begins))

        def read(connection: Connection) -> tuple[AccountRow, dict[Window, int]]:
            row = connection.execute(account).one_or_none()
            found = {(seconds, begin): count for seconds, begin, count in connection.execute(counts)}
            return AccountRow() if row is None else AccountRow(*row), {w: found[w] for w in wanted if w in found}

        return self._database.run(read)

    def write(self, columns: Mapping[str, object], counts: Mapping[Window, int], *, waited_then: int = 0) -> Write:
        """Set some columns of the account's row, and add to the counts of free attempts.

        If `columns` have `sent_then`, it becomes what is stored for the day of `counted_at` before `counts` are added,
        and `waited_then`, which is what of these had been sent then: a process may not have heard of all that others
        have sent. Its own value is not looked at.

        What was learned of the key (`key_state` and `key_state_at` together) does not replace what was learned later:
        processes write some seconds after they have learned something, and in any order.
        """
        sent = [{"seconds": seconds, "begins": begins, "count": n} for (seconds, begins), n in sorted(counts.items())]

        def write(connection: Connection) -> None:
            moved(connection, NAME)
            if columns:
                found = _with_sent_then(columns, waited_then)
                insert = upsert(connection, ACCOUNT).values(name=_ROW, **(asdict(AccountRow()) | found))
                connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=_newer(found)))
            if sent:
                insert = upsert(connection, FREE_ATTEMPTS)
                added = {"count": FREE_ATTEMPTS.c.count + insert.excluded.count}
                connection.execute(insert.on_conflict_do_update(index_elements=["seconds", "begins"], set_=added), sent)

        return write

    def forget_before(self, day: int) -> None:
        """Remove the counts of windows that began before `day`."""
        self._database.run(
            lambda connection: connection.execute(delete(FREE_ATTEMPTS).where(FREE_ATTEMPTS.c.begins < day)), write=True
        )


def _with_sent_then(columns: Mapping[str, Any], waited_then: int) -> dict[str, Any]:
    found = dict(columns)
    if "sent_then" in found:
        day = int(found["counted_at"] // DAY) * DAY
        which = (FREE_ATTEMPTS.c.seconds == DAY, FREE_ATTEMPTS.c.begins == day)
        stored = select(FREE_ATTEMPTS.c.count).where(*which).scalar_subquery()
        found["sent_then"] = func.coalesce(stored, 0) + waited_then
    return found


def _newer(columns: Mapping[str, object]) -> dict[str, object]:
    """Return the new values, those of the key's state on condition that they are newer."""
    found = dict(columns)
    if "key_state_at" in found:
        is_newer = ACCOUNT.c.key_state_at <= found["key_state_at"]
        for name in ("key_state", "key_state_at"):
            found[name] = case((is_newer, found[name]), else_=ACCOUNT.c[name])
    return found
