"""What a key has used, in the UTC day and month that run: from the ledger, which is some seconds behind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from ollama_proxy.ops.moments import moment
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage.ledger_table import HOUR

_SUMS: Final = ("requests", "free_attempts", "tokens_in", "tokens_out")
_MICRO: Final = 1_000_000


def used_by(parts: Runtime, name: str, now: float) -> dict[str, Any]:
    """Return the sums of `day` and `month` of the key of that name, with when each ends. `now` is UTC epoch seconds.

    Raises StorageUnavailable.
    """
    at = datetime.fromtimestamp(now, UTC)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    rows = parts.ledger.usage(month.timestamp(), caller=name)
    ends = {"day": day.timestamp() + 24 * HOUR, "month": following.timestamp()}
    found: dict[str, Any] = {}
    for window, since in (("day", day.timestamp()), ("month", month.timestamp())):
        counted = [row for row in rows if row.hour >= since]
        found[window] = {name: sum(getattr(row, name) for row in counted) for name in _SUMS}
        found[window] |= {"usd": sum(row.microusd for row in counted) / _MICRO, "resets_at": moment(ends[window])}
    return found
