"""Which conversation a request belongs to: how it began, and the client's own name for it.

For the APIs whose messages are passed through as they came: they are plain JSON here, and nothing of them is checked
(docs/contract.md, "Conversations").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request

from ollama_proxy.fallback.conversations import MOST_TEXTS, Opening, opening_of, usable_session

#: The headers by which clients name their session (opencode, Codex: `x-session-id`, `session-id`), as WSGI names them
#: (PEP 3333), and the fields of a body that do.
_HEADERS = ("HTTP_X_SESSION_ID", "HTTP_SESSION_ID")
_OWN_FIELD = "session_id"
_CACHE_FIELD = "prompt_cache_key"

_SYSTEM = ("system", "developer")

#: Claude Code opens its system prompt with a line that differs from request to request.
_CHANGING = "x-anthropic-billing-header"


def client_session(body: Mapping[str, Any] | None = None) -> str:
    """Return the client's own name for its session, as it goes upstream in a header; "" if there is none.

    A `session_id` in a body that is passed through goes up by itself, and counts there before any header.
    """
    given = {} if body is None else body
    if given.get(_OWN_FIELD):
        return ""
    environ = request.environ
    named = environ.get(_HEADERS[0]) or environ.get(_HEADERS[1]) or given.get(_CACHE_FIELD)
    return usable_session(named) if named else ""


def opening(system: Any, messages: Any) -> Opening | None:
    """Return how a conversation began: `system` (a content) and the messages up to the first one of the user.

    None if the messages are no list, or none of the first ones is the user's.
    """
    if not isinstance(messages, list):
        return None
    texts = _texts(system)
    for place, message in enumerate(messages[:MOST_TEXTS]):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role in _SYSTEM:
            texts += _texts(message.get("content"))
        elif role == "user":
            texts += _texts(message.get("content"))
            return opening_of(texts, continues=len(messages) > place + 1)
    return None


def _texts(content: Any) -> list[str]:
    """The first texts of a content: a string, or parts with texts."""
    found: list[Any] = []
    if isinstance(content, str):
        found = [content]
    elif isinstance(content, list):
        found = [part.get("text") for part in content[:MOST_TEXTS] if isinstance(part, Mapping)]
    return [text for text in found if isinstance(text, str) and not text.startswith(_CHANGING)]
