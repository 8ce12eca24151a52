"""What is recorded about one request while it is served, for observers (logs, metrics).

Plain values only: no framework objects, no prompt, no answer, no key. The observer is passed in at start.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

#: The key under which `web.front` puts the Observation into the WSGI environment.
ENVIRON_KEY = "ollama_proxy.observation"

#: A client error that is no fault of the request: it counts as a failed answer (RFC 6585, section 4).
_TOO_MANY_REQUESTS = 429
#: Of the server errors this one says that the request asks for something that will never work here.
_NOT_IMPLEMENTED = 501


class Outcome(StrEnum):
    """How a request ended, as its client sees it (docs/contract.md, "Errors")."""

    #: The whole answer went out.
    WHOLE = "whole"
    #: An error in place of an answer: upstream failed, a limit holds, or this server failed.
    FAILED = "failed"
    #: An error after a part of the answer had gone out.
    BROKEN = "broken"
    #: The client left before the end.
    LEFT = "left"
    #: The request was refused here, before anything was asked upstream.
    REFUSED = "refused"


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

    @property
    def chain(self) -> str:
        """Who was passed over, who was tried, and why not: catalogue ids and our own reasons, in one line."""


@dataclass(slots=True)
class Observation:
    """One request. Times are seconds, `began` is from a monotonic clock; token counts are upstream's, None if unknown.

    `caller` is the name of who calls, `api` the blueprint that answers ("ollama", "openai", "anthropic", or one of our
    own), `route` the route's template (both "" for a path that has none), `cost` dollars.
    `error` says why there is no whole answer, in words that hold nothing of the request. `broken` and `left` are set
    by whoever writes the answer: an error after its beginning, a client that did not wait for its end.
    """

    request_id: str
    method: str
    path: str
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    caller: str = ""
    api: str = ""
    route: str = ""
    asked: str = ""
    streamed: bool = False
    exchange: ObservedExchange | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    error: str = ""
    broken: bool = False
    left: bool = False

    @property
    def outcome(self) -> Outcome:
        """How the request ended. Only asked once it has."""
        if self.left:
            return Outcome.LEFT
        if self.broken:
            return Outcome.BROKEN
        if 0 < self.status < 400:
            return Outcome.WHOLE
        asked_upstream = self.exchange is not None and bool(self.exchange.tried)
        own_refusal = 400 <= self.status < 500 and self.status != _TOO_MANY_REQUESTS
        if (own_refusal or self.status == _NOT_IMPLEMENTED) and not asked_upstream:
            return Outcome.REFUSED
        return Outcome.FAILED


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
