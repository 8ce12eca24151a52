"""ops.metrics: what is counted, under which labels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ollama_proxy.observation import Observation, Observers
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.ops.metrics.counting import FOLDER_VARIABLE, Metrics
from ollama_proxy.ops.metrics.page import page


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return Metrics()


def lines(metrics: Metrics) -> set[str]:
    """The samples of the page, without the times of creation."""
    text = page(metrics, lambda: ()).decode()
    return {line for line in text.splitlines() if not line.startswith("#") and "_created" not in line}


def observed(**fields: Any) -> Observation:
    made = Observation("id", fields.pop("method", "POST"), "/a/client's/path")
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        pytest.param(
            {"route": "/api/chat", "status": 200}, 'method="POST",route="/api/chat",status="200"', id="a route"
        ),
        pytest.param({"status": 404}, 'method="POST",route="none",status="404"', id="a path that no route has"),
        pytest.param(
            {"status": 405, "method": "MAKEUP"}, 'method="other",route="none",status="405"', id="a made-up method"
        ),
        pytest.param({"left": True}, 'method="POST",route="none",status="499"', id="gone before a status"),
        pytest.param({"error": "failed"}, 'method="POST",route="none",status="500"', id="failed before a status"),
    ],
)
def test_a_request_is_counted_by_route_method_and_status(metrics: Metrics, fields: dict[str, Any], labels: str) -> None:
    for _ in range(2):
        metrics.ended(observed(**fields))
    assert f"ollama_proxy_requests_total{{{labels}}} 2.0" in lines(metrics)


def test_a_stream_is_open_from_its_status_to_its_end(metrics: Metrics) -> None:
    stream, other = observed(streamed=True), observed(streamed=False)
    for observation in (stream, other):
        metrics.began(observation)
        metrics.answering(observation)
    metrics.answering(stream)  # a status that is set twice
    assert "ollama_proxy_open_streams 1.0" in lines(metrics)
    metrics.ended(stream)
    metrics.ended(other)
    assert "ollama_proxy_open_streams 0.0" in lines(metrics)


def test_a_stream_that_never_got_a_status_is_not_open(metrics: Metrics) -> None:
    metrics.ended(observed(streamed=True))
    assert "ollama_proxy_open_streams 0.0" in lines(metrics)


def test_tokens_and_first_token_are_those_of_the_exchange(metrics: Metrics) -> None:
    exchange = SimpleNamespace(first_token_seconds=0.7)
    metrics.ended(observed(exchange=exchange, prompt_tokens=3, completion_tokens=40))
    metrics.ended(observed(exchange=SimpleNamespace(first_token_seconds=None)))
    assert {
        'ollama_proxy_tokens_total{direction="in"} 3.0',
        'ollama_proxy_tokens_total{direction="out"} 40.0',
        "ollama_proxy_first_token_seconds_count 1.0",
        'ollama_proxy_first_token_seconds_bucket{le="0.5"} 0.0',
        'ollama_proxy_first_token_seconds_bucket{le="1.0"} 1.0',
    } <= lines(metrics)


def test_failed_attempts_are_counted_by_blame(metrics: Metrics) -> None:
    verdict = Verdict(
        blame=Blame.MODERATION,
        status=403,
        message="",
        reason="",
        retry_at=None,
        refresh=False,
        smaller_max_tokens=None,
        without=frozenset(),
    )
    metrics.failed("a/b", verdict)
    assert f'ollama_proxy_upstream_errors_total{{blame="{Blame.MODERATION}"}} 1.0' in lines(metrics)


def test_several_observers_are_told_the_same(metrics: Metrics) -> None:
    second = Metrics()
    both = Observers(metrics, second)
    observation = observed(streamed=True, status=200)
    both.began(observation)
    both.answering(observation)
    assert "ollama_proxy_open_streams 1.0" in lines(metrics) & lines(second)
    both.ended(observation)
    assert 'ollama_proxy_requests_total{method="POST",route="none",status="200"} 1.0' in lines(metrics) & lines(second)
