"""Conversations: how they are told apart, and how many are remembered."""

from __future__ import annotations

import pytest

from ollama_proxy.fallback.conversations import (
    MOST_CHARACTERS,
    MOST_TEXTS,
    Conversations,
    opening_of,
    usable_session,
)

HELLO = opening_of(["You are kind.", "Hello"], continues=False)


def test_the_latest_ones_are_remembered() -> None:
    known = Conversations(30, "secret", most=3)
    found = [known.of(opening_of([str(number)], continues=False), "me", "x") for number in range(4)]
    for at, conversation in enumerate(found[:3]):
        known.answered(conversation, "a/a:free", at)
    known.answered(found[0], "b/b:free", 10)
    known.answered(found[3], "c/c:free", 11)
    assert [known.model(one, 12) for one in found] == ["b/b:free", None, "a/a:free", "c/c:free"]
    assert len(known) == 3


def test_the_session_is_the_same_after_a_restart_and_says_nothing() -> None:
    session = Conversations(30, "secret").of(HELLO, "me", "x").session
    assert Conversations(30, "secret").of(HELLO, "me", "another name").session == session
    assert len({session, Conversations(30, "other").of(HELLO, "me", "x").session}) == 2
    assert len({session, Conversations(30, "secret").of(HELLO, "you", "x").session}) == 2
    assert len(session) == 32
    assert usable_session(session)


def test_openings_differ_where_texts_do() -> None:
    openings = [["a", "b"], ["ab"], ["a"], ["b", "a"], ["", "ab"], [], ["\ud800"]]
    assert len({opening_of(texts, continues=False).digest for texts in openings}) == len(openings)


def test_a_huge_opening_costs_little_and_is_told_apart_by_its_length() -> None:
    long = "x" * MOST_CHARACTERS
    assert opening_of([long + "a"], continues=False) == opening_of([long + "b"], continues=False)
    assert opening_of([long + "a"], continues=False) != opening_of([long + "ab"], continues=False)
    many = (str(number) for number in range(10**9))
    opening_of(many, continues=False)
    assert next(many) == str(MOST_TEXTS)


@pytest.mark.parametrize(
    ("value", "usable"),
    [
        ("3f2a-77", True),
        ("x" * 256, True),
        ("x" * 257, False),
        ("", False),
        ("two words", False),
        ("a\r\nX-Evil: 1", False),
        ("é", False),
        (None, False),
        (7, False),
        (["x"], False),
    ],
)
def test_which_names_of_clients_go_upstream(value: object, usable: bool) -> None:
    assert usable_session(value) == (value if usable else "")
