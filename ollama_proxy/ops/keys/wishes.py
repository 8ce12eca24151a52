"""Reads what somebody asks of a key: JSON values or words of the command line in, columns of the table out. Pure.

The fields are those of docs/contract.md, "Keys". Every refusal is one line of words, and quotes nothing that it was
given: people paste keys into the wrong field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ollama_proxy.catalog.filters import parse_lines
from ollama_proxy.errors import BadRequest
from ollama_proxy.money import micro_allowed

#: The most lines of models, and the most characters of one: each is matched with every model.
MOST_LINES: Final = 200
LONGEST_LINE: Final = 200
#: The most characters of a note.
LONGEST_NOTE: Final = 300

_MOST_COUNT: Final = 1_000_000_000
_MOST_DOLLARS: Final = 1_000_000


def columns_of(wishes: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the columns that `wishes` ask for; a limit that is None is none. Raises BadRequest.

    `now` is UTC epoch seconds: a key cannot be made to expire before it.
    """
    if unknown := sorted(wishes.keys() - FIELDS.keys()):
        raise BadRequest(f"there is no field {unknown[0][:20]!r} of a key: {', '.join(FIELDS)}")
    found: dict[str, Any] = {}
    for name, value in wishes.items():
        column, read = FIELDS[name]
        try:
            found[column] = read(value)
        except ValueError as error:
            raise BadRequest(f"{name}: {error}") from None
    if (expires := found.get("expires")) is not None and expires <= now:
        raise BadRequest("expires: this has passed already")
    return found


def _switch(value: Any) -> int:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return int(value)


def _count(least: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST_COUNT:
            raise ValueError(f"a whole number, {least} or more, or null for no limit")
        return value

    return read


def _dollars(value: Any) -> int | None:
    if value is None:
        return None
    words = f"dollars, 0 to {_MOST_DOLLARS}, or null for no limit"
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 30:
        raise ValueError(words)
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(words) from None
    if not amount.is_finite() or not 0 <= amount <= _MOST_DOLLARS:
        raise ValueError(words)
    return micro_allowed(amount)


def _moment(value: Any) -> float | None:
    """A date is meant to its end, in UTC; a time without a zone is UTC's."""
    if value is None:
        return None
    words = "a date such as 2027-01-31, a time such as 2027-01-31T18:00Z, or null for never"
    try:
        if not isinstance(value, str) or len(value) > 40:
            raise ValueError
        if len(value) == len("2027-01-31"):
            day = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
            return (day + timedelta(days=1)).timestamp()
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(words) from None


def _models(value: Any) -> str:
    lines: Sequence[Any] = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, Sequence) or not all(isinstance(line, str) for line in lines):
        raise ValueError("lines as in a filter file: names, `*` and `?`, `!` to leave out")
    read = [line.text for line in parse_lines("\n".join(lines[: MOST_LINES + 1]))]
    if len(read) > MOST_LINES:
        raise ValueError(f"{MOST_LINES} lines at most")
    if any(len(line) > LONGEST_LINE or "\0" in line for line in read):
        raise ValueError(f"a line has at most {LONGEST_LINE} characters")
    return "\n".join(read)


def _note(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NOTE or not value.isprintable():
        raise ValueError(f"one line of at most {LONGEST_NOTE} characters")
    return value


#: Each field: its column, and what reads its value (raises ValueError with what is allowed).
FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "models": ("models", _models),
    "free_only": ("free_only", _switch),
    "rpm": ("per_minute", _count(1)),
    "parallel": ("parallel", _count(1)),
    "free_per_day": ("free_per_day", _count(0)),
    "usd_per_day": ("microusd_per_day", _dollars),
    "usd_per_month": ("microusd_per_month", _dollars),
    "expires": ("expires", _moment),
    "disabled": ("disabled", _switch),
    "admin": ("admin", _switch),
    "metrics": ("metrics", _switch),
    "note": ("note", _note),
}
