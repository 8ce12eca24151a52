"""Writes points in time as Ollama does: RFC 3339 in UTC, up to nine digits of a second, `Z`."""

from __future__ import annotations

import time
from functools import lru_cache

NANOSECONDS = 1_000_000_000


def rfc3339(nanoseconds: int) -> str:
    """Return an epoch time in nanoseconds as text, such as `2026-11-22T01:28:24.783061846Z`.

    Zeros at the end of the fraction are removed. Every line of a stream holds a time, so the part up to the second is
    computed once a second.
    """
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    if fraction:
        return f"{_up_to_the_second(seconds)}.{fraction:09d}".rstrip("0") + "Z"
    return _up_to_the_second(seconds) + "Z"


@lru_cache(maxsize=1024)
def _up_to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
