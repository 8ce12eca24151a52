"""Texts to embed, cut to a model's window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.bodies.embedding_inputs import MOST_CUTS, cut, fitting
from ollama_proxy.errors import BadRequest, PromptTooLong


@given(st.text(max_size=60), st.sampled_from([0, *range(2, 13)]))
def test_a_text_is_cut_to_the_window_at_a_whole_character(text: str, window: int) -> None:
    (made,) = fitting([text], window, truncate=True)
    assert text.startswith(made)
    if window == 0 or len(text.encode()) <= window * 4:
        assert made == text
    else:
        assert 0 < len(made.encode()) <= window * 3


def test_without_leave_to_cut_a_long_text_is_refused() -> None:
    assert fitting(["abcd"], 1, truncate=False) == ["abcd"]
    with pytest.raises(BadRequest, match="the input length exceeds the context length"):
        fitting(["a", "abcde"], 1, truncate=False)


def refused(tokens: int, maximum: int, *, estimated: bool = False) -> PromptTooLong:
    return PromptTooLong(tokens, maximum, said="x", estimated=estimated)


def test_the_one_that_is_too_long_is_cut_by_the_ratio_and_the_others_are_not() -> None:
    dense, prose = "0123456789" * 100, "a word " * 200
    made = cut([prose, dense, "short"], refused(1000, 500), last=False)
    assert made is not None
    assert made[0] == prose, "longer in bytes, but not in tokens"
    assert len(made[1]) == pytest.approx(500, rel=0.06)
    assert dense.startswith(made[1])
    assert made[2] == "short"


@pytest.mark.parametrize(("last", "estimated"), [(True, False), (False, True)])
def test_the_last_cut_fits_for_certain(last: bool, estimated: bool) -> None:
    made = cut(["\u6f22" * 900, [7] * 900, {"content": []}], refused(2000, 90, estimated=estimated), last=last)
    assert made is not None
    assert 80 < len(made[0].encode()) <= 90
    assert len(made[1]) == 85
    assert made[2] == {"content": []}


def test_what_cannot_be_cut_is_left() -> None:
    assert cut([{"content": []}], refused(10, 5), last=False) is None
    assert cut([], refused(10, 5), last=True) is None
    assert cut(["x"], refused(10, 5), last=True) is None


ALPHABETS = {
    "digits": ("0123456789", lambda text: len(text)),
    "chinese": ("\u6f22\u5b57\u304b\u306a", lambda text: 2 * len(text)),
    "code": ("if (x[1]) { y(); }", lambda text: len(text) // 2),
    "prose": ("the quick brown fox ", lambda text: len(text) // 4),
}


@pytest.mark.parametrize("name", ALPHABETS)
def test_a_few_tries_are_enough_for_any_text(name: str) -> None:
    alphabet, tokens = ALPHABETS[name]
    count: Callable[[str], int] = tokens
    inputs: list[Any] = [alphabet * 500, "a word"]
    for tries in range(MOST_CUTS + 1):
        used = count(inputs[0])
        if used <= 512:
            break
        made = cut(inputs, refused(used, 512), last=tries == MOST_CUTS - 1)
        assert made is not None
        inputs = made
    assert 400 < count(inputs[0]) <= 512
