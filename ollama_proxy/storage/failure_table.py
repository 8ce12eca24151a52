"""Which models cool down, and which limits of the account hold: the statements on those two tables.

Every change is one atomic statement, so processes and greenlets need no lock of their own. Knows no clock, no HTTP and
no classifier: times come in as UTC epoch seconds. The rules are those of docs/contract.md, "Failures".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, delete, literal, or_, select

from ollama_proxy.storage.database import Database, upsert
from ollama_proxy.storage.tables import ACCOUNT_LIMITS, MODEL_FAILURES

# A day without a failure ends the count.
QUIET_SECONDS: Final = 86_400.0
MOST_COUNTED: Final = 5
TEXT_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class FailureRow:
    """What is remembered of a model; times in UTC epoch seconds. It cools down while now < `until`.

    `count` is of the failures that lengthen the cooldown, `failed_at` the last failure of any kind.
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


class FailureTable:
    """The failure memory in `database`. Every method raises StorageUnavailable when the database is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        model: str,
        *,
        blame: str,
        reason: str,
        began_at: float,
        now: float,
        base_seconds: float,
        multiply: bool = False,
        until_at_least: float | None = None,
        record_digest: str | None = None,
    ) -> FailureRow:
        """File a failure of an attempt that began at `began_at`, and return what is remembered now.

        The cooldown is `base_seconds`, with `multiply` times the count (at most 5), and lasts at least until
        `until_at_least`. The later deadline wins, with the blame and reason that set it. Only failures with `multiply`
        are counted, and of those only the ones whose attempt began after the failure before: 50 parallel ones are one.
        A quiet day ends the count.
        """
        now, base_seconds = float(now), float(base_seconds)
        old = MODEL_FAILURES.c
        first = int(multiply)
        quiet = literal(now) - old.failed_at > QUIET_SECONDS
        newer = or_(quiet, old.failed_at < began_at)
        if multiply:
            count: ColumnElement[int] = case((quiet, 1), (or_(newer, old.count == 0), old.count + 1), else_=old.count)
            factor: ColumnElement[int] = case((count > MOST_COUNTED, MOST_COUNTED), else_=count)
        else:
            count, factor = case((quiet, 0), else_=old.count), literal(1)
        floor = float(until_at_least or 0)
        until = _later(literal(now) + literal(base_seconds) * factor, literal(floor))
        new = {
            "blame": blame,
            "until": max(now + base_seconds, floor),
            "reason": _storable(reason),
            "record_digest": record_digest,
        }
        keeps = old.until > until
        changed: dict[str, Any] = {name: case((keeps, old[name]), else_=literal(new[name])) for name in new}
        changed["until"] = case((keeps, old.until), else_=until)
        changed["count"] = count
        changed["failed_at"] = case((newer, _later(old.failed_at, literal(now))), else_=old.failed_at)

        def statement(connection: Any) -> FailureRow:
            insert = upsert(connection, MODEL_FAILURES).values(model=model, count=first, failed_at=now, **new)
            whole = insert.on_conflict_do_update(index_elements=["model"], set_=changed).returning(*MODEL_FAILURES.c)
            return FailureRow(*connection.execute(whole).one())

        return self._database.run(statement, write=True)

    def clear_if_older(self, model: str, began_at: float) -> bool:
        """Forget `model`'s failure because an attempt that began at `began_at`, after the failure, succeeded."""
        older = and_(MODEL_FAILURES.c.model == model, MODEL_FAILURES.c.failed_at < began_at)
        return self._delete(delete(MODEL_FAILURES).where(older)) > 0

    def clear(self, model: str | None = None) -> int:
        """Forget the failures of `model`, or of all models; how many there were."""
        statement = delete(MODEL_FAILURES)
        return self._delete(statement if model is None else statement.where(MODEL_FAILURES.c.model == model))

    def load(self) -> list[FailureRow]:
        """All that is remembered, past cooldowns too (their count still matters), by model id."""
        query = select(*MODEL_FAILURES.c).order_by(MODEL_FAILURES.c.model)
        return self._database.run(lambda connection: [FailureRow(*row) for row in connection.execute(query)])

    def prune(self, now: float) -> int:
        """Drop what means nothing any more: a cooldown that is over and a failure older than a quiet day."""
        old = MODEL_FAILURES.c
        over = and_(old.until <= now, old.failed_at < now - QUIET_SECONDS)
        return self._delete(delete(MODEL_FAILURES).where(over))

    def record_limit(self, scope: str, *, until: float, reason: str, message: str, status: int, now: float) -> LimitRow:
        """Remember that `scope` is closed until `until`; a later deadline that is known already stays as it is."""
        old = ACCOUNT_LIMITS.c
        keeps = old.until > until
        new = {"until": float(until), "reason": _storable(reason), "message": _storable(message), "status": status}
        changed: dict[str, Any] = {name: case((keeps, old[name]), else_=literal(new[name])) for name in new}
        changed["updated_at"] = _later(old.updated_at, literal(float(now)))

        def statement(connection: Any) -> LimitRow:
            insert = upsert(connection, ACCOUNT_LIMITS).values(scope=scope, updated_at=float(now), **new)
            whole = insert.on_conflict_do_update(index_elements=["scope"], set_=changed).returning(*ACCOUNT_LIMITS.c)
            return LimitRow(*connection.execute(whole).one())

        return self._database.run(statement, write=True)

    def limits(self) -> list[LimitRow]:
        """All limits, past ones too, by scope."""
        query = select(*ACCOUNT_LIMITS.c).order_by(ACCOUNT_LIMITS.c.scope)
        return self._database.run(lambda connection: [LimitRow(*row) for row in connection.execute(query)])

    def clear_limit(self, scope: str | None = None) -> int:
        """Forget the limit of `scope`, or all limits; how many there were."""
        statement = delete(ACCOUNT_LIMITS)
        return self._delete(statement if scope is None else statement.where(ACCOUNT_LIMITS.c.scope == scope))

    def _delete(self, statement: Any) -> int:
        return self._database.run(lambda connection: int(connection.execute(statement).rowcount), write=True)


def _later(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    # Both databases have a greatest(), under different names.
    return case((one > other, one), else_=other)


def _storable(text: str) -> str:
    """Upstream's words as any database takes them: no NUL, no lone surrogate, not endless."""
    return text[:TEXT_LIMIT].replace("\0", "").encode("utf-8", "replace").decode("utf-8")
