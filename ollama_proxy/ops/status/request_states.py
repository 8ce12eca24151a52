"""The parts of a report that come from the ledger: the newest requests, those under way, the last day's usage."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from ollama_proxy.errors import Forbidden, ProxyError
from ollama_proxy.ledger.record import RequestRecord
from ollama_proxy.money import in_dollars
from ollama_proxy.ops.moments import moment
from ollama_proxy.ops.status.failure_states import model_named
from ollama_proxy.ops.status.views import View
from ollama_proxy.storage.in_flight_table import InFlight
from ollama_proxy.storage.ledger_table import FIRST_TOKEN_BOUNDS, HourlyUsage, UsageTotals

DAY: Final = 86_400.0
#: How many requests the report has; a page of the log has as many as are asked for, but not more than the second.
NEWEST, MOST_OF_LOG = 10, 500
#: How many a page of the log has if nobody says.
PAGE = 50
#: How many callers and models the sums name, those with the most requests.
MOST_NAMED = 20

_SUMS = ("requests", "whole", "failed", "broken", "left", "refused", "attempts", "free_attempts")


class NoSuchRequest(ProxyError):
    """No request of that id is in the log."""

    status = 404


def newest_requests(view: View) -> list[dict[str, Any]]:
    """The last requests that ended, the newest first."""
    found: list[dict[str, Any]] = log_page(view, NEWEST)["requests"]
    return found


def log_page(view: View, limit: int, *, model: str | None = None, **which: Any) -> dict[str, Any]:
    """A page of the log, of at least one request; `which` are those of `Ledger.newest`.

    `model` is an id or a listed name, of a model that answered or was asked for. `next` is the next page's `before`,
    None for no more. `keeps_log` is False if REQUEST_LOG_DAYS is 0: then there are sums only.
    """
    kept = view.runtime.ledger.has_log
    if not view.has_tables:
        return {"requests": [], "next": None, "keeps_log": kept}
    if view.only is not None:
        if which.get("caller") not in (None, view.only):
            raise Forbidden("forbidden: this key sees its own requests only")
        which["caller"] = view.only
    records = view.runtime.ledger.newest(limit, model=_names(view, model), **which)
    more = records[-1].ended_at if len(records) == limit else None
    return {"requests": [request_state(record) for record in records], "next": more, "keeps_log": kept}


def _names(view: View, name: str | None) -> Collection[str]:
    """Under which names the model may be in the log: its id, where it answered; its listed name, where it was asked."""
    if name is None:
        return ()
    model = model_named(view.catalog, name) if view.catalog is not None else None
    return {name} if model is None else {name, model.id, model.name}


def one_request(view: View, beginning: str) -> dict[str, Any]:
    """The newest request whose id begins so. Raises NoSuchRequest."""
    record = view.runtime.ledger.find(beginning, caller=view.only) if view.has_tables else None
    if record is None:
        raise NoSuchRequest(f"no request in the log has the id {beginning[:40]!r}")
    return {"request": request_state(record)}


def request_state(record: RequestRecord) -> dict[str, Any]:
    """What is told of a request that has ended. Times are seconds, `cost` is dollars; see `RequestRecord`."""
    return {
        "id": record.id,
        "ended_at": moment(record.ended_at, precise=True),
        "caller": record.caller,
        "api": record.api,
        "route": record.route,
        "asked": record.asked,
        "model": record.model,
        "chain": [{"model": one.model, "reason": one.reason, "seconds": one.seconds} for one in record.chain],
        "first_token_seconds": record.first_token_seconds,
        "seconds": round(record.seconds, 3),
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "cost": None if record.cost is None else in_dollars(record.cost),
        "status": record.status,
        "outcome": record.outcome.value,
        "streamed": record.streamed,
        "error": record.error,
    }


def in_flight(view: View) -> list[dict[str, Any]] | None:
    """What is under way in all processes, the longest first; None if no server tells.

    The others tell it only while somebody looks: within some seconds after this.
    """
    if not view.is_live:
        return None
    view.runtime.quota.looked()
    return [_flying(one) for one in view.runtime.ledger.in_flight() if view.only in (None, one.caller)]


def _flying(one: InFlight) -> dict[str, Any]:
    return {
        "id": one.id,
        "began_at": moment(one.began_at, precise=True),
        "caller": one.caller,
        "api": one.api,
        "route": one.route,
        "asked": one.asked,
        "model": one.model,
        "attempts": one.attempts,
        "streamed": one.streamed,
    }


def usage_of_day(view: View) -> dict[str, Any]:
    """What was used in the hours of the last 24 h."""
    since = view.now - DAY
    nothing = UsageTotals(HourlyUsage(0, "", ""), (), ())
    ledger = view.runtime.ledger
    used = ledger.usage_totals(since, MOST_NAMED, caller=view.only) if view.has_tables else nothing
    return {
        "since": moment(since),
        **sums(used.all),
        "callers": [{"caller": row.caller, **sums(row)} for row in used.callers],
        "models": [{"model": row.model, **sums(row)} for row in used.models],
    }


def sums(row: HourlyUsage) -> dict[str, Any]:
    """What is told of sums. `failed_share` is the part (0 to 1) that failed as clients see it, the broken ones too."""
    bad = row.failed + row.broken
    return {
        **{name: getattr(row, name) for name in _SUMS},
        "failed_share": round(bad / row.requests, 4) if row.requests else 0.0,
        "tokens_in": row.tokens_in,
        "tokens_out": row.tokens_out,
        "cost": in_dollars(row.microusd),
        "first_token": {"p50": quantile(row.first_token, 0.5), "p95": quantile(row.first_token, 0.95)},
    }


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The time (seconds) within which `share` of the first tokens came, estimated from counts by FIRST_TOKEN_BOUNDS.

    Inside a column the times are taken to be spread evenly; of those above the last bound no more is known than that.
    None without any.
    """
    wanted, below, lower = share * sum(counts), 0, 0.0
    if not wanted:
        return None
    for count, upper in zip(counts, FIRST_TOKEN_BOUNDS, strict=False):
        if count and below + count >= wanted:
            return round(lower + (upper - lower) * (wanted - below) / count, 3)
        below, lower = below + count, upper
    return lower
