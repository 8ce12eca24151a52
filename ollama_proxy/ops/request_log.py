"""The lines that a request leaves in the log: one at its end, one for each attempt that is slow, more at DEBUG.

No line holds a key, a prompt, an answer, or a header's value. Names that clients send are shortened, and control
characters are escaped, so that they cannot start a new line (docs/contract.md, "Log").
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import structlog

from ollama_proxy.fallback.explanation import MOST_NAMED, ExplainedAttempt, ExplainedChoice
from ollama_proxy.observation import Observation

#: The most characters of a name that are logged: a client can send a name of any length.
LONGEST_NAME = 120
#: Likewise of a path.
LONGEST_PATH = 200
#: What stands in place of a part of a path that may be a key.
MASK = "***"

#: What load balancers, container engines and Prometheus ask all day long.
_PROBED = frozenset({"/", "/health", "/health/ready", "/metrics"})
_REPORTS = "/api/proxy/"
#: The pages' own look-ups; a page may be open all day long. What is done by a page (POST) is logged.
_PAGES = "/ui"


def shown(text: str) -> str:
    """Return a client's text as a log may hold it: cut short, and without control characters."""
    return text[:LONGEST_NAME].encode("unicode_escape").decode()


def shown_path(observation: Observation, safe: Callable[[str], str]) -> str:
    """Return the path of a request as a log may hold it: `safe` returns what may be kept of a name, "" for a key.

    Only a path that is a route's whole template is the server's own words.
    """
    path = observation.path[:LONGEST_PATH]
    if observation.route and "<" not in observation.route:
        return shown(path)
    return shown("/".join(part and (safe(part) or MASK) for part in path.split("/")))


def is_probe(observation: Observation) -> bool:
    """Return True for a probe or a scrape, which nobody wants to read of: unless it was refused or failed.

    That a server is not ready is what a probe is there to hear.
    """
    route = observation.route
    is_look = observation.method == "GET" and (route == _PAGES or route.startswith(f"{_PAGES}/"))
    if route not in _PROBED and not route.startswith(_REPORTS) and not is_look:
        return False
    return observation.status < 400 or route.startswith("/health")


class RequestLog:
    """An observer that writes one line per request, with the models that were tried."""

    def __init__(self, safe: Callable[[str], str] = lambda _: "") -> None:
        """`safe` returns what may be kept of a name that a client sent, "" where it may be a key."""
        self.safe = safe
        self._log = structlog.get_logger("ollama_proxy")

    def began(self, observation: Observation) -> None:
        """Do nothing: a request is logged when it ends."""

    def answering(self, observation: Observation) -> None:
        """Do nothing: a request is logged when it ends."""

    def ended(self, observation: Observation) -> None:
        """Write the line. `tried` reads like "a:free (rate limited), b:free"; who was passed over stands there too."""
        if is_probe(observation):
            if self._log.is_enabled_for(logging.DEBUG):
                self._log.debug("request", **self._fields(observation))
            return
        write = self._log.warning if observation.status >= 500 or observation.broken else self._log.info
        write("request", **self._fields(observation))

    def slow(self, observation: Observation, model: str, seconds: float) -> None:
        """Write a line about an attempt that has not begun to answer; `Backend.observe_slow` calls this."""
        self._log.warning(
            "slow attempt",
            request_id=observation.request_id,
            **observation.who(),
            model=model,
            seconds=round(seconds, 1),
            streamed=observation.streamed,
        )

    def _fields(self, observation: Observation) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "request_id": observation.request_id,
            "method": observation.method,
            "path": shown_path(observation, self.safe),
            "status": observation.status,
            "ms": round((time.monotonic() - observation.began) * 1000, 1),
            **observation.who(),
            "outcome": observation.outcome,
        }
        if observation.asked:
            fields["asked"] = shown(observation.asked)
        exchange = observation.exchange
        if exchange is not None:
            fields["model"] = exchange.model.id if exchange.model is not None else None
            fields["tried"] = exchange.chain
            if exchange.first_token_seconds is not None:
                fields["first_token_ms"] = round(exchange.first_token_seconds * 1000, 1)
            fields["prompt_tokens"] = observation.prompt_tokens
            fields["completion_tokens"] = observation.completion_tokens
            fields["cost"] = observation.cost
        if observation.error:
            fields["error"] = observation.error
        return {name: value for name, value in fields.items() if value is not None}


class Explanations:
    """An `Explainer` that writes, at DEBUG, who may answer a request and why not the others, and each attempt."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("ollama_proxy")

    def chosen(self, observation: Observation, choice: ExplainedChoice) -> None:
        """Write a line: the candidates in the order of trying, the others by why they are left out."""
        candidates = [f"{one} (suspected)" if one in choice.suspected else one for one in choice.candidates]
        self._log.debug(
            "candidates",
            request_id=observation.request_id,
            candidates=_named(candidates),
            left_out="; ".join(f"{why}: {_named(models)}" for why, models in choice.left_out.items()),
        )

    def attempted(self, observation: Observation, attempt: ExplainedAttempt) -> None:
        """Write a line about an attempt that begins to answer, or has failed."""
        fields = {
            "model": attempt.model,
            "upstream_status": attempt.status,
            "headers_ms": _milliseconds(attempt.headers_seconds),
            "first_token_ms": _milliseconds(attempt.first_token_seconds),
            "reason": attempt.reason,
        }
        said = {name: value for name, value in fields.items() if value is not None}
        self._log.debug("attempt", request_id=observation.request_id, **said)


def observer_failed(name: str) -> None:
    """Write what went wrong in an observer, while it is handled: a mistake of ours, and no request is harmed."""
    structlog.get_logger("ollama_proxy").error("an observer failed; told once", observer=name, exc_info=True)


def explanations(log_level: str) -> Explanations | None:
    """Return what explains requests in the log, None where nobody would read it."""
    return Explanations() if log_level == "DEBUG" else None


def _named(models: list[str]) -> str:
    more = len(models) - MOST_NAMED
    return ", ".join(models[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
