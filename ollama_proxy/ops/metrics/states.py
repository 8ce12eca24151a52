"""The states that Prometheus gets: what holds when the page is asked for, as the worker that answers knows it.

All workers share these states through the database, so it does not matter which one is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.fallback.memory import FailureMemory
from ollama_proxy.ledger.key_check import BAD_STATES, KeyState
from ollama_proxy.ledger.quota import Quota
from ollama_proxy.ops.metrics.scores import score_gauges
from ollama_proxy.runtime import Runtime
from ollama_proxy.version import __version__

#: What an account's limit closes: the free models, the stealth ones among them, everything (`fallback/cooldown.py`).
SCOPES = ("free", "stealth", "account")


def states(runtime: Runtime, now: float) -> Iterator[Metric]:
    """Yield the states at `now` (epoch seconds), as far as this process knows them."""
    memory, catalog = runtime.backend.memory, runtime.backend.keeper.current()
    memory.freshen()
    yield from _quota(runtime.quota.now())
    yield from _cooling(memory, catalog, now)
    until = {row.scope: row.until for row in memory.limits() if row.until > now}
    yield _labelled(
        "account_limit_until_timestamp_seconds",
        "When a limit of the account ends; 0 if none holds.",
        "scope",
        [(scope, until.get(scope, 0)) for scope in SCOPES],
    )
    yield _gauge("catalog_models", "Models that are listed.", 0 if catalog is None else len(catalog.models))
    yield _gauge(
        "catalog_fetched_timestamp_seconds",
        "When the model list was fetched; 0 without one.",
        0 if catalog is None else catalog.fetched_at,
    )
    yield _gauge(
        "database_degraded", "1 while failures are remembered by each process alone.", int(is_degraded(runtime))
    )
    yield from score_gauges(runtime, now)
    yield _labelled("info", "The version that runs.", "version", [(__version__, 1)])


def _quota(quota: Quota) -> Iterator[Metric]:
    """Yield what is left of the account. What is not known has no sample: 0 would say that nothing is left."""
    for name, text, value in (
        ("free_requests_used", "Free requests of this UTC day.", quota.free_used),
        ("free_requests_limit", "Free requests that a day has.", quota.free_limit),
        ("free_requests_left", "Free requests left of this UTC day.", quota.free_left),
        ("free_requests_reset_timestamp_seconds", "When the next day begins.", quota.resets_at),
        ("free_requests_minute_used", "Free attempts in this minute.", quota.minute_used),
        ("free_requests_minute_limit", "FREE_REQUESTS_PER_MINUTE.", quota.minute_limit),
        ("credits_left_dollars", "What is left of the key's limit.", quota.credits_left),
        (
            "key_accepted",
            "0 if the key is refused, without credits or at its limit, else 1.",
            int(quota.key_state not in BAD_STATES),
        ),
    ):
        if value is not None:
            yield _gauge(name, text, value)
    yield _labelled(
        "key_state", "1 for what is known of the key.", "state", [(s, s is quota.key_state) for s in KeyState]
    )


def _cooling(memory: FailureMemory, catalog: Catalog | None, now: float) -> Iterator[Metric]:
    """Yield how many models cool down, and for each listed free one and each that cools until when."""
    cooling = {row.model: row.until for row in memory.rows() if row.until > now}
    yield _gauge("cooling_models", "Models left out because of earlier failures.", len(cooling))
    free = [] if catalog is None else [model.id for model in catalog.free]
    yield _labelled(
        "model_cooldown_until_timestamp_seconds",
        "When a model is tried again; 0 if it does not cool down.",
        "model",
        [(model, cooling.get(model, 0)) for model in {**dict.fromkeys(free), **cooling}],
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ollama_proxy_{name}", text, value)


def _labelled(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    gauge = GaugeMetricFamily(f"ollama_proxy_{name}", text, labels=[label])
    for label_value, value in values:
        gauge.add_metric([label_value], value)
    return gauge


def is_degraded(runtime: Runtime) -> bool:
    """Return True if the database was away when this process last used it."""
    return runtime.database.degraded
