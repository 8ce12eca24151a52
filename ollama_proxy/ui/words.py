"""Numbers, times and names as pages write them: the filters of the templates. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from markupsafe import Markup

from ollama_proxy.catalog.names import without_vendor
from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.moments import epoch, left

#: What stands where nothing is known.
NOTHING: Final = "–"
#: What stands where something has no end.
NEVER: Final = "never"

#: How requests end (`observation.Outcome`), in the order in which a plot stacks them.
OUTCOMES: Final = {
    "whole": "answered",
    "refused": "refused",
    "left": "client left",
    "broken": "broken off",
    "failed": "failed",
}


def number(value: float | None) -> str:
    """A number with thin spaces between thousands: "12 345"; a dash for None."""
    return NOTHING if value is None else f"{value:,.0f}".replace(",", "\u202f")


def short_number(value: float | None) -> str:
    """A large number in few characters: "950", "12.3k", "4.5M"; a dash for None."""
    if value is None:
        return NOTHING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def seconds(value: float | None) -> str:
    """A duration: "4 ms", "0.82 s", "12.3 s", from two minutes on in words; a dash for None."""
    if value is None:
        return NOTHING
    if 0 < value < 0.0995:
        return f"{max(value * 1000, 1):.0f} ms"
    if value < 1:
        return f"{value:.2f} s"
    return f"{value:.3g} s" if value < 100 else in_words(value)


def percent(share: float | None) -> str:
    """A share (0 to 1) as "12.5 %"; whole where that says as much; a dash for None."""
    if share is None:
        return NOTHING
    text = f"{share * 100:.1f}"
    return f"{text.removesuffix('.0')}\u202f%"


def dollars(value: float | None) -> str:
    """Money: "$0", "$0.0012", "$12.34"; a dash for None."""
    if value is None:
        return NOTHING
    return "$0" if not value else f"${value:.4f}" if value < 1 else f"${value:,.2f}"


def price(value: float | None) -> str:
    """Dollars for a million tokens: "$0.15"; a dash where the list says none."""
    return NOTHING if value is None else f"${value:.4f}".rstrip("0").rstrip(".")


def when(moment: str | None, style: str = "time") -> str:
    """A moment of a report as an element whose text is UTC; a script makes it the viewer's own time.

    `style`: "time" (14:05:30), "short" (14:05), "date" (with the date), "day" (the date alone).
    """
    seconds_of = epoch(moment)
    if seconds_of is None:
        return NOTHING
    form = {"time": "%H:%M:%S", "short": "%H:%M", "date": "%Y-%m-%d %H:%M", "day": "%Y-%m-%d"}[style]
    text = datetime.fromtimestamp(seconds_of, UTC).strftime(form)
    zone = "" if style == "day" else " UTC"
    return Markup('<time datetime="{}" data-time="{}">{}{}</time>').format(moment, style, text, zone)


def span(duration: float | None) -> str:
    """How long something takes or lasts, in words: "3 h 12 min"; a dash for None."""
    return NOTHING if duration is None else in_words(duration)


def since(moment: object, now: float) -> float | None:
    """The seconds from a moment of a report until `now` (UTC epoch seconds), at least 0; None for none."""
    began = epoch(moment)
    return None if began is None else max(now - began, 0.0)


def last_day(moment: str | None) -> str:
    """The day (UTC) to whose end something counts, "2027-01-31"; the moment itself if it ends within a day.

    "never" for None.
    """
    ends_at = epoch(moment)
    if ends_at is None:
        return NEVER
    ends = datetime.fromtimestamp(ends_at, UTC)
    if (ends.hour, ends.minute, ends.second, ends.microsecond) != (0, 0, 0, 0):
        return str(moment)
    return (ends - timedelta(days=1)).strftime("%Y-%m-%d")


def bare_name(model: str | None) -> str:
    """A model's id without its vendor; a dash for none."""
    return without_vendor(model) if model else NOTHING


def outcome(value: str) -> str:
    """How a request ended, in a person's words; a word that is not known here as it is."""
    return OUTCOMES.get(value, value)


def plural(count: float, noun: str) -> str:
    """The number and what it counts: "1 request", "2 requests"."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "number": number,
    "short_number": short_number,
    "seconds": seconds,
    "percent": percent,
    "dollars": dollars,
    "price": price,
    "when": when,
    "span": span,
    "since": since,
    "left": left,
    "last_day": last_day,
    "bare_name": bare_name,
    "outcome": outcome,
    "plural": plural,
}
