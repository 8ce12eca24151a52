"""What a key has used, in the UTC day and month that run, and what is left of its limits.

Keys of the database are counted on their own (`ledger/key_counting.py`); a key of PROXY_API_KEYS has no limits, and
what it used is in the ledger, some seconds late.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from ollama_proxy.access.keys import Key
from ollama_proxy.ledger.key_windows import day_end, month_end, windows_at
from ollama_proxy.ops.moments import moment
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage.key_usage_table import Counts

_MICRO: Final = 1_000_000


def used_by(parts: Runtime, key: Key, now: float) -> dict[str, Any]:
    """Return what `key` used in `day` and `month`, with when each ends. `now` is UTC epoch seconds.

    Raises StorageUnavailable.
    """
    ends = {"day": day_end(now), "month": month_end(now)}
    if key.id is None:
        counts = _in_ledger(parts, key.name, now)
    else:
        counts = parts.counting.used([key.id], windows_at(now))[key.id]
    return {name: _told(counts[name], end) for name, end in ends.items()}


def _told(counts: Counts, end: float) -> dict[str, Any]:
    return {
        "requests": counts.requests,
        "free_requests": counts.free_requests,
        "tokens_in": counts.tokens_in,
        "tokens_out": counts.tokens_out,
        "usd": counts.microusd / _MICRO,
        "resets_at": moment(end),
    }


def _in_ledger(parts: Runtime, name: str, now: float) -> dict[str, Counts]:
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    rows = parts.ledger.usage(month.timestamp(), caller=name)
    found = {}
    for window, since in (("day", day.timestamp()), ("month", month.timestamp())):
        counted = [row for row in rows if row.hour >= since]
        found[window] = Counts(
            sum(row.requests for row in counted),
            sum(row.free_attempts for row in counted),
            sum(row.tokens_in for row in counted),
            sum(row.tokens_out for row in counted),
            sum(row.microusd for row in counted),
        )
    return found


def left_of(parts: Runtime, key: Key) -> dict[str, Any]:
    """Return what is left of each of the key's limits, by the limit's field: without those under way; 0 at least.

    None: there is no such limit. Raises StorageUnavailable.
    """
    names = ("rpm", "parallel", "free_per_day", "usd_per_day", "usd_per_month")
    if key.id is None:
        return dict.fromkeys(names)
    limits, now = key.limits, parts.counting.standing(key.id)
    pairs = (
        (limits.per_minute, now.minute, 1),
        (limits.parallel, now.under_way, 1),
        (limits.free_per_day, now.free + now.reserved_free, 1),
        (limits.microusd_per_day, now.day + now.reserved_day, _MICRO),
        (limits.microusd_per_month, now.month + now.reserved_month, _MICRO),
    )
    found: dict[str, Any] = {}
    for name, (limit, used, unit) in zip(names, pairs, strict=True):
        left = None if limit is None else max(limit - used, 0)
        found[name] = left if left is None or unit == 1 else left / unit
    return found
