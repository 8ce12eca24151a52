"""Observations of requests that have ended, for the tests of the ledger."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ollama_proxy.observation import Observation

CHAT = "/api/chat"


def tried(model: str, reason: str | None = None, *, seconds: float = 0.5, is_free: bool = True) -> SimpleNamespace:
    """An attempt."""
    return SimpleNamespace(model=model, reason=reason, seconds=seconds, is_free=is_free)


def exchange(*attempts: SimpleNamespace, answered: bool = True, first_token_seconds: float | None = 0.7) -> Any:
    """An exchange with these attempts; the last one answered, if any did."""
    model = SimpleNamespace(id=attempts[-1].model) if answered else None
    return SimpleNamespace(
        model=model, tried=list(attempts), first_token_seconds=first_token_seconds if answered else None
    )


def ended(request_id: str = "r1", **fields: Any) -> Observation:
    """A chat that was answered by `a/one:free`, unless `fields` say otherwise."""
    known: dict[str, Any] = {
        "status": 200,
        "caller": "10.0.0.1",
        "api": "ollama",
        "route": CHAT,
        "asked": "free",
        "exchange": exchange(tried("a/one:free")),
        "prompt_tokens": 10,
        "completion_tokens": 20,
    }
    return Observation(request_id, "POST", CHAT, **(known | fields))
