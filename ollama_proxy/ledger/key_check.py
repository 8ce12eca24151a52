"""What OpenRouter says of our key: asked with `GET /key`, and seen in what requests meet.

`GET /key` costs nothing and asks no model (https://openrouter.ai/docs/api-reference/limits).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.openrouter.http.client import Client, UpstreamError


class KeyState(StrEnum):
    """What is known of the key."""

    VALID = "valid"
    REFUSED = "refused"
    #: The account has no credits left, or owes some: a 402.
    NO_CREDITS = "out of credits"
    #: The key's own limit is used up: a 403.
    KEY_LIMIT = "key limit"
    #: OpenRouter could not be reached, or its answer said neither yes nor no.
    UNKNOWN = "unknown"


#: The states in which OpenRouter answers no request, or none that costs something.
BAD_STATES = frozenset({KeyState.REFUSED, KeyState.NO_CREDITS, KeyState.KEY_LIMIT})

#: The reasons of verdicts that blame the account (`openrouter.errors.classify`), and what they say of the key.
_BY_REASON = {
    "API key refused": KeyState.REFUSED,
    "out of credits": KeyState.NO_CREDITS,
    "key limit": KeyState.KEY_LIMIT,
}


def state_in(verdict: Verdict) -> KeyState | None:
    """Return what a failed attempt says of the key, None if it says nothing.

    A 402 that asks for fewer tokens says nothing: there are credits, only too few for that answer.
    """
    if verdict.blame is not Blame.ACCOUNT or verdict.smaller_max_tokens is not None:
        return None
    return _BY_REASON.get(verdict.reason)


#: The text for a refused key, used at the start and by the doctor. It holds no part of the key.
REFUSED_TEXT = (
    "OPENROUTER_API_KEY is refused by OpenRouter (401): check it, or make a new one, at "
    "https://openrouter.ai/settings/keys"
)


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """A state with details: `limits` is the `data` of the answer if VALID, `reason` says why the state is UNKNOWN."""

    state: KeyState
    limits: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


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
