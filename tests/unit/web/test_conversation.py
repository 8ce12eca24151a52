"""How a conversation began, read from JSON that nobody has checked, and the client's own name for it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from ollama_proxy.fallback.conversations import MOST_TEXTS, opening_of
from ollama_proxy.web.conversation import client_session, opening

SYSTEM, HI, YES = (
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "yes?"},
)
BILLING = {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=5f3a;"}


@pytest.mark.parametrize(
    ("system", "messages", "texts", "continues"),
    [
        pytest.param(None, [HI], ["hi"], False, id="a question"),
        pytest.param(None, [SYSTEM, HI, YES, HI], ["be kind", "hi"], True, id="system and question, later"),
        pytest.param("be kind", [HI], ["be kind", "hi"], False, id="the system apart, as in the Messages API"),
        pytest.param([{"type": "text", "text": "be kind"}], [HI], ["be kind", "hi"], False, id="in blocks"),
        pytest.param([BILLING, {"text": "be kind"}], [HI], ["be kind", "hi"], False, id="without what always differs"),
        pytest.param(
            None,
            [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "hi"}]}],
            ["hi"],
            False,
            id="parts",
        ),
        pytest.param(7, [{"role": "user", "content": 5}], [], False, id="no texts at all"),
        pytest.param({"text": "x"}, [None, "x", {"role": ["user"]}, HI], ["hi"], False, id="nonsense before it"),
    ],
)
def test_an_opening(system: Any, messages: Any, texts: list[str], continues: bool) -> None:
    assert opening(system, messages) == opening_of(texts, continues=continues)


@pytest.mark.parametrize("messages", [None, "hi", {}, [], [SYSTEM], [YES], [SYSTEM] * MOST_TEXTS + [HI]])
def test_what_has_no_opening(messages: Any) -> None:
    assert opening(None, messages) is None


@pytest.mark.parametrize(
    ("headers", "body", "session"),
    [
        ({}, {}, ""),
        ({"X-Session-Id": "a"}, {}, "a"),
        ({"Session-Id": "b"}, {}, "b"),
        ({"X-Session-Id": "a"}, {"prompt_cache_key": "c"}, "a"),
        ({}, {"prompt_cache_key": "c"}, "c"),
        ({}, {"prompt_cache_key": ["c"]}, ""),
        ({"X-Session-Id": "a"}, {"session_id": "in the body, where it goes up by itself"}, ""),
        ({"X-Session-Id": "two words"}, {}, ""),
    ],
)
def test_the_clients_own_name(headers: dict[str, str], body: dict[str, Any], session: str) -> None:
    with Flask("test").test_request_context(headers=headers):
        assert client_session(body) == session
    with Flask("test").test_request_context(headers=headers):
        if not body:
            assert client_session() == session
