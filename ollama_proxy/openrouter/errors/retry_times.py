"""When upstream wants to be asked again: Retry-After, rate limit resets, and how to say so in words.

Times are UTC epoch seconds; the clock comes in as `now`. Nothing upstream says is believed blindly: a time that has
long passed is ignored and nothing reaches further than 24 hours (docs/contract.md, "Failures").
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ollama_proxy.openrouter.errors.error_body import ErrorBody

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
CLOCK_SKEW = 600.0
UNKNOWN_LIMIT_SECONDS = 30.0

_MILLISECONDS_FROM = 1e11  # in seconds that is the year 5138
_RETRY_IN_TEXT = re.compile(
    r"(?:retrydelay\W{1,8}|(?:try again|retry|wait)(?: after| in| for)? )(\d{1,9}(?:\.\d{1,9})?) ?(ms|s|m|h)", re.I
)
_UNITS = {"ms": 0.001, "s": 1.0, "m": MINUTE, "h": HOUR}


def header(headers: object, name: str) -> str:
    """The value of header `name` in any spelling of its case; "" if `headers` has none."""
    if isinstance(headers, Mapping):
        for key, value in headers.items():
            if isinstance(key, str) and key.lower() == name and isinstance(value, str | int | float):
                return str(value).strip()
    return ""


def retry_at(headers: Mapping[str, str], body: ErrorBody, now: float) -> float | None:
    """The time upstream names for a new try: the first readable of the HTTP header, the body's fields and its text."""
    echoed = body.metadata.get("headers")
    hints = (
        header(headers, "retry-after"),
        body.metadata.get("retry_after_seconds"),
        body.metadata.get("retry_after"),
        header(echoed, "retry-after"),
        body.availability.get("retry_after"),
        body.availability.get("retry_after_seconds"),
    )
    for hint in hints:
        when = parse_retry_after(hint, now)
        if when is not None:
            return when
    said = _RETRY_IN_TEXT.search(body.words)
    return min(now + float(said.group(1)) * _UNITS[said.group(2).lower()], now + DAY) if said else None


def parse_retry_after(value: object, now: float) -> float | None:
    """Retry-After (RFC 9110, 10.2.3) as epoch seconds: a delay (fractions allowed) or a date; None if unusable.

    A delay of 0 is unusable: who refuses a request does not mean that it would pass at once.
    """
    seconds = _number(value)
    if seconds is not None:
        return now + min(seconds, DAY) if seconds > 0 else None
    when = _date(value)
    return min(when, now + DAY) if when is not None and when > now else None


def reset_at(headers: Mapping[str, str], body: ErrorBody, now: float) -> float | None:
    """X-RateLimit-Reset as epoch seconds, from the body's copy of the headers or the HTTP headers; None if unusable."""
    for source in (body.metadata.get("headers"), body.metadata, headers):
        when = parse_reset(header(source, "x-ratelimit-reset"), now)
        if when is not None:
            return when
    return None


def parse_reset(value: object, now: float) -> float | None:
    """An absolute reset time in seconds, milliseconds or as a date. Long past: None.

    Just past means that the two clocks differ, and at midnight the next guess would be a whole day off: so it is soon.
    """
    when = _number(value)
    if when is None:
        when = _date(value)
    while when is not None and when > _MILLISECONDS_FROM:
        when /= 1000
    if when is None or when < now - CLOCK_SKEW:
        return None
    return min(when, now + DAY) if when > now else now + UNKNOWN_LIMIT_SECONDS


def period_of(label: str) -> tuple[str, float]:
    """The period that the name of a limit speaks of, as a word and in seconds; a day if it names none."""
    for word, seconds in (("minute", MINUTE), ("hour", HOUR)):
        if word[:3] in label:
            return word, seconds
    return "day", DAY


def window_end(period: float, now: float) -> float:
    """The end of the clock's current minute, hour or UTC day."""
    return (now // period + 1) * period


def account_reset(period: float, headers: Mapping[str, str], body: ErrorBody, now: float) -> float:
    """When a free limit of `period` seconds lifts: as upstream says if believable, else at the end of the window."""
    for when in (reset_at(headers, body, now), retry_at(headers, body, now)):
        if when is not None and (period >= DAY or when <= now + max(period, HOUR)):
            return when
    return window_end(period, now)


def in_words(seconds: float) -> str:
    """A waiting time as a person says it: "42 s", "12 min", "3 h 12 min"; rounded up."""
    whole = max(1, math.ceil(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = math.ceil(whole / 60)
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def clock_time(when: float) -> str:
    """`when` as "14:05 UTC", or "14:05:30 UTC" off the full minute."""
    try:
        moment = datetime.fromtimestamp(math.ceil(when), UTC)
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
    return moment.strftime("%H:%M UTC" if moment.second == 0 else "%H:%M:%S UTC")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _date(value: object) -> float | None:
    if not isinstance(value, str) or not value or len(value) > 64:
        return None
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError, OSError):
            continue
    return None
