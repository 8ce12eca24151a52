"""`GET /metrics`: Prometheus' text format, made when it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ollama_proxy.observation import ENVIRON_KEY
from ollama_proxy.openrouter.http.fair_reads import give_turn
from ollama_proxy.ops.metrics.counting import Metrics
from ollama_proxy.ops.metrics.processes import processes
from ollama_proxy.ops.metrics.states import states
from ollama_proxy.runtime import Runtime
from ollama_proxy.web.context import caller

blueprint = Blueprint("metrics", __name__)


def page(metrics: Metrics, *states: Callable[[], Iterable[Metric]]) -> bytes:
    """Return Prometheus' text format: the counts of all workers, and what each of `states` yields."""
    return generate_latest(_Page(metrics.counts, *states))


class _Page(Collector):
    def __init__(self, *parts: Callable[[], Iterable[Metric]]) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        for part in self._parts:
            for metric in part():
                yield metric
                give_turn()  # a long page takes milliseconds, in which nobody else is served


def register(app: Flask, metrics: Metrics) -> None:
    """Add `/metrics`, and let each request note its route's template, which becomes its label."""
    runtime: Runtime = app.extensions["ollama_proxy"]
    metrics.expect(keys=runtime.access.key_names, queues=runtime.writes.dropped())
    app.extensions["ollama_proxy.metrics"] = metrics
    app.register_blueprint(blueprint)
    app.before_request(_note_route)


def _note_route() -> None:
    rule = request.url_rule
    observation = request.environ.get(ENVIRON_KEY)
    if rule is not None and observation is not None:
        observation.route = rule.rule
        observation.api = rule.endpoint.rpartition(".")[0]  # the blueprint's name


@blueprint.route("/metrics", methods=["GET"])
def metrics_page() -> Response:
    """GET /metrics. Where keys are required: an admin's, or one that may see the metrics."""
    key = caller().holds
    if key is not None and not (key.admin or key.metrics):
        text = "forbidden: this needs an admin key, or one for the metrics\n"
        return Response(text, status=403, content_type="text/plain; charset=utf-8")
    metrics: Metrics = current_app.extensions["ollama_proxy.metrics"]
    runtime: Runtime = current_app.extensions["ollama_proxy"]
    if (catalog := runtime.backend.keeper.current()) is not None:
        metrics.expect_models(model.id for model in catalog.free)
    if (register := runtime.register.known) is not None:
        metrics.expect(keys=[one.name for one in register.keys.values()], queues=())
    return Response(page(metrics, lambda: states(runtime, time.time()), processes), content_type=CONTENT_TYPE_LATEST)
