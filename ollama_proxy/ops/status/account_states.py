"""The parts `key` and `quota` of a report: whether OpenRouter accepts the key, and what is left of the account."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from ollama_proxy.ledger.key_check import REFUSED_TEXT, KeyState
from ollama_proxy.ops.moments import moment_or_none
from ollama_proxy.ops.status.views import View

#: What to do about a key that is not valid.
KEY_TEXTS: Final = {
    KeyState.REFUSED: REFUSED_TEXT,
    KeyState.NO_CREDITS: "OpenRouter asks for more credits (402): https://openrouter.ai/settings/credits",
    KeyState.KEY_LIMIT: (
        "the limit of OPENROUTER_API_KEY itself is used up (403): raise it at https://openrouter.ai/settings/keys"
    ),
}

#: The members of a Quota that are times.
_TIMES = ("resets_at", "counted_at")
#: Those that are told in the part `key`.
_OF_KEY = ("key_state", "key_state_at")


def key_part(view: View) -> dict[str, Any]:
    """What is known of the key: `state` is a KeyState, `reason` says what to do about one that is not valid."""
    quota = view.quota
    return {
        "state": quota.key_state.value,
        "reason": KEY_TEXTS.get(quota.key_state),
        "since": moment_or_none(quota.key_state_at),
    }


def quota_part(view: View) -> dict[str, Any]:
    """What is left, by the names of `ledger.quota.Quota`. Money is dollars."""
    values = {name: value for name, value in asdict(view.quota).items() if name not in _OF_KEY}
    return values | {name: moment_or_none(values[name]) for name in _TIMES}
