"""Works out for how long a failure is remembered, and whom it keeps out. Pure: no clock, no database.

The rules are those of docs/contract.md, "Failures".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ollama_proxy.config import Settings
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.storage.failure_table import FailureRow, LimitRow, Row

DAY = 86_400.0

#: A failing model's cooldown grows with each counted failure, up to so many.
MOST_COUNTED = 5

#: Seconds without a failure that end the count.
QUIET_SECONDS = DAY

#: Seconds that the clocks of machines which share a database may differ. What was written by a clock that was further
#: ahead is not believed.
CLOCKS_DIFFER = 3_600.0

#: Seconds that nothing is sent after an account or key error, or after a 429 that says nothing about itself.
ACCOUNT_PAUSE = 60.0
UNKNOWN_LIMIT_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Cooldown:
    """How long a failure is remembered: `base` seconds, times the count if `multiply`, at least until `until`."""

    base: float
    multiply: bool = False
    until: float | None = None


def cooldown_for(verdict: Verdict, settings: Settings, *, now: float) -> Cooldown | None:
    """Return the cooldown of the model that `verdict` blames, None if it blames no model."""
    named = None if verdict.retry_at is None else min(verdict.retry_at, now + DAY)
    match verdict.blame:
        case Blame.MODEL_RATE_LIMIT | Blame.STEALTH_LIMIT:
            return Cooldown(settings.ratelimit_cooldown_minutes * 60, until=named)
        case Blame.MODEL_FAILING:
            return Cooldown(settings.failure_cooldown_minutes * 60, multiply=True, until=named)
        case Blame.MODEL_GONE | Blame.PRIVACY:
            return Cooldown(DAY)
        case _:
            return None


def limit_for(verdict: Verdict, *, now: float) -> LimitRow | None:
    """Return the limit of the account that `verdict` tells of, None if it tells of none.

    Scope "free" closes the free models, "stealth" the stealth ones among them, "account" everything.
    """
    match verdict.blame:
        case Blame.ACCOUNT_LIMIT:
            scope, pause = "free", ACCOUNT_PAUSE
        case Blame.STEALTH_LIMIT:
            scope, pause = "stealth", ACCOUNT_PAUSE
        case Blame.UNKNOWN_LIMIT:
            scope, pause = "account", UNKNOWN_LIMIT_PAUSE
        case Blame.ACCOUNT:
            scope, pause = "account", ACCOUNT_PAUSE
        case _:
            return None
    until = now + pause if verdict.retry_at is None else min(verdict.retry_at, now + DAY)
    return LimitRow(scope, until, verdict.reason, verdict.message, updated_at=now, status=verdict.status)


def merged(old: FailureRow | None, new: FailureRow, cooldown: Cooldown, *, began_at: float) -> FailureRow:
    """Return what is remembered of a model after one more failure, of an attempt that began at `began_at`.

    `old` is what was remembered before, `new` has the failure's time, blame, reason and record; its count and deadline
    are worked out here. Only failures with `cooldown.multiply` are counted, and of those only the ones whose attempt
    began after the failure before: fifty that fail together are one. A quiet day ends the count. The later deadline
    wins, with the blame, reason and record that set it.
    """
    now = new.failed_at
    old = None if old is None else believed(old, now)
    if old is None or now - old.failed_at > QUIET_SECONDS:
        count, failed_at = int(cooldown.multiply), now
    else:
        newer = old.failed_at < began_at
        count = old.count + (cooldown.multiply and (newer or old.count == 0))
        failed_at = max(old.failed_at, now) if newer else old.failed_at
    factor = min(count, MOST_COUNTED) if cooldown.multiply else 1
    until = min(max(now + cooldown.base * factor, cooldown.until or 0.0), now + DAY)
    if old is not None and old.until > until:
        return replace(old, count=count, failed_at=failed_at)
    return replace(new, count=count, failed_at=failed_at, until=until)


def merged_limit(old: LimitRow | None, new: LimitRow) -> LimitRow:
    """Return what is remembered of a scope after a limit was met: the later deadline, with its reason."""
    now = new.updated_at
    old = None if old is None else believed(old, now)
    if old is not None and old.until > new.until:
        return replace(old, updated_at=max(old.updated_at, now))
    return new


def believed(row: Row, now: float) -> Row | None:
    """Return `row`, which any machine may have written, as it is to be read at `now`: no more than a day ahead.

    Returns None for a row whose writer's clock was more than an hour ahead. Cut to a day it would never end, since the
    day would begin again with each reading. Forgotten, the next attempt finds out anew.
    """
    written_at = row.failed_at if isinstance(row, FailureRow) else row.updated_at
    if written_at > now + CLOCKS_DIFFER or row.until > now + DAY + CLOCKS_DIFFER:
        return None
    return row if row.until <= now + DAY else replace(row, until=now + DAY)


def all_believed(rows: Iterable[Row], now: float) -> list[Row]:
    """Return the rows that are believed, each as it is to be read at `now`."""
    return [found for row in rows if (found := believed(row, now)) is not None]
