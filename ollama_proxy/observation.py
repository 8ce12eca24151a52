"""What is recorded about one request while it is served, for observers (logs, metrics).

Plain values only: no framework objects, no prompt, no answer, no key. The observer is passed in at start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ParamSpec, Protocol

Told = ParamSpec("Told")

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
    """One attempt: the model's id, whether it is free, why it failed (None if it did not), how long it took in seconds,
    and how long until its first token came (None if none came).
    """

    model: str
    is_free: bool
    reason: str | None
    seconds: float
    first_token_seconds: float | None


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
    def left_headers(self) -> Mapping[str, str]:
        """What is left of the limits of the key that asks, as headers."""

    @property
    def chain(self) -> str:
        """Who was passed over, who was tried, and why not: catalogue ids and our own reasons, in one line."""


@dataclass(slots=True)
class Observation:
    """One request. Times are seconds, `began` is from a monotonic clock; token counts are upstream's, None if unknown.

    `address` is the client's, `key` the name of its key ("" without one), `caller` the one of them under which it is
    counted. `client` is the kind of program that calls, "" for an unknown one (`clients/user_agents.py`). `api` is the
    blueprint that answers ("ollama", "openai", "anthropic", or one of our own), `route` the route's template (both ""
    for a path that has none), `cost` dollars. `asked` is the model name that the client sent, "" if it might be
    something else than a name (`ledger/names.py`).
    `error` says why there is no whole answer, in words that hold nothing of the request. `broken` and `left` are set
    by whoever writes the answer: an error after its beginning, a client that did not wait for its end.
    """

    request_id: str
    method: str
    path: str
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    caller: str = ""
    address: str = ""
    key: str = ""
    client: str = ""
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

    def who(self) -> dict[str, str]:
        """Return who calls, as the fields of a log line: the client's address, and its key's name if it has one."""
        return {"client": self.address, "key": self.key} if self.key else {"client": self.address}

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
    """Passes every call on to several observers. One that raises harms neither the request nor the others."""

    def __init__(self, *observers: Observer, on_error: Callable[[str], None] | None = None) -> None:
        """`on_error` is called while the error is handled (`sys.exc_info`), with the name of what raised: once for each
        name, as what fails for one request would fill the log for all.
        """
        self._observers = [*observers]
        self._on_error = on_error
        self._told: set[str] = set()

    def began(self, observation: Observation) -> None:
        for observer in self._observers:
            try:
                observer.began(observation)
            except Exception:  # noqa: BLE001 - whatever it is, it is not the client's
                self._failed(observer.began)

    def answering(self, observation: Observation) -> None:
        for observer in self._observers:
            try:
                observer.answering(observation)
            except Exception:  # noqa: BLE001 - as above
                self._failed(observer.answering)

    def ended(self, observation: Observation) -> None:
        for observer in self._observers:
            try:
                observer.ended(observation)
            except Exception:  # noqa: BLE001 - as above
                self._failed(observer.ended)

    def add(self, observer: Observer) -> None:
        """Tell one more observer from now on."""
        self._observers.append(observer)

    def safely(self, call: Callable[Told, None]) -> Callable[Told, None]:
        """Return `call` as one that never raises either: for what log and metrics are told besides."""

        def told(*values: Told.args, **named: Told.kwargs) -> None:
            try:
                call(*values, **named)
            except Exception:  # noqa: BLE001 - as above
                self._failed(call)

        return told

    def _failed(self, call: Callable[..., None]) -> None:
        name = getattr(call, "__qualname__", type(call).__name__)
        if name not in self._told and self._on_error is not None:
            self._told.add(name)
            self._on_error(name)
