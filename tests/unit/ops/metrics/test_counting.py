"""ops.metrics: what is counted, under which labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.attempt import BEAT
from ollama_proxy.observation import Observation, Observers, Outcome
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.ops.metrics.counting import MOST_CALLERS, MOST_MODELS, Metrics
from ollama_proxy.ops.metrics.page import page
from ollama_proxy.ops.metrics.shared_values import FOLDER_VARIABLE
from tests.unit.catalog.free_models import catalog_of, record
from tests.unit.fallback.scripted_upstream import World
from tests.unit.fallback.test_exchange import account_limit, exchange_of


@dataclass
class Tried:
    model: str
    reason: str | None = None
    seconds: float = 3.0
    first_token_seconds: float | None = None
    is_free: bool = True


@dataclass
class Exchange:
    model: Any = None
    tried: list[Tried] = field(default_factory=list)
    first_token_seconds: float | None = None


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return Metrics()


def samples(metrics: Metrics) -> dict[str, float]:
    """The samples of the page by name and labels, without the prefix and the times of creation."""
    text = page(metrics, lambda: ()).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#") and "_created" not in line]
    return {name.removeprefix("ollama_proxy_"): float(value) for name, _, value in (s.rpartition(" ") for s in lines)}


def observed(**fields: Any) -> Observation:
    made = Observation("id", fields.pop("method", "POST"), "/a/client's/path")
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def answered(*models: str, **fields: Any) -> Observation:
    """A whole stream of the last of `models`, after the others have failed."""
    tried = [Tried(model, "rate limited") for model in models[:-1]] + [Tried(models[-1], first_token_seconds=0.7)]
    exchange = Exchange(SimpleNamespace(id=models[-1]), tried, 1.7)
    usual = {"route": "/api/chat", "api": "ollama", "status": 200, "exchange": exchange, "streamed": True}
    return observed(**{**usual, **fields})


def failed(*models: str, **fields: Any) -> Observation:
    exchange = Exchange(None, [Tried(model, "rate limited") for model in models])
    return observed(**{"route": "/api/chat", "api": "ollama", "status": 503, "exchange": exchange, **fields})


def verdict(blame: Blame) -> Verdict:
    return Verdict(blame=blame, status=403, message="", reason="")


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        pytest.param(
            {"route": "/api/tags", "status": 200}, 'method="POST",route="/api/tags",status="200"', id="a route"
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
    assert samples(metrics)[f"requests_total{{{labels}}}"] == 2


@pytest.mark.parametrize(
    "series",
    [
        'requests_total{method="POST",route="/api/chat",status="200"}',
        'requests_total{method="POST",route="/v1/messages",status="503"}',
        'answers_total{model="none",outcome="failed"}',
        'upstream_errors_total{blame="model rate limit"}',
        'upstream_errors_total{blame="account"}',
        "request_attempts_count",
        'request_attempts_bucket{le="1.0"}',
        "fallbacks_total",
        'first_token_seconds_count{api="ollama"}',
        'request_duration_seconds_count{api="anthropic"}',
        'tokens_total{caller="none",direction="in"}',
        'cost_dollars_total{caller="none"}',
        "open_streams",
    ],
)
def test_what_is_known_to_come_is_there_at_0_from_the_start(metrics: Metrics, series: str) -> None:
    assert samples(metrics)[series] == 0


def test_keys_queues_and_models_are_there_at_0_when_they_are_known(metrics: Metrics) -> None:
    metrics.expect(keys=["key 1", "key 2"], queues=["failures"])
    metrics.expect_models(["a/b:free"])
    found = samples(metrics)
    for series in (
        'tokens_total{caller="key 2",direction="out"}',
        'cost_dollars_total{caller="key 1"}',
        'writes_dropped_total{queue="failures"}',
        'answers_total{model="a/b:free",outcome="whole"}',
        'answers_total{model="a/b:free",outcome="broken"}',
        'model_failures_total{model="a/b:free"}',
        'model_first_token_seconds_count{model="a/b:free"}',
        'model_output_tokens_total{model="a/b:free"}',
    ):
        assert found[series] == 0, series


def test_a_stream_is_open_from_its_status_to_its_end(metrics: Metrics) -> None:
    stream, other = observed(streamed=True), observed(streamed=False)
    for observation in (stream, other):
        metrics.began(observation)
        metrics.answering(observation)
    metrics.answering(stream)  # a status that is set twice
    assert samples(metrics)["open_streams"] == 1
    metrics.ended(stream)
    metrics.ended(other)
    assert samples(metrics)["open_streams"] == 0


def test_a_stream_that_never_got_a_status_is_not_open(metrics: Metrics) -> None:
    metrics.ended(observed(streamed=True))
    assert samples(metrics)["open_streams"] == 0


def test_an_answer_is_counted_by_model_with_times_and_tokens(metrics: Metrics) -> None:
    metrics.ended(answered("a/b", prompt_tokens=3, completion_tokens=46, cost=0.25, key="key 1"))
    found = samples(metrics)
    expected = {
        'answers_total{model="a/b",outcome="whole"}': 1,
        "request_attempts_count": 1,
        "request_attempts_sum": 1,
        "fallbacks_total": 0,
        'first_token_seconds_sum{api="ollama"}': 1.7,
        'first_token_seconds_bucket{api="ollama",le="1.0"}': 0,
        'first_token_seconds_bucket{api="ollama",le="2.0"}': 1,
        'request_duration_seconds_count{api="ollama"}': 1,
        'model_first_token_seconds_sum{model="a/b"}': 0.7,
        'model_first_token_seconds_bucket{le="1.0",model="a/b"}': 1,
        'model_output_tokens_total{model="a/b"}': 46,
        'model_output_seconds_total{model="a/b"}': 2.3,
        'tokens_total{caller="key 1",direction="in"}': 3,
        'tokens_total{caller="key 1",direction="out"}': 46,
        'cost_dollars_total{caller="key 1"}': 0.25,
        'tokens_total{caller="none",direction="in"}': 0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_an_answer_in_one_piece_says_nothing_about_speed(metrics: Metrics) -> None:
    metrics.ended(answered("a/b", route="/v1/chat/completions", api="openai", streamed=False, completion_tokens=46))
    found = samples(metrics)
    assert found['model_output_tokens_total{model="a/b"}'] == 0
    assert found['tokens_total{caller="none",direction="out"}'] == 46


@pytest.mark.parametrize(
    ("observation", "attempts", "fallbacks"),
    [
        pytest.param(answered("a", "b"), 2, 1, id="the second model answered"),
        pytest.param(answered("a", "a"), 2, 0, id="the same model once more"),
        pytest.param(failed("a", "b", "c"), 3, 1, id="three models failed"),
        pytest.param(failed("a"), 1, 0, id="the only model failed"),
    ],
)
def test_attempts_and_fallbacks(metrics: Metrics, observation: Observation, attempts: int, fallbacks: int) -> None:
    metrics.ended(observation)
    found = samples(metrics)
    assert (found["request_attempts_sum"], found["request_attempts_count"]) == (attempts, 1)
    assert found["fallbacks_total"] == fallbacks


@pytest.mark.parametrize(
    ("observation", "series"),
    [
        pytest.param(failed("a", "b"), 'answers_total{model="none",outcome="failed"}', id="nobody answered"),
        pytest.param(
            failed(exchange=None, status=429), 'answers_total{model="none",outcome="failed"}', id="a limit holds"
        ),
        pytest.param(
            failed(exchange=None, status=400), 'answers_total{model="none",outcome="refused"}', id="a bad request"
        ),
        pytest.param(
            failed("a", "b", status=200, broken=True, streamed=True),
            'answers_total{model="none",outcome="broken"}',
            id="nobody answered after heartbeats had opened the stream",
        ),
        pytest.param(failed("a", left=True), 'answers_total{model="none",outcome="left"}', id="the client left early"),
        pytest.param(answered("m", broken=True), 'answers_total{model="m",outcome="broken"}', id="broken"),
        pytest.param(answered("m", left=True), 'answers_total{model="m",outcome="left"}', id="left in the middle"),
        pytest.param(answered("m", status=502), 'answers_total{model="m",outcome="failed"}', id="broken, but unseen"),
    ],
)
def test_how_a_request_for_an_answer_ended(metrics: Metrics, observation: Observation, series: str) -> None:
    metrics.ended(observation)
    found = samples(metrics)
    assert found[series] == 1
    assert sum(value for name, value in found.items() if name.startswith("answers_total")) == 1


def test_an_exchange_that_fails_after_a_heartbeat_is_counted(metrics: Metrics) -> None:
    world = World(catalog_of(record("a/one:free")), free_mode=True)
    world.upstream.replies["a/one:free"] = [account_limit(12), account_limit(60)]
    exchange = exchange_of(world)
    items = iter(exchange)
    assert next(items) is BEAT, "it goes out with status 200"
    with pytest.raises(ProxyError):
        list(items)
    exchange.close()
    metrics.ended(failed(exchange=exchange, status=200, broken=True, streamed=True))
    found = samples(metrics)
    assert found['answers_total{model="none",outcome="broken"}'] == 1
    assert found["request_attempts_sum"] == 2


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("models", [(), ("m",)], ids=["none", "m"])
def test_no_outcome_is_without_a_series(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch, models: tuple[str, ...], outcome: Outcome
) -> None:
    """Whatever comes: an observer that raises loses the rest of the counts."""
    monkeypatch.setattr(Observation, "outcome", outcome)
    metrics.ended(answered(*models) if models else failed("a"))
    assert samples(metrics)[f'answers_total{{model="{"".join(models) or "none"}",outcome="{outcome}"}}'] == 1


@pytest.mark.parametrize(
    "observation",
    [
        pytest.param(observed(route="/api/tags", api="ollama", status=200), id="a list"),
        pytest.param(observed(route="/api/chat", api="ollama", status=200), id="a model is loaded"),
        pytest.param(observed(route="", status=401), id="no access"),
    ],
)
def test_what_asks_no_model_is_no_answer(metrics: Metrics, observation: Observation) -> None:
    metrics.ended(observation)
    found = samples(metrics)
    assert all(value == 0 for name, value in found.items() if name.startswith(("answers_total", "request_duration")))


def test_failed_attempts_are_counted_by_blame_and_by_model(metrics: Metrics) -> None:
    metrics.failed("a/b", verdict(Blame.MODERATION))
    found = samples(metrics)
    assert found[f'upstream_errors_total{{blame="{Blame.MODERATION}"}}'] == 1
    assert found['model_failures_total{model="a/b"}'] == 1


def test_there_are_never_more_labels_than_a_bound(metrics: Metrics) -> None:
    for number in range(MOST_MODELS + 50):
        metrics.ended(answered(f"a/b-{number}", key=f"key {number}", prompt_tokens=1))
        metrics.failed(f"a/b-{number}", verdict(Blame.MODEL_FAILING))
    found = samples(metrics)
    models = {name for name in found if name.startswith("model_failures_total")}
    assert len(models) == MOST_MODELS + 1
    assert found['model_failures_total{model="others"}'] == 50
    callers = {name for name in found if name.startswith("cost_dollars_total")}
    assert len(callers) == MOST_CALLERS + 1
    assert found['tokens_total{caller="others",direction="in"}'] == 51  # one place is that of callers without a key


def test_dropped_writes_are_counted_by_queue(metrics: Metrics) -> None:
    metrics.writes_lost("failures", 3)
    assert samples(metrics)['writes_dropped_total{queue="failures"}'] == 3


def test_several_observers_are_told_the_same(metrics: Metrics) -> None:
    second = Metrics()
    both = Observers(metrics, second)
    observation = observed(streamed=True, status=200)
    both.began(observation)
    both.answering(observation)
    assert samples(metrics)["open_streams"] == samples(second)["open_streams"] == 1
    both.ended(observation)
    series = 'requests_total{method="POST",route="none",status="200"}'
    assert samples(metrics)[series] == samples(second)[series] == 1
