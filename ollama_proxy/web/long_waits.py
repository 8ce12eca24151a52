"""How a client is told to wait for long (docs/contract.md, "Errors").

Agents of the OpenAI and Messages APIs obey a Retry-After of hours, and sleep without a word. They are told in the text.
Pure: it knows no Flask, so that the streams can use it.
"""

from __future__ import annotations

import re

from ollama_proxy.errors import ProxyError
from ollama_proxy.openrouter.errors.retry_times import in_words

#: Seconds. A longer Retry-After is for clients of the Ollama API only.
LONGEST_WAIT = 60

_SAYS_HOW_LONG = re.compile(r"\bin \d+ (?:s|min|h)\b")


def waits_long(error: ProxyError) -> bool:
    """Return True if it makes sense to try again, but only after more than LONGEST_WAIT seconds."""
    return error.retry_after is not None and error.retry_after > LONGEST_WAIT


def text_with_wait(error: ProxyError) -> str:
    """Return the error's text, with the waiting time if that is long and the text does not say it."""
    if error.retry_after is None or not waits_long(error) or _SAYS_HOW_LONG.search(error.message):
        return error.message
    return f"{error.message} (try again in {in_words(error.retry_after)})"
