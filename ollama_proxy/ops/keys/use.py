"""What a key has used in the UTC day and month that run, and what is left of its limits.

Of a key of the database the keys' own counts tell it, exactly; of one of PROXY_API_KEYS the ledger, some seconds late.
"""

from __future__ import annotations

from typing import Any, Final

from ollama_proxy.access.keys import Limits
from ollama_proxy.ledger.key_limits import limit_states
from ollama_proxy.ledger.key_windows import day_begin, day_end, month_begin, month_end, windows_at
from ollama_proxy.money import MICRO, in_dollars
from ollama_proxy.ops.moments import moment
from ollama_proxy.runtime import Runtime

_SUMS: Final = ("requests", "free_attempts", "tokens_in", "tokens_out")


def used_by(parts: Runtime, key_id: int, now: float) -> dict[str, Any]:
    """Return the sums of `day` and `month` of the key with that number, with when each ends.

    `now` is UTC epoch seconds. `estimated_usd` is the part of `usd` that OpenRouter has not told. Raises
    StorageUnavailable.
    """
    windows = windows_at(now)
    counts = parts.counting.used([key_id], windows)[key_id]
    ends = {"day": day_end(now), "month": month_end(now)}
    return {
        window: {
            "requests": one.requests,
            "free_attempts": one.free_requests,
            "tokens_in": one.tokens_in,
            "tokens_out": one.tokens_out,
            "usd": in_dollars(one.microusd),
            "estimated_usd": in_dollars(one.estimated),
            "resets_at": moment(ends[window]),
        }
        for window, one in counts.items()
    }


def recorded_of(parts: Runtime, name: str, now: float) -> dict[str, Any]:
    """Return the same sums for the caller of that name, as the ledger has them. Raises StorageUnavailable."""
    ends = {"day": day_end(now), "month": month_end(now)}
    begins = {"day": day_begin(now), "month": month_begin(now)}
    rows = parts.ledger.usage(begins["month"], caller=name)
    found: dict[str, Any] = {}
    for window, begin in begins.items():
        counted = [row for row in rows if row.hour >= begin]
        found[window] = {name: sum(getattr(row, name) for row in counted) for name in _SUMS}
        usd = in_dollars(sum(row.microusd for row in counted))
        found[window] |= {"usd": usd, "estimated_usd": 0.0, "resets_at": moment(ends[window])}
    return found


def left_of(parts: Runtime, key_id: int, limits: Limits, now: float) -> dict[str, Any]:
    """Return how each limit of the key stands, by the limit's name; a limit that it does not have is left out.

    `used` is settled, `reserved` what requests under way may use yet, `left` is the rest. Dollars are numbers with a
    fraction. `resets_at` is null for requests at a time. Raises StorageUnavailable.
    """
    if limits == Limits():
        return {}
    states = limit_states(limits, parts.counting.standing(key_id), now)
    found: dict[str, dict[str, Any]] = {}
    for name, state in states.items():
        unit = MICRO if name.startswith("usd") else 1
        values = {"limit": state.limit, "used": state.used, "reserved": state.reserved, "left": state.left}
        found[name] = {key: value / unit if unit > 1 else value for key, value in values.items()}
        found[name]["resets_at"] = None if state.resets is None else moment(state.resets)
    return found
