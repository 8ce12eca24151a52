"""The states that Prometheus gets: what holds when the page is asked for, as the worker that answers knows it.

All workers share these states through the database, so it does not matter which one is asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from ollama_proxy.runtime import Runtime
from ollama_proxy.version import __version__


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


def is_degraded(runtime: Runtime) -> bool:
    """Return True if the database was away when this process last used it."""
    return runtime.database.degraded
