"""Times as reports have them: RFC 3339 in UTC, and how people read them. Pure: the clock comes in."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from ollama_proxy.openrouter.errors.retry_times import in_words

_DAY = 86_400.0


def moment(seconds: float, *, precise: bool = False) -> str:
    """UTC epoch seconds as RFC 3339 has them: "2026-11-22T05:20:40Z"; `precise`: "2026-11-22T05:20:40.123Z"."""
    unit = "milliseconds" if precise else "seconds"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=unit).replace("+00:00", "Z")


def moment_or_none(seconds: float | None) -> str | None:
    """The same, and None for None."""
    return None if seconds is None else moment(seconds)


def epoch(text: object) -> float | None:
    """What `moment` was given; None for anything that it did not write."""
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except ValueError:
        return None


def local_time(seconds: float, now: float, *, precise: bool = False) -> str:
    """UTC epoch seconds as local time: "14:05", `precise` "14:05:30"; with the date if it is half a day away."""
    form = "%H:%M:%S" if precise else "%H:%M"
    if abs(seconds - now) >= _DAY / 2:
        form = f"%Y-%m-%d {form}"
    return time.strftime(form, time.localtime(seconds))


def left(until: object, now: float) -> str:
    """How long it is until a moment of a report: "3 min 4 s"; "" for none, and for one that is over."""
    seconds = epoch(until)
    return in_words(seconds - now) if seconds is not None and seconds > now else ""
