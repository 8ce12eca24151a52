"""What an exchange works with, joined once per process: client, catalogue, memory, counters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ollama_proxy.access.allowance import Gate
from ollama_proxy.background import Background
from ollama_proxy.catalog.keeper import CatalogKeeper
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.config import Settings
from ollama_proxy.errors import Unavailable
from ollama_proxy.fallback.choosing import Chooser
from ollama_proxy.fallback.clock import Clock
from ollama_proxy.fallback.explanation import ExplainedAttempt, ExplainedChoice
from ollama_proxy.fallback.free_requests import FreeRequestCount
from ollama_proxy.fallback.memory import FailureMemory
from ollama_proxy.fallback.suspicion import Suspicions
from ollama_proxy.observation import Observation
from ollama_proxy.openrouter.errors.failure import Verdict
from ollama_proxy.openrouter.http.client import Client, UpstreamAnswer

#: Seconds that a request waits for the first model list of a server that has just started.
START_PATIENCE = 5.0


class FailureObserver(Protocol):
    """Told of each failed attempt, for the metrics."""

    def __call__(self, model: str, verdict: Verdict) -> None: ...


class SlowObserver(Protocol):
    """Told, for the log, of an attempt that has not begun to answer after so many seconds. Once for each attempt."""

    def __call__(self, observation: Observation, model: str, seconds: float) -> None: ...


class Explainer(Protocol):
    """Told, where the log is to explain everything, who may answer a request, and how each attempt went."""

    def chosen(self, observation: Observation, choice: ExplainedChoice) -> None: ...

    def attempted(self, observation: Observation, attempt: ExplainedAttempt) -> None: ...


class StartCall(Protocol):
    """Sends a body to a path in the background: the result is an open answer of any status, or UpstreamError."""

    def __call__(self, path: str, body: bytes, headers: Mapping[str, str]) -> Background[UpstreamAnswer]: ...


def in_background(client: Client) -> StartCall:
    """POSTs of `client`, each in the background: while OpenRouter has sent no headers, heartbeats must go out."""

    def start(path: str, body: bytes, headers: Mapping[str, str]) -> Background[UpstreamAnswer]:
        return Background(partial(client.post, path, body, headers), discard=UpstreamAnswer.close)

    return start


def _nobody(*_: object, **__: object) -> None:
    pass


@dataclass(slots=True)
class Backend:
    """One per process."""

    settings: Settings
    client: Client
    start: StartCall
    keeper: CatalogKeeper
    memory: FailureMemory
    free_requests: FreeRequestCount
    chooser: Chooser
    suspicions: Suspicions = field(default_factory=Suspicions)
    clock: Clock = time
    observe_failure: FailureObserver = field(default=_nobody)
    observe_slow: SlowObserver = field(default=_nobody)
    #: Who counts what keys use; None where there are no keys to count for.
    gate: Gate | None = None
    #: None where nobody wants to know, which is the usual case: then nothing is worked out for it.
    explainer: Explainer | None = None

    def catalog(self) -> Catalog:
        """The current catalogue. Waits a moment for the first one; raises Unavailable while there is none."""
        catalog = self.keeper.current()
        if catalog is None and not self.keeper.has_failed and self.keeper.wait_ready(START_PATIENCE):
            catalog = self.keeper.current()
        if catalog is None:
            reason = self.keeper.last_error or "it is being fetched"
            raise Unavailable(f"upstream error: there is no model list yet: {reason}", retry_after=5)
        return catalog

    def model_is_gone(self, model: str) -> None:
        """Upstream says that there is no such model: leave it out at once, and look at the list again."""
        self.keeper.forget(model)
        self.keeper.request_refresh()
