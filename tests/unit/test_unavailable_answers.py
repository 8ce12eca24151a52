"""The answers for tools that a server must run, where none may be run: whatever the last message looks like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.anthropic import unavailable as messages_unavailable
from ollama_proxy.anthropic.request import read_messages
from ollama_proxy.errors import BadRequest
from ollama_proxy.openai import unavailable as responses_unavailable
from ollama_proxy.openai.request import read_responses

MESSAGES_SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def query_of_messages(content: Any) -> Any:
    """The query in the answer of /v1/messages to one message with this content; None for a refused request."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    try:
        asked = read_messages(json.dumps({**body, "tools": [MESSAGES_SEARCH]}).encode())
    except BadRequest:
        return None
    return messages_unavailable.message(asked, "web_search_20250305")["content"][0]["input"]["query"]


def query_of_responses(given: Any) -> Any:
    """The same of /v1/responses, for this input."""
    body = {"model": "m", "input": given, "tools": [{"type": "web_search"}]}
    try:
        asked = read_responses(json.dumps(body).encode(), free_mode=True)
    except BadRequest:
        return None
    answer = responses_unavailable.response("m", "web_search", asked.body.get("input"))
    return answer["output"][0]["action"]["query"]


@pytest.mark.parametrize("content", [5, True, 0.5, None, {"text": "a"}, [5, {"type": "text", "text": 5}]], ids=str)
def test_a_content_that_holds_no_text_is_no_query(content: Any) -> None:
    assert query_of_messages(content) == ""
    assert query_of_responses([{"role": "user", "content": content}]) == ""


def test_the_last_text_of_the_user_is_the_query() -> None:
    assert query_of_messages([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]) == "a\nb"
    assert query_of_responses([{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]) == "a"


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["text", "user", "input_text", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "role", "content", "tools"]), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(anything)
def test_any_content_is_answered_or_refused(content: Any) -> None:
    assert isinstance(query_of_messages(content), str | None)
    assert isinstance(query_of_responses(content), str | None)
    assert isinstance(query_of_responses([{"role": "user", "content": content}, content]), str | None)
