"""Texts to embed, cut to a model's window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.bodies.embedding_inputs import fitting
from ollama_proxy.errors import BadRequest


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
