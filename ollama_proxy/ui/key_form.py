"""The form of a key: texts of its fields, and what somebody wishes who sends them. Pure.

A wish is made of a field that says something else than the form has shown, so that what a form cannot show to the
second, such as a time of expiry, stays as it is. A form may have been open for long: what it has shown comes back with
it, so that a field that nobody touched wishes for nothing, whatever has become of the key in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ollama_proxy.ui.words import last_day

#: The fields by their names in the API of keys, with what the form calls them.
LABELS: Final = {
    "models": "Models",
    "free_only": "Free models only",
    "rpm": "Requests a minute",
    "parallel": "Requests at a time",
    "free_per_day": "Free requests a day",
    "usd_per_day": "Dollars a day",
    "usd_per_month": "Dollars a month",
    "expires": "Last day",
    "admin": "Admin",
    "metrics": "May read /metrics",
    "note": "Note",
}
_SWITCHES: Final = ("free_only", "admin", "metrics")
_COUNTS: Final = ("rpm", "parallel", "free_per_day")
_DOLLARS: Final = ("usd_per_day", "usd_per_month")

#: The form of a key of which nothing is said yet.
EMPTY: Final[Mapping[str, str]] = dict.fromkeys(LABELS, "")


def form_of(key: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts with which the form shows a key, as `KeyManagement` tells of it. A switch is "1" or ""."""
    return {
        "models": "\n".join(key["models"]),
        **{name: "1" if key[name] else "" for name in _SWITCHES},
        **{name: "" if key[name] is None else str(key[name]) for name in _COUNTS},
        **{name: "" if key[name] is None else _amount(key[name]) for name in _DOLLARS},
        "expires": "" if key["expires"] is None else last_day(key["expires"]),
        "note": key["note"],
    }


def sent(fields: Mapping[str, str], shown: Mapping[str, str] = EMPTY) -> dict[str, str]:
    """Return the texts of the form as they were sent; one that was not sent at all is as it was `shown`.

    A switch that is off is never sent (https://html.spec.whatwg.org/#constructing-the-form-data-set).
    """
    return {
        name: fields.get(name, "") if name in _SWITCHES else fields.get(name, shown[name]).strip() for name in LABELS
    }


def wishes(form: Mapping[str, str], shown: Mapping[str, str] = EMPTY) -> dict[str, Any]:
    """Return what is wished for, as `ops/keys/wishes.py` reads it: what differs from what the form has `shown`."""
    return {name: _value(name, form[name]) for name in LABELS if form[name] != shown[name]}


def shown_before(fields: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return what the form has shown when it was opened: the fields `was_NAME` that came back with it.

    A text without such a field counts as the key is `now`, a switch as off: nothing is taken away that was not seen.
    """
    return {name: fields.get(f"was_{name}", "" if name in _SWITCHES else now[name]).strip() for name in LABELS}


def merged(form: Mapping[str, str], shown: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the form with what was typed into it, and the key as it is `now` where nothing was."""
    return {name: now[name] if form[name] == shown[name] else form[name] for name in LABELS}


def overtaken(form: Mapping[str, str], shown: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the fields, as the form calls them, that were changed here and meanwhile by somebody else otherwise."""
    return [
        label for name, label in LABELS.items() if form[name] != shown[name] != now[name] and form[name] != now[name]
    ]


def in_words(message: str) -> tuple[str, str]:
    """Return the field that a refusal is about ("" if it is about none), and its words, as a form has no null."""
    name, colon, words = message.partition(": ")
    text = (words if colon and name in LABELS else message).replace("or null for", "or nothing for")
    return (name, text) if colon and name in LABELS else ("", text)


def _value(name: str, text: str) -> Any:
    if name in _SWITCHES:
        return text == "1"
    if name in ("models", "note"):
        return text
    if not text:
        return None
    is_count = name in _COUNTS and text.isascii() and text.isdecimal() and len(text) <= 15
    return int(text) if is_count else text


def _amount(dollars: float) -> str:
    """Dollars without noughts at the end, to the millionth."""
    text = f"{dollars:.6f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"{whole}.{part.ljust(2, '0')}" if part else whole
