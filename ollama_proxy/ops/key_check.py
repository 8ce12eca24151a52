"""The text for a refused key, and the check of the key as the start and the doctor use it (`ledger/key_check.py`)."""

from __future__ import annotations

from ollama_proxy.ledger.key_check import KeyCheck, KeyState, check_key

#: The text for a refused key, used at the start and by the doctor. It holds no part of the key.
REFUSED_TEXT = (
    "OPENROUTER_API_KEY is refused by OpenRouter (401): check it, or make a new one, at "
    "https://openrouter.ai/settings/keys"
)

__all__ = ["REFUSED_TEXT", "KeyCheck", "KeyState", "check_key"]
