"""The bodies of embed and embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from ollama_proxy.errors import BadRequest
from ollama_proxy.ollama.request.embed_bodies import read_embed, read_embedding
from tests.unit.ollama.request.go_texts import go


@pytest.mark.parametrize(
    ("value", "texts"), [(None, []), ("", []), ([], []), ("a", ["a"]), (["a", ""], ["a", ""]), ([""], [""])]
)
def test_embed_input(value: Any, texts: list[str]) -> None:
    assert read_embed(orjson.dumps({"model": "e", "input": value})).texts() == texts


@pytest.mark.parametrize("value", [5, ["a", 5], {}, True, [["a"]]])
def test_embed_input_of_another_type(value: Any) -> None:
    request = read_embed(orjson.dumps({"model": "e", "input": value}))
    with pytest.raises(BadRequest, match=r"^invalid input type$"):
        request.texts()


@pytest.mark.parametrize(
    ("read", "body", "text"),
    [
        (read_embed, b'{"dimensions":"5"}', go("EmbedRequest.dimensions", "string", "int")),
        (read_embedding, b'{"prompt":[]}', go("EmbeddingRequest.prompt", "array", "string")),
        (read_embed, b'""', "json: cannot unmarshal string into Go value of type api.EmbedRequest"),
    ],
)
def test_a_bad_body_is_refused(read: Callable[[bytes], Any], body: bytes, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(body)
    assert caught.value.message == text
