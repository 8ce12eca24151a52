"""Tells an `Explainer` what an exchange does while it does it. Not called at all where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Target
from ollama_proxy.fallback.attempt import Attempt
from ollama_proxy.fallback.backend import Backend, Explainer
from ollama_proxy.fallback.call import Tried
from ollama_proxy.fallback.explanation import ExplainedAttempt, explain_choice
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.fallback.standing import Standing
from ollama_proxy.observation import Observation


def tell_choice(
    backend: Backend,
    observation: Observation | None,
    target: Target,
    needs: Needs,
    chosen: Sequence[Model],
    standing: Standing,
    catalog: Catalog | None = None,
) -> None:
    """Tell who may answer the request, in the order of trying, and why the others may not.

    `catalog` is what the caller may see of the current one, None: all of it.
    """
    explainer, now = backend.explainer, backend.clock.time()
    catalog = catalog or backend.keeper.current()
    if explainer is None or observation is None or catalog is None:
        return

    def unavailable(model: Model) -> str | None:
        why = standing.unavailable(model, now)
        return None if why is None else why.reason

    def suspected(model: Model) -> bool:
        return backend.suspicions.is_suspect(model.id, now)

    choice = explain_choice(target, catalog, needs, chosen, unavailable=unavailable, suspected=suspected)
    explainer.chosen(observation, choice)


def tell_attempt(explainer: Explainer, observation: Observation | None, tried: Tried, attempt: Attempt) -> None:
    """Tell how an attempt went: that it begins to answer, or that it failed."""
    if observation is not None:
        accepted_ns = attempt.accepted_ns
        headers_seconds = None if accepted_ns is None else accepted_ns / 1e9 - attempt.began
        explainer.attempted(
            observation,
            ExplainedAttempt(tried.model, attempt.status, headers_seconds, tried.first_token_seconds, tried.reason),
        )
