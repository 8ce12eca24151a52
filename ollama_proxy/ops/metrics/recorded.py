"""Placeholder until the ledger's own is here."""

from __future__ import annotations

from ollama_proxy.observation import Observation, Outcome

ASKING_ROUTES = frozenset(
    {
        "/api/chat",
        "/api/generate",
        "/api/embed",
        "/api/embeddings",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/messages",
    }
)


def is_recorded(observation: Observation) -> bool:
    if observation.route not in ASKING_ROUTES:
        return False
    return observation.exchange is not None or observation.outcome is not Outcome.WHOLE
