"""Times in words, for error texts and the command line."""

from __future__ import annotations


def duration_words(seconds: float) -> str:
    """`seconds` as a person says it: "40 s", "12 min", "3 h 5 min"."""
    whole = max(int(seconds + 0.999), 1)
    if whole < 100:
        return f"{whole} s"
    minutes = (whole + 59) // 60
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
