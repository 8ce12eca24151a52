"""The windows in which a key's use is counted: their names, and when they end. Pure.

Days and months are UTC's. A name begins with a letter for its kind, so that names sort by kind and then by time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ollama_proxy.storage.key_usage_table import Windows

_MINUTE = 60


def windows_at(now: float) -> Windows:
    """Return the windows of the moment `now`, in UTC epoch seconds."""
    return _windows_of(int(now // _MINUTE))


@lru_cache(4)  # each request asks for those of this minute
def _windows_of(minute: int) -> Windows:
    now = minute * _MINUTE
    return Windows(day_name(now), datetime.fromtimestamp(now, UTC).strftime("m%Y-%m"), minute_name(now))


def day_name(now: float) -> str:
    """Return the name of the day of `now`, such as "d2026-11-24"."""
    return datetime.fromtimestamp(now, UTC).strftime("d%Y-%m-%d")


def minute_name(now: float) -> str:
    """Return the name of the minute of `now`, such as "t2026-11-24T14:05"."""
    return datetime.fromtimestamp(now, UTC).strftime("t%Y-%m-%dT%H:%M")


def minute_end(now: float) -> float:
    """Return when the minute of `now` ends."""
    return (now // _MINUTE + 1) * _MINUTE


def day_begin(now: float) -> float:
    """Return when the day of `now` began."""
    return _midnight(now).timestamp()


def month_begin(now: float) -> float:
    """Return when the month of `now` began."""
    return _midnight(now).replace(day=1).timestamp()


def day_end(now: float) -> float:
    """Return when the day of `now` ends: the next midnight of UTC."""
    return (_midnight(now) + timedelta(days=1)).timestamp()


def month_end(now: float) -> float:
    """Return when the month of `now` ends."""
    return (_midnight(now).replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()


def _midnight(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
