"""The metrics for Prometheus: counted when a request begins and ends, never per token.

Counters of several workers are added up through files that prometheus-client shares between processes, so
gunicorn.conf.py names their folder before this module is imported. States (cooling models, limits) are read when the
page is asked for, in the worker that answers. No label holds what a client sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ollama_proxy.observation import ENVIRON_KEY, Observation
from ollama_proxy.openrouter.errors.failure import Verdict
from ollama_proxy.ops.model_metrics import model_states
from ollama_proxy.runtime import Runtime
from ollama_proxy.version import __version__

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

#: The `route` label of a path without a route: the path itself comes from the client and must not become a label.
NO_ROUTE = "none"

#: The status of a request whose client left before its answer began, as in nginx.
CLIENT_GONE = 499

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120)

blueprint = Blueprint("metrics", __name__)


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

    def page(self, state: Callable[[], Iterable[Metric]]) -> bytes:
        """Return Prometheus' text format: the counts of all workers, and the states that `state` yields."""
        if self._registry is not None:
            return generate_latest(_Page(self._registry, state))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(_Page(registry, state))


class _Page(Collector):
    def __init__(self, counts: CollectorRegistry, state: Callable[[], Iterable[Metric]]) -> None:
        self._counts = counts
        self._state = state

    def collect(self) -> Iterator[Metric]:
        yield from self._counts.collect()
        yield from self._state()


def states(runtime: Runtime, now: float) -> Iterator[Metric]:
    """Yield the states at `now` (epoch seconds), as far as this process knows them: all share them through the
    database.
    """
    memory, keeper = runtime.backend.memory, runtime.backend.keeper
    memory.freshen()
    catalog = keeper.current()
    limit = memory.limit(now, free=True)
    for name, text, value in (
        ("cooling_models", "Models left out because of earlier failures.", sum(r.until > now for r in memory.rows())),
        (
            "account_limit_until_timestamp_seconds",
            "When the limit of the OpenRouter account that holds now ends; 0 without one.",
            0 if limit is None else limit.until,
        ),
        ("catalog_models", "Models that are listed.", 0 if catalog is None else len(catalog.models)),
        (
            "catalog_fetched_timestamp_seconds",
            "When the model list was fetched; 0 without one.",
            0 if catalog is None else catalog.fetched_at,
        ),
        ("database_degraded", "1 while failures are remembered by each process alone.", int(is_degraded(runtime))),
    ):
        yield GaugeMetricFamily(f"ollama_proxy_{name}", text, value)
    info = GaugeMetricFamily("ollama_proxy_info", "The version that runs.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    yield from model_states(runtime, now)


def is_degraded(runtime: Runtime) -> bool:
    """Return True if the database was away when this process last used it."""
    return runtime.database.degraded


def register(app: Flask, metrics: Metrics) -> None:
    """Add `/metrics`, and let each request note its route's template, which becomes its label."""
    app.extensions["ollama_proxy.metrics"] = metrics
    app.register_blueprint(blueprint)
    app.before_request(_note_route)


def _note_route() -> None:
    rule = request.url_rule
    observation = request.environ.get(ENVIRON_KEY)
    if rule is not None and observation is not None:
        observation.route = rule.rule
        observation.api = request.blueprint or ""


@blueprint.route("/metrics", methods=["GET"])
def metrics_page() -> Response:
    """GET /metrics."""
    metrics: Metrics = current_app.extensions["ollama_proxy.metrics"]
    runtime: Runtime = current_app.extensions["ollama_proxy"]
    return Response(metrics.page(lambda: states(runtime, time.time())), content_type=CONTENT_TYPE_LATEST)
