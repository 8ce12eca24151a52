"""Vectors in the encoding that a client asked for, whatever upstream sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ollama_proxy.errors import UpstreamFailed
from ollama_proxy.openai.embeddings import encoded

NUMBERS, TEXT = [0.5, 1.0], "AAAAPwAAgD8="


def answer(vector: Any) -> bytes:
    item = {"embedding": vector, "index": 0, "unknown": 1}
    return json.dumps({"data": [item], "model": "m", "usage": {"cost": 0}}).encode()


@pytest.mark.parametrize("sent", [NUMBERS, TEXT], ids=["numbers", "base64"])
@pytest.mark.parametrize(("as_base64", "told"), [(False, NUMBERS), (True, TEXT)], ids=["as numbers", "as base64"])
def test_vectors_come_as_asked_for_and_nothing_else_changes(sent: Any, as_base64: bool, told: Any) -> None:
    assert json.loads(encoded(answer(sent), as_base64=as_base64)) == json.loads(answer(told))


@pytest.mark.parametrize(
    "sent",
    [[None], ["x"], [1e300], [10**40], "A", "\xe9", [[1.0]]],
    ids=["null", "text", "too large", "a huge integer", "not base64", "not ASCII", "nested"],
)
def test_vectors_that_are_none_are_upstreams_failure(sent: Any) -> None:
    with pytest.raises(UpstreamFailed, match="upstream error"):
        encoded(answer(sent), as_base64=isinstance(sent, list))


@pytest.mark.parametrize("data", [None, 5, "x", {}, [], [None], [{"embedding": 5}], [{}]])
@pytest.mark.parametrize("as_base64", [True, False])
def test_what_holds_no_vectors_is_passed_on(data: Any, as_base64: bool) -> None:
    body = json.dumps({"data": data}).encode()
    assert encoded(body, as_base64=as_base64) == body
