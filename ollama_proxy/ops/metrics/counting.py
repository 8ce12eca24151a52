"""What is counted for Prometheus: when a request begins and ends, never per token.

Counters of several workers are added up through files that prometheus-client shares between processes, so
gunicorn.conf.py names their folder before this module is imported. No label holds what a client sent.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from ollama_proxy.observation import Observation
from ollama_proxy.openrouter.errors.failure import Verdict

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

#: The `route` label of a path without a route: the path itself comes from the client and must not become a label.
NO_ROUTE = "none"

#: The status of a request whose client left before its answer began, as in nginx.
CLIENT_GONE = 499

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120)


class Metrics:
    """Counts requests, as an Observer, and failed attempts (`failed`). One per process."""

    def __init__(self) -> None:
        self._shared = FOLDER_VARIABLE in os.environ
        # With shared files the counters must not be in a registry: it would show this process's part only.
        registry = self._registry = None if self._shared else CollectorRegistry()
        self._requests = Counter(
            "ollama_proxy_requests", "Requests that ended.", ["route", "method", "status"], registry=registry
        )
        self._first_token = Histogram(
            "ollama_proxy_first_token_seconds",
            "From the request to the first useful delta, failed attempts included.",
            buckets=_SECONDS,
            registry=registry,
        )
        tokens = Counter(
            "ollama_proxy_tokens",
            "Tokens of answered requests, as OpenRouter counts.",
            ["direction"],
            registry=registry,
        )
        self._tokens_in, self._tokens_out = tokens.labels("in"), tokens.labels("out")
        self._errors = Counter(
            "ollama_proxy_upstream_errors", "Failed attempts by what is to blame.", ["blame"], registry=registry
        )
        self._open = Gauge(
            "ollama_proxy_open_streams",
            "Streamed answers under way.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._open_ids: set[str] = set()
        # Counters by their labels: prometheus-client's own look-up costs more than counting.
        self._by_labels: dict[tuple[str, str, int], Counter] = {}

    def began(self, observation: Observation) -> None:
        """Do nothing: a request is first counted when its answer begins."""

    def answering(self, observation: Observation) -> None:
        """Count an open stream, once its status goes out."""
        if observation.streamed and observation.request_id not in self._open_ids:
            self._open_ids.add(observation.request_id)
            self._open.inc()

    def ended(self, observation: Observation) -> None:
        """Count the request."""
        if observation.request_id in self._open_ids:
            self._open_ids.discard(observation.request_id)
            self._open.dec()
        status = observation.status or (CLIENT_GONE if observation.left else 500)
        key = (observation.route or NO_ROUTE, observation.method, status)
        counter = self._by_labels.get(key)
        if counter is None:
            counter = self._child(*key)
        counter.inc()
        exchange = observation.exchange
        if exchange is not None and exchange.first_token_seconds is not None:
            self._first_token.observe(exchange.first_token_seconds)
        if observation.prompt_tokens:
            self._tokens_in.inc(observation.prompt_tokens)
        if observation.completion_tokens:
            self._tokens_out.inc(observation.completion_tokens)

    def failed(self, model: str, verdict: Verdict) -> None:
        """Count a failed attempt; `Backend.observe_failure` calls this."""
        self._errors.labels(verdict.blame.value).inc()

    def _child(self, route: str, method: str, status: int) -> Counter:
        known = method in _METHODS
        child: Counter = self._requests.labels(route, method if known else "other", str(status))
        if known:
            # A client can invent methods, so only counters of real ones are kept.
            self._by_labels[route, method, status] = child
        return child

    def counts(self) -> CollectorRegistry:
        """Return what has been counted, by all workers together."""
        if self._registry is not None:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry
