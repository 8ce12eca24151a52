"""Turns OpenRouter's log probabilities into Ollama's. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def logprobs_of(choice: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the choice's entries as `{"token", "logprob", "bytes"?, "top_logprobs"?}`, or None if it has none.

    `bytes` is left out for an empty token, `top_logprobs` if upstream sent none. An entry without a finite number is
    dropped, because official clients refuse null.
    """
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(entries, list):
        return None
    converted = []
    for entry in entries:
        token = _token(entry)
        if token is None:
            continue
        top = entry.get("top_logprobs")
        alternatives = [known for item in top if (known := _token(item))] if isinstance(top, list) else []
        if alternatives:
            token["top_logprobs"] = alternatives
        converted.append(token)
    return converted or None


def _token(entry: Any) -> dict[str, Any] | None:
    if not isinstance(entry, dict):
        return None
    text, logprob, codes = entry.get("token"), entry.get("logprob"), entry.get("bytes")
    if not isinstance(text, str) or not isinstance(logprob, (int, float)) or not math.isfinite(logprob):
        return None
    token: dict[str, Any] = {"token": text, "logprob": logprob}
    if isinstance(codes, list) and codes and all(isinstance(code, int) for code in codes):
        token["bytes"] = codes
    elif text:
        token["bytes"] = list(text.encode("utf-8", "replace"))
    return token
