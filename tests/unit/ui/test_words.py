"""ui.words: numbers, times and names as pages write them."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.observation import Outcome
from ollama_proxy.ui import words


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("number", None, "–"),
        ("number", 0, "0"),
        ("number", 1234567, "1\u202f234\u202f567"),
        ("short_number", None, "–"),
        ("short_number", 0, "0"),
        ("short_number", 950, "950"),
        ("short_number", 999.6, "1k"),
        ("short_number", 12_345, "12.3k"),
        ("short_number", 999_999, "1M"),
        ("short_number", 4_500_000_000, "4.5G"),
        ("seconds", None, "–"),
        ("seconds", 0, "0.00 s"),
        ("seconds", 0.0004, "1 ms"),
        ("seconds", 0.02, "20 ms"),
        ("seconds", 0.0996, "0.10 s"),
        ("seconds", 0.821, "0.82 s"),
        ("seconds", 12.34, "12.3 s"),
        ("seconds", 150, "3 min"),
        ("percent", None, "–"),
        ("percent", 0.0, "0\u202f%"),
        ("percent", 0.125, "12.5\u202f%"),
        ("percent", 1, "100\u202f%"),
        ("dollars", None, "–"),
        ("dollars", 0, "$0"),
        ("dollars", 0.00123, "$0.0012"),
        ("dollars", 1234.5, "$1,234.50"),
        ("price", None, "–"),
        ("price", 0.15, "$0.15"),
        ("price", 3, "$3"),
        ("price", 0, "$0"),
        ("span", None, "–"),
        ("span", 11_520, "3 h 12 min"),
        ("bare_name", None, "–"),
        ("bare_name", "acme/bolt:free", "bolt:free"),
        ("outcome", "whole", "answered"),
        ("outcome", "of a newer version", "of a newer version"),
        ("when", None, "–"),
        ("when", "no time", "–"),
    ],
)
def test_values_in_words(name: str, value: Any, text: str) -> None:
    assert words.FILTERS[name](value) == text


@pytest.mark.parametrize(
    ("style", "text"),
    [("time", "05:20:40 UTC"), ("short", "05:20 UTC"), ("date", "2026-11-22 05:20 UTC"), ("day", "2026-11-22")],
)
def test_a_moment_is_utc_until_a_script_makes_it_local(style: str, text: str) -> None:
    moment = "2026-11-22T05:20:40Z"
    assert words.when(moment, style) == f'<time datetime="{moment}" data-time="{style}">{text}</time>'


def test_a_count_and_what_it_counts() -> None:
    assert [words.plural(n, "failure") for n in (0, 1, 2)] == ["0 failures", "1 failure", "2 failures"]


def test_each_outcome_has_words() -> None:
    assert set(words.OUTCOMES) == {one.value for one in Outcome}


def test_how_long_ago() -> None:
    assert words.since("1970-01-01T00:01:40Z", 130.0) == 30.0
    assert words.since("1970-01-01T00:01:40Z", 90.0) == 0.0
    assert words.since(None, 90.0) is None
