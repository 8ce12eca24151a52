"""What is noted of one request while it is served, for whoever watches (logs, metrics).

Plain values only: no framework objects, no prompt, no answer, no key. The observer is passed in at start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .fallback.exchange import Exchange

#: Where the front of the application puts the Observation into the WSGI environment.
ENVIRON_KEY = "ollama_proxy.observation"


@dataclass(slots=True)
class Observation:
    """One request. Times are seconds, `began` a monotonic clock's; token counts are upstream's, None if unknown."""

    request_id: str
    method: str
    path: str
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    client: str = ""
    asked: str = ""
    streamed: bool = False
    exchange: Exchange | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str = ""


class Observer(Protocol):
    """Told when requests begin and end. It must not raise and not wait."""

    def began(self, observation: Observation) -> None: ...

    def ended(self, observation: Observation) -> None: ...


class NoObserver:
    """Watches nothing."""

    def began(self, observation: Observation) -> None:
        pass

    def ended(self, observation: Observation) -> None:
        pass
