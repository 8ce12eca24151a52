"""What is recorded about one request while it is served, for observers (logs, metrics).

Plain values only: no framework objects, no prompt, no answer, no key. The observer is passed in at start.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

#: The key under which `web.front` puts the Observation into the WSGI environment.
ENVIRON_KEY = "ollama_proxy.observation"


class ObservedAttempt(Protocol):
    """One attempt: the model's id, why it failed (None if it did not), how long it took in seconds."""

    model: str
    reason: str | None
    seconds: float


class ObservedModel(Protocol):
    """The part of a model that an observer reads."""

    @property
    def id(self) -> str: ...


class ObservedExchange(Protocol):
    """The part of an exchange (`fallback.exchange.Exchange`) that an observer reads."""

    @property
    def model(self) -> ObservedModel | None: ...

    @property
    def tried(self) -> Sequence[ObservedAttempt]: ...

    @property
    def first_token_seconds(self) -> float | None: ...


@dataclass(slots=True)
class Observation:
    """One request. Times are seconds, `began` is from a monotonic clock; token counts are upstream's, None if unknown.

    `route` is the route's template, empty for a path without a route.
    """

    request_id: str
    method: str
    path: str
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    client: str = ""
    route: str = ""
    asked: str = ""
    streamed: bool = False
    exchange: ObservedExchange | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str = ""


class Observer(Protocol):
    """Told when a request begins, when its status goes out, and when it ends. It must not raise and must not wait."""

    def began(self, observation: Observation) -> None: ...

    def answering(self, observation: Observation) -> None: ...

    def ended(self, observation: Observation) -> None: ...


class Observers:
    """Passes every call on to several observers."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def began(self, observation: Observation) -> None:
        for observer in self._observers:
            observer.began(observation)

    def answering(self, observation: Observation) -> None:
        for observer in self._observers:
            observer.answering(observation)

    def ended(self, observation: Observation) -> None:
        for observer in self._observers:
            observer.ended(observation)
