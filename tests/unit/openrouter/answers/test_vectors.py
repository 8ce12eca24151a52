"""Vectors: order, length, dimensions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.openrouter.answers.vectors import MalformedVectors, unit, vectors_of


def body(*vectors: Any, indexes: tuple[int, ...] | None = None) -> dict[str, Any]:
    numbers = indexes or range(len(vectors))
    return {"data": [{"index": n, "embedding": vector} for n, vector in zip(numbers, vectors, strict=True)]}


def test_the_index_decides_the_order() -> None:
    assert vectors_of(body([1.0], [2.0], [3.0], indexes=(2, 0, 1)), 3) == [[2.0], [3.0], [1.0]]


def test_without_an_index_the_order_is_as_sent() -> None:
    assert vectors_of({"data": [{"embedding": [2.0]}, {"embedding": [1]}]}, 2) == [[2.0], [1]]


MALFORMED = {
    "no data": {},
    "data no list": {"data": {}},
    "too few": body([1.0]),
    "too many": body([1.0], [1.0], [1.0]),
    "an empty vector": body([1.0], []),
    "a null in one": body([1.0], [None]),
    "a bool in one": body([1.0], [True]),
    "base64": body([1.0], "AACAPw=="),
}


@pytest.mark.parametrize("found", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_one_vector_for_each_text_is_malformed(found: dict[str, Any]) -> None:
    with pytest.raises(MalformedVectors):
        vectors_of(found, 2)


vectors = st.lists(st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6), min_size=1, max_size=9)


@given(vectors, st.integers(-1, 12))
def test_a_unit_vector_has_length_one_and_the_direction_it_had(vector: list[float], dimensions: int) -> None:
    cut = vector[:dimensions] if 0 < dimensions < len(vector) else vector
    made = unit(vector, dimensions)
    assert len(made) == len(cut)
    length = math.hypot(*cut)
    if length:
        assert made == pytest.approx([value / length for value in cut], abs=1e-5)
    else:
        assert made == cut


def test_a_vector_of_length_one_is_passed_on_untouched() -> None:
    vector = [0.6, 0.8]
    assert unit(vector) is vector
