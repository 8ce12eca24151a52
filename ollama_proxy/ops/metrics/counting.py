"""What is counted for Prometheus: when a request ends and when an attempt fails, never per token.

Counters of several workers are added up through files that prometheus-client shares between processes, so
gunicorn.conf.py names their folder before this module is imported. No label holds what a client sent: models are the
catalogue's ids, callers the names of keys, and there are never more of either than `MOST_MODELS` and `MOST_CALLERS`.

Series whose labels are known are there at 0 from the start, those of a free model from the first scrape that finds it
in the catalogue: of a counter that is born at 1 `increase()` never sees the first event.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from ollama_proxy.ledger.record import ASKING_ROUTES, is_recorded
from ollama_proxy.observation import Observation, ObservedAttempt, Outcome
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.ops.metrics.files import read_counts
from ollama_proxy.ops.metrics.shared_values import FOLDER_VARIABLE, use_quick_values

#: The `route` label of a path without a route: the path itself comes from the client and must not become a label.
NO_ROUTE = "none"
#: The `model` label of requests that no model answered, and the `caller` label of callers without a key.
NOBODY = "none"
#: The label of models and callers that came when there were too many.
OTHERS = "others"
MOST_MODELS = 100
MOST_CALLERS = 100

#: The status of a request whose client left before its answer began, as in nginx.
CLIENT_GONE = 499

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_APIS = ("ollama", "openai", "anthropic")
#: The statuses with which requests for an answer usually end.
_USUAL_STATUSES = (200, 400, 404, 429, 499, 500, 502, 503, 504)

_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120)
_WHOLE_SECONDS = (0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300)
_MODEL_SECONDS = (0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60)
_ATTEMPTS = (1, 2, 3, 4, 5, 10)


# prometheus-client's look-up of labels costs more than counting: what is looked up once is kept.


@dataclass(frozen=True, slots=True)
class _ApiSeries:
    first_token: Histogram
    duration: Histogram


@dataclass(frozen=True, slots=True)
class _ModelSeries:
    outcomes: dict[Outcome, Counter]
    first_token: Histogram
    tokens: Counter
    seconds: Counter
    failures: Counter


@dataclass(frozen=True, slots=True)
class _CallerSeries:
    tokens_in: Counter
    tokens_out: Counter
    cost: Counter


class Metrics:
    """Counts requests, as an Observer, failed attempts (`failed`) and what the database lost. One per process."""

    def __init__(self) -> None:
        # With shared files the counters must not be in a registry: it would show this process's part only.
        registry = self._registry = None if FOLDER_VARIABLE in os.environ else CollectorRegistry()
        if "gunicorn.arbiter" in sys.modules:
            use_quick_values()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"ollama_proxy_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"ollama_proxy_{name}", text, labels, buckets=buckets, registry=registry)

        # The texts are short: prometheus-client's files hold them once for each series and bucket.
        self._requests = counter("requests", "Requests that ended.", "route", "method", "status")
        self._answers = counter("answers", "Requests for an answer, by who answered.", "model", "outcome")
        self._attempts = histogram("request_attempts", "Attempts of a request.", _ATTEMPTS)
        self._fallbacks = counter("fallbacks", "Requests for which a second model was tried.")
        self._duration = histogram("request_duration_seconds", "To the end of the answer.", _WHOLE_SECONDS, "api")
        self._first_token = histogram(
            "first_token_seconds", "To the first token, failed attempts included.", _SECONDS, "api"
        )
        self._model_first_token = histogram(
            "model_first_token_seconds", "To the first token, of the attempt.", _MODEL_SECONDS, "model"
        )
        self._model_tokens = counter("model_output_tokens", "Tokens of whole streams.", "model")
        self._model_seconds = counter("model_output_seconds", "From first to last token.", "model")
        self._model_failures = counter("model_failures", "Failed attempts.", "model")
        self._errors = counter("upstream_errors", "Failed attempts.", "blame")
        self._tokens = counter("tokens", "Tokens, as OpenRouter counts.", "direction", "caller")
        self._cost = counter("cost_dollars", "What OpenRouter charged.", "caller")
        self._writes_lost = counter("writes_dropped", "Writes to the database that were lost.", "queue")
        self._records_lost = counter("ledger_records_dropped", "Requests that the ledger does not hold.")
        self._open = Gauge(
            "ollama_proxy_open_streams",
            "Streamed answers under way.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._open_ids: set[str] = set()
        self._by_labels: dict[tuple[str, str, int], Counter] = {}
        self._models: dict[str, _ModelSeries] = {}
        self._callers: dict[str, _CallerSeries] = {}
        self._by_api = {api: _ApiSeries(self._first_token.labels(api), self._duration.labels(api)) for api in _APIS}
        for route in ASKING_ROUTES:
            for status in _USUAL_STATUSES:
                self._request(route, "POST", status)
        self._nobody = self._answered_by(NOBODY)
        for blame in Blame:
            self._errors.labels(blame.value)
        self._caller("")

    # What is known to come

    def expect_models(self, ids: Iterable[str]) -> None:
        """Let these models' series begin at 0."""
        for model in ids:
            self._model(model)

    def expect(self, *, keys: Iterable[str], queues: Iterable[str]) -> None:
        """Let the series of these keys (by name) and these queues of writes begin at 0."""
        for key in keys:
            self._caller(key)
        for queue in queues:
            self._writes_lost.labels(queue)

    # What happens

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
        (self._by_labels.get(key) or self._request(*key)).inc()
        if is_recorded(observation):
            self._count_answer(observation, observation.outcome)

    def failed(self, model: str, verdict: Verdict) -> None:
        """Count a failed attempt; `Backend.observe_failure` calls this."""
        self._errors.labels(verdict.blame.value).inc()
        self._model(model).failures.inc()

    def writes_lost(self, queue: str, number: int) -> None:
        """Count writes to the database that were dropped; `WriteBehind` calls this."""
        self._writes_lost.labels(queue).inc(number)

    def records_lost(self, number: int) -> None:
        """Count requests that the ledger does not hold; `Ledger` calls this."""
        self._records_lost.inc(number)

    def counts(self) -> Iterable[Metric]:
        """Return what has been counted, by all workers together."""
        return read_counts(os.environ[FOLDER_VARIABLE]) if self._registry is None else self._registry.collect()

    def _count_answer(self, observation: Observation, outcome: Outcome) -> None:
        exchange, api = observation.exchange, self._by_api[observation.api]
        if outcome is not Outcome.LEFT and outcome is not Outcome.REFUSED:
            api.duration.observe(time.monotonic() - observation.began)
        if exchange is None or exchange.model is None:
            self._nobody[outcome].inc()
        else:
            model = self._models.get(exchange.model.id) or self._model(exchange.model.id)
            model.outcomes[outcome].inc()
            self._count_speed(model, exchange.tried[-1], observation, outcome)
        if exchange is not None and (tried := exchange.tried):
            self._attempts.observe(len(tried))
            if len(tried) > 1 and any(one.model != tried[0].model for one in tried):
                self._fallbacks.inc()
            if exchange.first_token_seconds is not None:
                api.first_token.observe(exchange.first_token_seconds)
        caller = self._callers.get(observation.key) or self._caller(observation.key)
        if observation.prompt_tokens:
            caller.tokens_in.inc(observation.prompt_tokens)
        if observation.completion_tokens:
            caller.tokens_out.inc(observation.completion_tokens)
        if observation.cost:
            caller.cost.inc(observation.cost)

    def _count_speed(
        self, model: _ModelSeries, attempt: ObservedAttempt, observation: Observation, outcome: Outcome
    ) -> None:
        """Count the first token of the attempt that answers, and how quick its tokens came if it was a whole stream."""
        if attempt.first_token_seconds is None:
            return
        model.first_token.observe(attempt.first_token_seconds)
        # The Ollama API always asks upstream for a stream. Of an answer in one piece nobody knows when its tokens came.
        came_as_stream = observation.streamed or observation.api == "ollama"
        if came_as_stream and outcome is Outcome.WHOLE and observation.completion_tokens:
            model.tokens.inc(observation.completion_tokens)
            model.seconds.inc(max(attempt.seconds - attempt.first_token_seconds, 0.0))

    # Series, each looked up once

    def _request(self, route: str, method: str, status: int) -> Counter:
        known = method in _METHODS
        child: Counter = self._requests.labels(route, method if known else "other", str(status))
        if known:
            # A client can invent methods, so only counters of real ones are kept.
            self._by_labels[route, method, status] = child
        return child

    def _answered_by(self, model: str) -> dict[Outcome, Counter]:
        return {outcome: self._answers.labels(model, outcome.value) for outcome in Outcome}

    def _model(self, model: str) -> _ModelSeries:
        if (known := self._models.get(model)) is not None:
            return known
        label = model if len(self._models) < MOST_MODELS else OTHERS
        made = _ModelSeries(
            self._answered_by(label),
            self._model_first_token.labels(label),
            self._model_tokens.labels(label),
            self._model_seconds.labels(label),
            self._model_failures.labels(label),
        )
        if label != OTHERS:
            self._models[model] = made
        return made

    def _caller(self, key: str) -> _CallerSeries:
        """Return the series of a key by its name; "" for callers without one."""
        if (known := self._callers.get(key)) is not None:
            return known
        label = (key or NOBODY) if len(self._callers) < MOST_CALLERS else OTHERS
        made = _CallerSeries(
            self._tokens.labels("in", label), self._tokens.labels("out", label), self._cost.labels(label)
        )
        if label != OTHERS:
            self._callers[key] = made
        return made
