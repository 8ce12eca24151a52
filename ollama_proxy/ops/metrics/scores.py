"""Gauges for each free model: how it scores. Read when the metrics are asked for.

Its first token and its speed are counted (`counting.py`), so that they can be asked for any span of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from ollama_proxy.fallback.explained import Explained, explain
from ollama_proxy.runtime import Runtime

#: The most models that have gauges, in the order of `free`: each one is a label, and a label is kept for ever.
MOST_MODELS = 100

_GAUGES: tuple[tuple[str, str, Callable[[Explained], float]], ...] = (
    ("score", "How the free model stands in the order of `free`.", lambda place: place.score),
    (
        "answered_ratio",
        "How often the free model answers, with a few answers to begin with.",
        lambda place: place.success,
    ),
)


def score_gauges(runtime: Runtime, now: float) -> Iterator[Metric]:
    """Yield the gauges at `now` (epoch seconds)."""
    catalog = runtime.backend.keeper.current()
    measured = runtime.backend.chooser.measured
    free = () if catalog is None else catalog.free
    places: list[Explained] = explain("balanced", free, measured.known, now, slow=measured.slow)[:MOST_MODELS]
    for name, text, value_of in _GAUGES:
        gauge = GaugeMetricFamily(f"ollama_proxy_model_{name}", text, labels=["model"])
        for place in places:
            gauge.add_metric([place.id], value_of(place))
        yield gauge
