"""Which client calls, by how its User-Agent begins: one of a fixed list of names, never a text that a client sent."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

#: How a User-Agent begins, and the slug of the card (`clients.md`). Programs that call through a library look like it.
_BEGINNINGS: Final = (
    ("ollama/", "ollama"),
    ("curl/", "curl"),
    ("codex_cli_rs/", "codex"),
    ("codex_exec/", "codex"),
    ("claude-cli/", "claude-code"),
    ("GitHubCopilotChat/", "vs-code-copilot-chat"),
    ("ktor-client", "jetbrains-ai-assistant"),
    ("Zed/", "zed"),
    ("ollama-python/", "ollama-for-python"),
    ("ollama-js/", "ollama-for-javascript"),
    ("OpenAI/", "openai-sdks"),
    ("AsyncOpenAI/", "openai-sdks"),
    ("Anthropic/", "anthropic-sdks"),
    ("AsyncAnthropic/", "anthropic-sdks"),
    ("litellm/", "litellm"),
)
#: Enough for the longest beginning: what follows it makes no difference.
_LOOKED_AT: Final = 24

#: The clients that can be told.
KNOWN: Final = frozenset(slug for _, slug in _BEGINNINGS)


def client_of(user_agent: str) -> str:
    """Return the slug of the client that sends this User-Agent, "" for any other."""
    return _client_of(user_agent[:_LOOKED_AT])


@lru_cache(256)
def _client_of(beginning: str) -> str:
    return next((slug for known, slug in _BEGINNINGS if beginning.startswith(known)), "")
