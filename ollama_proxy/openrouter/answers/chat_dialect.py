"""How the answers of /chat/completions and /completions are read: choices, with deltas or with texts.

Pure functions over parsed payloads, put together as dialects; see dialect.py for what each of them promises.
"""

from __future__ import annotations

from ollama_proxy.openrouter.answers import chunks
from ollama_proxy.openrouter.answers.dialect import Dialect, Payload


def _completion_tokens(payload: Payload) -> int:
    tokens = (chunks.usage_of(payload) or {}).get("completion_tokens")
    return int(tokens) if isinstance(tokens, int | float) else 0


#: `POST /chat/completions`, https://openrouter.ai/docs/api-reference/chat-completion
CHAT = Dialect(
    error=chunks.error_of,
    useful=chunks.is_useful,
    ending=chunks.finish_of,
    tokens=_completion_tokens,
    from_whole=chunks.as_chunk,
)


def _has_text(payload: Payload) -> bool:
    choices = payload.get("choices")
    listed = choices if isinstance(choices, list) else []
    return any(isinstance(choice, dict) and (choice.get("text") or choice.get("reasoning")) for choice in listed)


def _as_it_is(payload: Payload) -> Payload:
    return payload


#: `POST /completions`, https://platform.openai.com/docs/api-reference/completions
COMPLETIONS = Dialect(error=CHAT.error, useful=_has_text, ending=CHAT.ending, tokens=CHAT.tokens, from_whole=_as_it_is)
