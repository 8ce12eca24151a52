"""What is noted of one request while it is served, for whoever watches (logs, metrics).

Plain values only: no framework objects, no prompt, no answer, no key. The observer is passed in at start.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

#: Where the front of the application puts the Observation into the WSGI environment.
ENVIRON_KEY = "ollama_proxy.observation"


class ObservedAttempt(Protocol):
    """One attempt: the model's id, why it failed (None: it did not), how long it took in seconds."""

    model: str
    reason: str | None
    seconds: float


class ObservedModel(Protocol):
    """A model, as far as an observer looks at it."""

    @property
    def id(self) -> str: ...


class ObservedExchange(Protocol):
    """What an observer may read of the exchange with the models (`fallback.exchange.Exchange`)."""

    @property
    def model(self) -> ObservedModel | None: ...

    @property
    def tried(self) -> Sequence[ObservedAttempt]: ...

    @property
    def first_token_seconds(self) -> float | None: ...


@dataclass(slots=True)
class Observation:
    """One request. Times are seconds, `began` a monotonic clock's; token counts are upstream's, None if unknown.

    `route` is the route's template, empty for a path that has none.
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
    """Told when requests begin, when their status goes out, and when they end. It must not raise and not wait."""

    def began(self, observation: Observation) -> None: ...

    def answering(self, observation: Observation) -> None: ...

    def ended(self, observation: Observation) -> None: ...


class Observers:
    """Several observers as one."""

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
