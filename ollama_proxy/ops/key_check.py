"""Checks whether OpenRouter accepts our key: once at the start, and in the doctor.

`GET /key` costs nothing and asks no model (https://openrouter.ai/docs/api-reference/limits).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ollama_proxy.openrouter.http.client import Client, UpstreamError


class KeyState(StrEnum):
    """The result of checking the key."""

    VALID = "valid"
    REFUSED = "refused"
    #: OpenRouter could not be reached, or its answer said neither yes nor no.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """A state with details: `limits` is the `data` of the answer if VALID, `reason` says why the state is UNKNOWN."""

    state: KeyState
    limits: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


#: The text for a refused key, used at the start and by the doctor. It holds no part of the key.
REFUSED_TEXT = (
    "OPENROUTER_API_KEY is refused by OpenRouter (401): check it, or make a new one, at "
    "https://openrouter.ai/settings/keys"
)


def check_key(client: Client) -> KeyCheck:
    """Ask OpenRouter about the key, within the client's time-out for small documents. Raises nothing."""
    try:
        status, body = client.key_info()
    except UpstreamError as error:
        return KeyCheck(KeyState.UNKNOWN, reason=f"OpenRouter cannot be reached: {error.failure.detail}")
    if status == 401:
        return KeyCheck(KeyState.REFUSED)
    data = body.get("data") if isinstance(body, dict) else None
    if status != 200 or not isinstance(data, dict):
        return KeyCheck(KeyState.UNKNOWN, reason=f"GET /key answered with status {status}")
    return KeyCheck(KeyState.VALID, data)
