"""Aliases: which names a pattern is for, and in which order they are looked at."""

from __future__ import annotations

import time

import pytest

from ollama_proxy.catalog.aliases import Alias, alias_for, aliases_of


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("gpt-4o-mini", "gpt-4o-mini", True),
        ("gpt-4o-mini", "GPT-4o-mini:latest", True),
        ("gpt-4o-mini:latest", " gpt-4o-mini ", True),
        ("gpt-4o-mini", "gpt-4o-mini:other", False),
        ("gpt-4o-mini", "gpt-4o-min", False),
        ("claude-haiku-*", "claude-haiku-4-5-20251001", True),
        ("claude-haiku-*", "claude-haiku-", True),
        ("claude-haiku-*", "anthropic/claude-haiku-4-5", False),
        ("Claude-*", "claude-x:y", True),
        ("*claude-*", "anthropic/claude-haiku-4-5", True),
        ("*", "anything/at:all", True),
        ("*-mini", "gpt-4o-mini", True),
        ("*-mini", "gpt-4o-mini:latest", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*bc*c", "abc", False),
        ("a**c", "abc", True),
        ("gpt-4.*", "gpt-4o", False),
    ],
)
def test_a_pattern_is_for_whole_names(pattern: str, name: str, fits: bool) -> None:
    assert Alias(pattern, "free").fits(name) is fits


def test_the_first_that_fits_counts() -> None:
    aliases = aliases_of([("claude-haiku-*", "free:fast"), ("claude-*", "free:coding")])
    meant = {name: alias_for(name, aliases) for name in ("claude-haiku-4-5", "claude-opus-5", "gpt-4o")}
    assert [found and found.target for found in meant.values()] == ["free:fast", "free:coding", None]


def test_many_stars_cost_no_time() -> None:
    alias = Alias("a*" * 40 + "b", "free")
    began = time.process_time()
    assert not alias.fits("a" * 512)
    assert time.process_time() - began < 0.1
