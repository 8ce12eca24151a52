"""Vectors in the encoding that a client asked for, whatever upstream sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ollama_proxy.errors import UpstreamFailed
from ollama_proxy.openai.embeddings import encoded, inputs_of, with_inputs

NUMBERS, TEXT = [0.0, -1.0], "AAAAAAAAgL8="


def answer(vector: Any) -> bytes:
    item = {"embedding": vector, "index": 0, "unknown": 1}
    return json.dumps({"data": [item], "model": "m", "usage": {"cost": 0}}).encode()


@pytest.mark.parametrize("sent", [NUMBERS, TEXT], ids=["numbers", "base64"])
@pytest.mark.parametrize(("as_base64", "told"), [(False, NUMBERS), (True, TEXT)], ids=["as numbers", "as base64"])
def test_vectors_come_as_asked_for_and_nothing_else_changes(sent: Any, as_base64: bool, told: Any) -> None:
    assert json.loads(encoded(answer(sent), as_base64=as_base64)) == json.loads(answer(told))


@pytest.mark.parametrize(
    "sent",
    [[None], ["x"], [1e300], [], "A", "", "\xe9", [[1.0]]],
    ids=["null", "text", "too large", "empty", "not base64", "an empty text", "not ASCII", "nested"],
)
def test_vectors_that_are_none_are_upstreams_failure(sent: Any) -> None:
    with pytest.raises(UpstreamFailed, match="upstream error"):
        encoded(answer(sent), as_base64=isinstance(sent, list))


@pytest.mark.parametrize("data", [None, 5, "x", {}, [], [None], [{"embedding": 5}], [{}]])
@pytest.mark.parametrize("as_base64", [True, False])
def test_what_holds_no_vectors_is_passed_on(data: Any, as_base64: bool) -> None:
    body = json.dumps({"data": data}).encode()
    assert encoded(body, as_base64=as_base64) == body


def test_vectors_have_length_one_and_the_dimensions_asked_for() -> None:
    learned: list[int] = []
    made = json.loads(encoded(answer([3.0, 4.0, 12.0]), as_base64=False, dimensions=2, learn=learned.append))
    assert made["data"][0]["embedding"] == [0.6, 0.8]
    assert learned == [3], "the model's own width"
    in_base64 = json.loads(encoded(answer([0.0, -5.0]), as_base64=True))
    assert in_base64["data"][0]["embedding"] == TEXT


INPUTS: dict[str, tuple[Any, list[Any]]] = {
    "a text": ("ab", ["ab"]),
    "an empty text": ("", [" "]),
    "texts": (["ab", ""], ["ab", " "]),
    "tokens": ([1, 2], [[1, 2]]),
    "lists of tokens": ([[1], [2]], [[1], [2]]),
    "parts": ([{"content": []}], [{"content": []}]),
    "too long a text": ("x" * 50, ["x" * 30]),
}


@pytest.mark.parametrize("case", INPUTS.values(), ids=INPUTS)
def test_inputs_go_up_one_by_one_in_the_shape_they_came_in(case: Any) -> None:
    given, inputs = case
    body = {"input": given, "dimensions": 3, "user": "me"}
    assert inputs_of(body, 10) == inputs
    is_one = isinstance(given, str) or isinstance(given[0], int)
    assert with_inputs(body, inputs) == {"input": inputs[0] if is_one else inputs, "user": "me"}
