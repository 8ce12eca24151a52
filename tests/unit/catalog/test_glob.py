"""Patterns with `*` and `?`."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.catalog.glob import Glob, Globs


@given(st.text("ab*?", max_size=10), st.text("ab\n", max_size=10))
def test_it_means_what_a_regular_expression_means(pattern: str, text: str) -> None:
    signs = {"*": ".*", "?": "."}
    expected = re.fullmatch("".join(signs.get(char, char) for char in pattern), text, re.DOTALL) is not None
    assert Glob(pattern).matches(text) is expected
    assert Globs(["c", pattern]).match(["b" * 11, text]) is (expected or Glob(pattern).matches("b" * 11))


@pytest.mark.parametrize("pattern", ["*?" * 99 + "x", "*a" * 99 + "x", "*?a" * 60 + "x", "*" * 199 + "x"])
def test_many_signs_cost_no_time(pattern: str) -> None:
    glob = Glob(pattern)
    began = time.process_time()
    assert not glob.matches("a" * 300)
    assert time.process_time() - began < 0.1
