"""For how long a failure is remembered, and whom it keeps out. Pure arithmetic: no clock, no database.

The rules are those of docs/contract.md, "Failures".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ollama_proxy.config import Settings
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.storage.failure_table import MOST_COUNTED, QUIET_SECONDS, FailureRow, LimitRow

DAY = 86_400.0

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
    """The cooldown of the model that `verdict` blames; None where the model is not to blame."""
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
    """The limit of the account that `verdict` tells of; None if it is about something else.

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
    """What is remembered after one more failure: what the upsert in `storage.failures` makes of it, without a table.

    `new` has the failure's time, blame, reason and record; its count and deadline are worked out here.
    """
    now = new.failed_at
    if old is None or now - old.failed_at > QUIET_SECONDS:
        count, failed_at = int(cooldown.multiply), now if old is None else max(old.failed_at, now)
    else:
        newer = old.failed_at < began_at
        count = old.count + (cooldown.multiply and (newer or old.count == 0))
        failed_at = max(old.failed_at, now) if newer else old.failed_at
    factor = min(count, MOST_COUNTED) if cooldown.multiply else 1
    until = max(now + cooldown.base * factor, cooldown.until or 0.0)
    if old is not None and old.until > until:
        return replace(old, count=count, failed_at=failed_at)
    return replace(new, count=count, failed_at=failed_at, until=until)
