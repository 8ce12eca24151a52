"""What is left of the account: the arithmetic. Pure: counts and times in, a Quota out.

OpenRouter's own count of the day's free requests lags by a minute or more, and other programs may use the same account.
So both counts are joined. With K0 what OpenRouter said at t0, and L our own count of the day,

    used now = max(K0, L(t0)) + (L(now) - L(t0))

which is K0 and what was sent since if others use the account too, and our own count where OpenRouter's lags behind it.
A new UTC day starts at zero: what OpenRouter said yesterday counts no longer.

Our own count has the attempts with free models, the failed ones too (OpenRouter's FAQ: failed attempts count), also
those that the account's own limit refused (seen: 1060 of 1000). Not in it are those that a provider's shared pool
refused with a 429 (seen not to count), and those that never reached OpenRouter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ollama_proxy.ledger.key_check import KeyState
from ollama_proxy.storage.quota_table import DAY, AccountRow

#: The part of the day's free requests at whose use the log warns.
WARN_AT = 0.8
#: Seconds after midnight (UTC) in which OpenRouter may still tell the count of the day before: its counts lag.
STILL_YESTERDAY = 300.0


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of the account, as well as it is known now. Times are UTC epoch seconds, money is dollars.

    `free_used` are the free requests of this UTC day, `free_limit` and `free_left` are None if OpenRouter has not said
    how many there are; at `resets_at` the next day begins. `counted_at` is when OpenRouter last said so, None if never.
    `minute_used` are the free attempts in this minute of the clock, `minute_limit` is FREE_REQUESTS_PER_MINUTE, None
    without a limit. The rest is what `GET /key` says; a None there means unknown, or for the credits: no limit.
    """

    free_used: int = 0
    free_limit: int | None = None
    free_left: int | None = None
    resets_at: float = 0.0
    counted_at: float | None = None
    minute_used: int = 0
    minute_limit: int | None = None
    is_free_tier: bool | None = None
    credits_limit: float | None = None
    credits_left: float | None = None
    credits_reset: str | None = None
    usage: float | None = None
    usage_daily: float | None = None
    usage_weekly: float | None = None
    usage_monthly: float | None = None
    expires_at: str | None = None
    key_state: KeyState = KeyState.UNKNOWN
    key_state_at: float | None = None


def day_of(now: float) -> int:
    """Return the UTC epoch second at which the day of `now` began."""
    return int(now // DAY) * DAY


def free_used(row: AccountRow, sent: int, now: float) -> int:
    """Return how many free requests of the day of `now` are used; `sent` is our own count of that day, until now."""
    if row.free_used is None or day_of(row.counted_at) != day_of(now):
        return sent
    return max(row.free_used, row.sent_then) + max(sent - row.sent_then, 0)


def may_be_yesterdays(row: AccountRow, used: int | None, asked_at: float) -> bool:
    """Return True if `used`, which OpenRouter told when asked at `asked_at`, may be the count of the day before.

    It may be soon after midnight, if it is not lower than what OpenRouter said last on that day (`row`).
    """
    day = day_of(asked_at)
    if not used or row.free_used is None or asked_at - day >= STILL_YESTERDAY:
        return False
    return day_of(row.counted_at) == day - DAY and used >= row.free_used


def free_left(row: AccountRow, sent: int, now: float, *, limited: bool) -> int | None:
    """Return how many free requests are left of this day, None if nobody knows. `limited`: the day's limit is met."""
    if limited:
        return 0
    return None if row.free_limit is None else max(row.free_limit - free_used(row, sent, now), 0)


def joined(
    row: AccountRow,
    document: Mapping[str, Any],
    *,
    sent: int,
    minute: int,
    minute_limit: int,
    limited: bool,
    now: float,
) -> Quota:
    """Join what is known into a Quota. `document` is the parsed `row.document`, `minute` the count of this minute."""
    used = free_used(row, sent, now)
    return Quota(
        free_used=used if not limited or row.free_limit is None else max(used, row.free_limit),
        free_limit=row.free_limit,
        free_left=free_left(row, sent, now, limited=limited),
        resets_at=float(day_of(now) + DAY),
        counted_at=row.counted_at or None,
        minute_used=minute,
        minute_limit=minute_limit or None,
        **document,
        key_state=key_state_of(row),
        key_state_at=row.key_state_at or None,
    )


_STATES = frozenset(state.value for state in KeyState)


def key_state_of(row: AccountRow) -> KeyState:
    """Return the stored state of the key. A newer version may have stored one that is not known here."""
    return KeyState(row.key_state) if row.key_state in _STATES else KeyState.UNKNOWN


#: The members of GET /key that are kept, and the fields of a Quota that they become; money first. The others say who
#: the account is, and are not.
_MONEY = {
    "limit": "credits_limit",
    "limit_remaining": "credits_left",
    "usage": "usage",
    "usage_daily": "usage_daily",
    "usage_weekly": "usage_weekly",
    "usage_monthly": "usage_monthly",
}
_WORDS = {"limit_reset": "credits_reset", "expires_at": "expires_at"}
_LONGEST_WORD = 40


def document_of(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of the `data` of GET /key, as fields of a Quota; what has a wrong type is left out."""
    found: dict[str, Any] = {}
    for name, as_name in _MONEY.items():
        value = limits.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
            found[as_name] = float(value)
    for name, as_name in _WORDS.items():
        word = limits.get(name)
        if isinstance(word, str) and len(word) <= _LONGEST_WORD and word.isascii() and word.isprintable():
            found[as_name] = word
    if isinstance(tier := limits.get("is_free_tier"), bool):
        found["is_free_tier"] = tier
    return found


def free_counts(limits: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return how many of the day's free requests are used, and how many there are, as GET /key says; None: it does not.

    Source: `free_model_daily_requests` in the answer of GET /key (https://openrouter.ai/docs/api-reference/limits).
    """
    counts = limits.get("free_model_daily_requests")
    if not isinstance(counts, dict):
        return None, None
    return _count(counts.get("used")), _count(counts.get("limit"))


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None
