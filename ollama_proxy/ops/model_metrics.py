"""Gauges for each free model: what was measured of it, and how it scores. Read when the metrics are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from ollama_proxy.fallback.explained import Explained, explain
from ollama_proxy.runtime import Runtime

#: The most models that have gauges, in the order of `free`: each one is a label, and a label is kept for ever.
MOST_MODELS = 100

_GAUGES: tuple[tuple[str, str, Callable[[Explained], float | None]], ...] = (
    ("score", "How the free model stands in the order of `free`.", lambda place: place.score),
    ("answered_ratio", "How often the free model answers, with a few answers to begin with.", lambda p: p.success),
    ("first_token_seconds", "The usual time to the free model's first token.", lambda place: place.first_token),
    ("tokens_per_second", "The free model's usual speed.", lambda place: place.tokens_per_second),
)


def model_states(runtime: Runtime, now: float) -> Iterator[Metric]:
    """Yield the gauges at `now` (epoch seconds). What was not measured of a model has none."""
    catalog = runtime.backend.keeper.current()
    measured = runtime.backend.chooser.measured
    free = () if catalog is None else catalog.free
    places: list[Explained] = explain("balanced", free, measured.known, now, slow=measured.slow)[:MOST_MODELS]
    for name, text, value_of in _GAUGES:
        gauge = GaugeMetricFamily(f"ollama_proxy_model_{name}", text, labels=["model"])
        for place in places:
            if (value := value_of(place)) is not None:
                gauge.add_metric([place.id], value)
        yield gauge
