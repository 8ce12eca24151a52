"""Embedding vectors. Pure: OpenRouter's body in, lists of numbers out."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

_UNIT = 1e-6  # a vector whose length differs from 1 by less than this is passed on unchanged


class MalformedVectors(ValueError):
    """A body without the expected vectors. The message says what is wrong and repeats nothing of the body."""


def vectors_of(body: Mapping[str, Any], count: int) -> list[list[float]]:
    """Return the `count` vectors of a body of `POST /embeddings`, in the order of the inputs.

    Raises MalformedVectors if some are missing or do not consist of numbers.
    """
    data = body.get("data")
    entries = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    if all(type(entry.get("index")) is int for entry in entries):
        entries.sort(key=lambda entry: int(entry["index"]))
    found = [entry.get("embedding") for entry in entries]
    if len(found) != count or not all(map(is_vector, found)):
        raise MalformedVectors("the answer does not hold one vector for each input")
    return [vector for vector in found if isinstance(vector, list)]


def unit(vector: list[float], dimensions: int = 0) -> list[float]:
    """Return `vector` with length 1, cut to `dimensions` if it has more. A vector of zeros stays as it is."""
    if 0 < dimensions < len(vector):
        vector = vector[:dimensions]
    length = math.sqrt(sum(map(operator.mul, vector, vector)))
    if length == 0 or not math.isfinite(length) or abs(length - 1) < _UNIT:
        return vector
    return [value / length for value in vector]


def is_vector(value: object) -> bool:
    """Return True for a list of numbers that is not empty."""
    return isinstance(value, list) and bool(value) and {type(number) for number in value} <= {int, float}
