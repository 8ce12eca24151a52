"""The bodies of the endpoints that ask no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ollama_proxy.errors import BadRequest
from ollama_proxy.ollama.request.library_bodies import read_copy, read_delete, read_pull, read_show
from tests.unit.ollama.request.go_texts import go


def test_names() -> None:
    assert read_show(b'{"model":"","name":"x"}').asked == "x"
    assert read_show(b'{"model":"a","name":"x"}').asked == "a"
    assert read_delete(b"{}").asked == ""


def test_fields() -> None:
    assert read_pull(b"{}").stream is True
    assert read_pull(b'{"stream":false}').stream is False
    assert read_copy(b'{"source":"a","destination":"b"}').destination == "b"


@pytest.mark.parametrize(
    ("read", "body", "text"),
    [
        (read_show, b'{"verbose":"x"}', go("ShowRequest.verbose", "string", "bool")),
        (read_pull, b'{"model":1}', go("PullRequest.model", "number", "string")),
        (read_show, b"[]", "json: cannot unmarshal array into Go value of type api.ShowRequest"),
    ],
)
def test_a_bad_body_is_refused(read: Callable[[bytes], Any], body: bytes, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(body)
    assert caught.value.message == text
