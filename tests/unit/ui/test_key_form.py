"""The form of a key: what it shows, what is wished for when it comes back, and how a refusal is told."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.errors import BadRequest
from ollama_proxy.ops.keys.wishes import FIELDS, columns_of
from ollama_proxy.ui.key_form import (
    EMPTY,
    LABELS,
    form_of,
    in_words,
    merged,
    overtaken,
    sent,
    shown_before,
    wishes,
)

NOW = 1_800_000_000.0

PLAIN: dict[str, Any] = {
    "models": [], "free_only": False, "rpm": None, "parallel": None, "free_per_day": None, "usd_per_day": None,
    "usd_per_month": None, "expires": None, "admin": False, "metrics": False, "note": "",
}  # fmt: skip


def test_the_form_has_every_field_of_a_key_but_the_switch_beside_it() -> None:
    assert set(LABELS) == set(FIELDS) - {"disabled"}


def test_a_plain_key_is_the_empty_form() -> None:
    assert form_of(PLAIN) == EMPTY


@pytest.mark.parametrize(
    ("told", "name", "text"),
    [
        ({"models": ["*a*", "!b"]}, "models", "*a*\n!b"),
        ({"free_per_day": 0}, "free_per_day", "0"),
        ({"usd_per_day": 0.0}, "usd_per_day", "0"),
        ({"usd_per_day": 2.5}, "usd_per_day", "2.50"),
        ({"usd_per_month": 0.000001}, "usd_per_month", "0.000001"),
        ({"expires": "2027-02-01T00:00:00Z"}, "expires", "2027-01-31"),
        ({"expires": "2027-01-31T18:00:00Z"}, "expires", "2027-01-31T18:00:00Z"),
        ({"admin": True}, "admin", "1"),
        ({"note": "<b>"}, "note", "<b>"),
    ],
)
def test_what_the_form_shows_of_a_key(told: dict[str, Any], name: str, text: str) -> None:
    form = form_of(PLAIN | told)
    assert form == {**EMPTY, name: text}
    assert wishes(sent(form), form) == {}, "sent back as it is, it changes nothing"
    columns_of(wishes(form), NOW)  # and a key can be made of it


@pytest.mark.parametrize(
    ("fields", "wished"),
    [
        ({}, {}),
        ({"models": " *coder*\nx "}, {"models": "*coder*\nx"}),
        ({"rpm": "60", "parallel": "", "free_per_day": "0"}, {"rpm": 60, "free_per_day": 0}),
        ({"usd_per_day": "0.10"}, {"usd_per_day": "0.10"}),
        ({"expires": "2027-01-31"}, {"expires": "2027-01-31"}),
        ({"admin": "1", "metrics": "0"}, {"admin": True, "metrics": False}),
        ({"disabled": "1", "name": "x", "key": "y"}, {}),
        ({"rpm": "six"}, {"rpm": "six"}),
        ({"rpm": "9" * 30}, {"rpm": "9" * 30}),
    ],
)
def test_what_is_wished_for_a_new_key(fields: dict[str, str], wished: dict[str, Any]) -> None:
    assert wishes(sent(fields)) == wished


def test_a_change_is_what_differs() -> None:
    shown = form_of(PLAIN | {"rpm": 5, "usd_per_day": 2.0, "admin": True, "expires": "2027-01-31T18:00:00Z"})
    back = sent({**shown, "rpm": "", "admin": "0", "note": "new"})
    assert wishes(back, shown) == {"rpm": None, "admin": False, "note": "new"}


def test_what_was_not_sent_at_all_stays_but_for_switches() -> None:
    shown = form_of(PLAIN | {"rpm": 5, "usd_per_day": 2.0, "models": ["a"], "admin": True})
    assert wishes(sent({"note": "x"}, shown), shown) == {"note": "x", "admin": False}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"rpm": "0"}, "rpm", "a whole number, 1 or more, or nothing for no limit"),
        ({"parallel": "1.5"}, "parallel", "a whole number, 1 or more, or nothing for no limit"),
        ({"usd_per_day": "lots"}, "usd_per_day", "dollars, 0 to 1000000, or nothing for no limit"),
        (
            {"expires": "soon"},
            "expires",
            "a date such as 2027-01-31, a time such as 2027-01-31T18:00Z, or nothing for never",
        ),
        ({"expires": "2020-01-01"}, "expires", "this has passed already"),
        ({"models": "*" * 201}, "models", "a line has at most 200 characters"),
        ({"note": "a\x07"}, "note", "one line of at most 300 characters"),
    ],
)
def test_a_refusal_is_told_at_its_field(fields: dict[str, str], field: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        columns_of(wishes(sent(fields)), NOW)
    assert in_words(refused.value.message) == (field, words)


@pytest.mark.parametrize("text", ["there is no key of that name", "name: the new key needs one", "a: b"])
def test_another_refusal_is_about_no_field(text: str) -> None:
    assert in_words(text) == ("", text)


def hidden(form: dict[str, str]) -> dict[str, str]:
    """The fields with which the form says what it has shown."""
    return {f"was_{name}": text for name, text in form.items()}


@pytest.mark.parametrize(
    ("typed", "since", "wished", "labels", "shown_again"),
    [
        # nobody else was there
        ({"note": "x"}, {}, {"note": "x"}, [], {"note": "x"}),
        # another field was changed: it stays, a right that was taken and a limit that was lowered above all
        ({"note": "x"}, {"admin": "", "usd_per_day": "1"}, {"note": "x"}, [], {"note": "x", "usd_per_day": "1"}),
        # the same field, otherwise
        ({"usd_per_day": "20"}, {"usd_per_day": "1"}, {"usd_per_day": "20"}, ["Dollars a day"], {"usd_per_day": "20"}),
        # the same field, the same way
        ({"admin": ""}, {"admin": ""}, {"admin": False}, [], {}),
        ({}, {"admin": "", "rpm": "5"}, {}, [], {"rpm": "5"}),
    ],
)
def test_a_form_that_was_open_while_somebody_else_changed_the_key(
    typed: dict[str, str], since: dict[str, str], wished: dict[str, Any], labels: list[str], shown_again: dict[str, str]
) -> None:
    opened = form_of(PLAIN | {"admin": True, "usd_per_day": 10.0})
    now = opened | since
    fields = hidden(opened) | opened | typed
    before = shown_before(fields, now)
    assert before == opened
    form = sent(fields, before)
    assert wishes(form, before) == wished
    assert overtaken(form, before, now) == labels
    assert merged(form, before, now) == now | typed | shown_again


def test_a_form_that_does_not_say_what_it_has_shown_takes_no_right_away() -> None:
    now = form_of(PLAIN | {"admin": True, "rpm": 5})
    before = shown_before({"note": "x"}, now)
    assert wishes(sent({"note": "x"}, before), before) == {"note": "x"}
