"""Decides whether a request of a key is let through, and says why not. Pure: limits, standing and the time in.

The texts hold nothing but the key's own limits (docs/contract.md, "Keys: limits").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ollama_proxy.access.keys import Limits
from ollama_proxy.errors import KeyLimitReached
from ollama_proxy.ledger.key_windows import day_end, minute_end, month_end
from ollama_proxy.money import MICRO, in_dollars
from ollama_proxy.openrouter.errors.retry_times import DAY, clock_time, in_words
from ollama_proxy.storage.key_usage_table import Standing

#: Headers that tell what is left of the key's limits.
LEFT_USD = "X-Key-Remaining-Usd"
LEFT_FREE = "X-Key-Remaining-Free"

#: Seconds, for Retry-After where requests under way are in the way: nobody knows when they end.
SHORTLY = 5

#: Above two days a wait is told in days.
_IN_DAYS = 2 * DAY


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request is refused. `settling` may end it within moments: only what is reserved is in the way."""

    error: KeyLimitReached
    settling: bool


def refusal(limits: Limits, standing: Standing, *, microusd: int, free: bool, now: float) -> Refused | None:
    """Return why a request may not begin that costs `microusd` at most, or is `free`; None if it may.

    The limit that ends last is told, so that nobody is asked to come back in vain.
    """
    found = list(_reached(limits, standing, microusd=microusd, free=free, now=now))
    return found[-1] if found else None


def _reached(limits: Limits, standing: Standing, *, microusd: int, free: bool, now: float) -> Iterator[Refused]:
    """The limits that are in the way, in the order of their windows' length."""
    if limits.parallel is not None and standing.under_way >= limits.parallel:
        said = f"this key's limit of {_many(limits.parallel, 'request')} at a time is reached"
        yield Refused(KeyLimitReached(f"{said}: wait until one has ended", retry_after=1), settling=True)
    if limits.per_minute is not None and standing.minute >= limits.per_minute:
        said = f"this key's limit of {_many(limits.per_minute, 'request')} a minute is reached"
        yield _until(said, minute_end(now), now)
    if free and limits.free_per_day is not None:
        said = f"this key's limit of {_many(limits.free_per_day, 'free request')} a day is reached"
        if standing.free >= limits.free_per_day:
            yield _until(said, day_end(now), now)
        elif standing.free + standing.reserved_free >= limits.free_per_day:
            yield _held(said)
    if microusd > 0:
        money = (
            ("day", limits.microusd_per_day, standing.day, standing.reserved_day, day_end(now)),
            ("month", limits.microusd_per_month, standing.month, standing.reserved_month, month_end(now)),
        )
        for window, cap, used, reserved, end in money:
            if cap is not None and used + reserved + microusd > cap:
                yield _too_dear(window, cap, used=used, microusd=microusd, end=end, now=now)


def _too_dear(window: str, cap: int, *, used: int, microusd: int, end: float, now: float) -> Refused:
    limit = f"this key's limit of ${dollars(cap)} a {window}"
    if microusd > cap:
        said = f"this request may cost up to ${dollars(microusd, up=True)}, which is more than {limit}"
        return Refused(KeyLimitReached(f"{said}: ask for fewer tokens", ever=True), settling=False)
    if used >= cap:
        return _until(f"{limit} is reached", end, now)
    if microusd <= cap - used:
        return _held(f"{limit} is reached")
    left = f"${dollars(cap - used)} is left of {limit}, and this request may cost up to ${dollars(microusd, up=True)}"
    return _until(f"{left}: ask for fewer tokens, or wait", end, now)


def _until(said: str, end: float, now: float) -> Refused:
    left = end - now
    wait = f"{math.ceil(left / DAY)} days" if left > _IN_DAYS else in_words(left)
    moment = datetime.fromtimestamp(end, UTC)
    day = f"on {moment.day} {moment:%B} " if left > DAY else ""
    text = f"{said}; it resets {day}at {clock_time(end)}, in {wait}"
    return Refused(KeyLimitReached(text, retry_after=max(math.ceil(left), 1)), settling=False)


def _held(said: str) -> Refused:
    text = f"{said} by requests that are still under way: try again when they have ended"
    return Refused(KeyLimitReached(text, retry_after=SHORTLY), settling=True)


@dataclass(frozen=True, slots=True)
class LimitState:
    """How one limit stands: money in millionths of a dollar. `resets` is UTC epoch seconds, None for one at a time."""

    limit: int
    used: int
    reserved: int
    resets: float | None

    @property
    def left(self) -> int:
        """What may be used yet; never below nothing."""
        return max(self.limit - self.used - self.reserved, 0)


def limit_states(limits: Limits, standing: Standing, now: float) -> dict[str, LimitState]:
    """Return how each limit that there is stands at `now`, by the name that it has in the API of keys."""
    given = {
        "rpm": (limits.per_minute, standing.minute, 0, minute_end(now)),
        "parallel": (limits.parallel, standing.under_way, 0, None),
        "free_per_day": (limits.free_per_day, standing.free, standing.reserved_free, day_end(now)),
        "usd_per_day": (limits.microusd_per_day, standing.day, standing.reserved_day, day_end(now)),
        "usd_per_month": (limits.microusd_per_month, standing.month, standing.reserved_month, month_end(now)),
    }
    return {
        name: LimitState(limit, used, reserved, resets)
        for name, (limit, used, reserved, resets) in given.items()
        if limit is not None
    }


def left_headers(limits: Limits, standing: Standing, *, microusd: int = 0, free: bool = False) -> dict[str, str]:
    """Return the headers that tell what is left, once the request itself has reserved `microusd` or is `free`."""
    headers = {}
    left = []
    if limits.microusd_per_day is not None:
        left.append(limits.microusd_per_day - standing.day - standing.reserved_day - microusd)
    if limits.microusd_per_month is not None:
        left.append(limits.microusd_per_month - standing.month - standing.reserved_month - microusd)
    if left:
        headers[LEFT_USD] = f"{in_dollars(max(min(left), 0)):.6f}"
    if limits.free_per_day is not None:
        headers[LEFT_FREE] = str(max(limits.free_per_day - standing.free - standing.reserved_free - int(free), 0))
    return headers


def dollars(microusd: int, *, up: bool = False) -> str:
    """Return an amount as people write it: "2.00", and with more places if it is below a cent or not whole cents."""
    if up and microusd > MICRO:
        microusd = math.ceil(microusd / 10_000) * 10_000
    text = f"{in_dollars(microusd):.6f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"{whole}.{part.ljust(2, '0')}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
