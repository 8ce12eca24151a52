from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.openrouter.answers.chat_dialect import CHAT, COMPLETIONS
from ollama_proxy.openrouter.answers.dialect import Dialect
from ollama_proxy.openrouter.answers.embeddings_dialect import EMBEDDINGS
from ollama_proxy.openrouter.answers.messages_dialect import MESSAGES
from ollama_proxy.openrouter.answers.responses_dialect import RESPONSES

MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}


@pytest.mark.parametrize(
    ("payload", "useful"),
    [
        ({"type": "response.output_text.delta", "delta": "a"}, True),
        ({"type": "response.output_text.delta", "delta": ""}, False),
        ({"type": "response.reasoning_text.delta", "delta": "a"}, True),
        ({"type": "response.function_call_arguments.delta", "delta": "{"}, True),
        ({"type": "response.output_item.added", "item": {"type": "function_call"}}, True),
        ({"type": "response.output_item.added", "item": {"type": "message"}}, False),
        ({"type": "response.output_item.added", "item": {"type": "reasoning"}}, False),
        ({"type": "response.created", "response": {"output": []}}, False),
        ({"type": "response.completed", "response": {"output": [MESSAGE]}}, True),
        ({"output": [{"type": "message", "content": [{"type": "output_text", "text": ""}]}]}, False),
        ({"output": [{"type": "reasoning", "summary": [{"text": "a"}]}]}, True),
        ({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]}, True),
        ({"output": None}, False),
    ],
    ids=str,
)
def test_what_is_useful_in_a_response(payload: dict[str, Any], useful: bool) -> None:
    assert RESPONSES.useful(payload) is useful


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"type": "response.created", "response": {"error": None}}, None),
        ({"type": "response.failed", "response": {"error": {"message": "m"}}}, "m"),
        ({"type": "response.failed"}, "the response failed"),
        ({"type": "error", "code": "x", "message": "m"}, "m"),
        ({"error": "m"}, "m"),
        ({"error": {"code": 1}}, "error without a message"),
        ({"error_type": "provider_unavailable", "message": "m"}, "m"),
        ({"status": "failed", "error": None}, "the response failed"),
        ({"status": "completed", "error": None}, None),
    ],
    ids=str,
)
def test_what_is_an_error_in_a_response(payload: dict[str, Any], message: str | None) -> None:
    error = RESPONSES.error(payload)
    assert (error and error["message"]) == message


def test_where_a_response_ends() -> None:
    whole = {"status": "incomplete", "usage": {"output_tokens": 3}}
    event = RESPONSES.from_whole(whole)
    assert event["type"] == "response.incomplete"
    for payload in (whole, event):
        assert (RESPONSES.ending(payload), RESPONSES.tokens(payload)) == ("incomplete", 3)
    begun = {"type": "response.created", "response": {"status": "in_progress", "usage": None}}
    assert (RESPONSES.ending(begun), RESPONSES.tokens(begun)) == (None, 0)


def test_completions_and_embeddings() -> None:
    assert COMPLETIONS.useful({"choices": [{"text": "a"}]})
    assert not COMPLETIONS.useful({"choices": [{"text": ""}]})
    assert not COMPLETIONS.useful({"choices": None})
    assert COMPLETIONS.ending({"choices": [{"text": "", "finish_reason": "stop"}]}) == "stop"
    assert EMBEDDINGS.useful({"data": [{"embedding": [0.5]}]})
    assert not EMBEDDINGS.useful({"data": []})
    assert EMBEDDINGS.error({"error": {"message": "m"}}) == {"message": "m"}


@pytest.mark.parametrize(
    "dialect",
    [CHAT, COMPLETIONS, MESSAGES, RESPONSES, EMBEDDINGS],
    ids=["chat", "completions", "messages", "responses", "embeddings"],
)
@pytest.mark.parametrize("odd", [None, 5, 0.5, True, "x", [], [[]], [None, 5], {}, {"x": None}, {"message": []}])
@pytest.mark.parametrize(
    "shape",
    [
        "choices", "error", "usage", "type", "response", "item", "output", "content", "delta", "data", "message",
        "status", "stop_reason", "content_block",
    ],
)  # fmt: skip
def test_nothing_raises_for_a_value_of_another_type(dialect: Dialect, odd: Any, shape: str) -> None:
    for payload in (
        {shape: odd},
        {shape: [odd]},
        {"type": "response.output_item.added", shape: odd},
        {"type": "message", "content": [{shape: odd}]},
        {"type": "content_block_delta", "delta": {shape: odd}},
        {"type": "message_delta", "delta": {shape: odd}, "usage": {"output_tokens": odd}},
        {
            "choices": [{shape: odd, "delta": {shape: odd}, "index": odd, "text": odd}],
            "usage": {"completion_tokens": odd},
        },
        {
            "response": {
                shape: odd,
                "output": [{shape: odd, "type": odd, "content": odd}, {"type": "message", shape: odd}],
            }
        },
    ):
        dialect.error(payload)
        dialect.useful(payload)
        dialect.ending(payload)
        assert type(dialect.tokens(payload)) is int
        dialect.from_whole(payload)
