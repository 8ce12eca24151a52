"""What was used in a day, a week or a month: over time, by model, by caller, and what failed.

See docs/contract.md, "Report".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ollama_proxy.errors import BadRequest
from ollama_proxy.ledger.usage import added_up
from ollama_proxy.ops.moments import moment
from ollama_proxy.ops.status.request_states import MOST_NAMED, sums
from ollama_proxy.ops.status.views import View
from ollama_proxy.storage.ledger_table import HOUR, HourlyUsage, UsageOver


class Span(NamedTuple):
    """How far back to look: so many steps of so many seconds; the last one is under way. Steps begin in UTC."""

    words: str
    steps: int
    seconds: int


#: The spans that can be asked for, by name.
SPANS: Final[Mapping[str, Span]] = {
    "24h": Span("24 hours", 24, HOUR),
    "7d": Span("7 days", 28, 6 * HOUR),
    "30d": Span("30 days", 30, 24 * HOUR),
}
DEFAULT_SPAN: Final = "24h"

_NOTHING = UsageOver((), (), (), ())


def usage_over(view: View, name: str) -> dict[str, Any]:
    """What was used in the span of that name (SPANS). Raises BadRequest for another one, StorageUnavailable.

    The sums of all, then `steps`: the sums of each step, oldest first, those without requests too; `models` and
    `callers` with the most requests; `blames`: how many attempts failed, by what was to blame, the most first.
    """
    span = SPANS.get(name)
    if span is None:
        raise BadRequest(f"there is no span {name[:20]!r}: {', '.join(SPANS)}")
    last = int(view.now // span.seconds) * span.seconds
    since = last - (span.steps - 1) * span.seconds
    used = view.runtime.ledger.usage_over(since, span.seconds, MOST_NAMED) if view.has_tables else _NOTHING
    by_time = {row.hour: row for row in used.spans}
    begins = range(since, last + 1, span.seconds)
    return {
        "span": name,
        "since": moment(since),
        "step_seconds": span.seconds,
        **sums(added_up(used.spans)),
        "steps": [{"at": moment(at), **sums(by_time.get(at) or HourlyUsage(at, "", ""))} for at in begins],
        "models": [{"model": row.model, **sums(row)} for row in used.models],
        "callers": [{"caller": row.caller, **sums(row)} for row in used.callers],
        "blames": [{"blame": blame, "attempts": count} for blame, count in used.blames],
    }
