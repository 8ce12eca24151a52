"""Who is tried, what follows from a failure, what the client gets: scripted answers, no sockets, no real time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from ollama_proxy.catalog.target import Target, chat_target, embedding_target
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.attempt import BEAT, StreamBroken
from ollama_proxy.fallback.call import Call
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.fallback.refusals import SHORTLY
from ollama_proxy.openrouter.answers.embeddings_dialect import EMBEDDINGS
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind
from tests.unit.catalog.free_models import PAID, catalog_of, record
from tests.unit.fallback.scripted_upstream import (
    COMMENT,
    DONE,
    EPOCH,
    ROLE,
    Reply,
    World,
    delta,
    event,
    finish,
    good,
    only_comments,
    refusal,
    unreachable,
    whole,
)

A, B, C, D, E, F = (f"{letter}/{letter}:free" for letter in "abcdef")
NAMES = (A, B, C, D, E, F)
RECORDS = [record(name, 600_000 - 1000 * place) for place, name in enumerate(NAMES)]
PAID_MODEL = "p/paid"

POOL = refusal(429, "Provider returned error", provider_name="X", raw="rate-limited upstream")
SERVER_ERROR = refusal(502, "Bad gateway")
PER_MINUTE = "Rate limit exceeded: free-models-per-min. "
PER_DAY = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
GONE = refusal(404, f"No endpoints found for {A}.")
PRIVACY = refusal(
    404,
    "No endpoints found matching your data policy (Free model publication)",
    failed_routing_step="Filter by Data Policy",
)
PROVIDER_400 = refusal(400, "Provider returned error", provider_name="X", raw='{"error": "bad schema"}')
BAD_REQUEST = refusal(400, "'models' array must have 3 items or fewer.")


def account_limit(reset_in: float, message: str = PER_MINUTE) -> Reply:
    reset = int((EPOCH + reset_in) * 1000)
    return refusal(429, message, headers={"X-RateLimit-Reset": str(reset)})


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> MakeWorld:
    def make(*, free_mode: bool = True, **settings: Any) -> World:
        catalog = catalog_of(*RECORDS, record(PAID_MODEL, pricing=PAID), free_mode=free_mode)
        return World(catalog, free_mode=free_mode, **settings)

    return make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


def body_for(model: Any, without: frozenset[str], at_most: int | None) -> bytes:
    body = {"model": model.id, "reasoning": {"effort": "none"}, "tool_choice": "auto", "max_tokens": 9999}
    body = {key: value for key, value in body.items() if key not in without}
    return json.dumps(body if at_most is None else {**body, "max_tokens": at_most}).encode()


def exchange_of(world: World, name: str = "free", **options: Any) -> Exchange:
    needs, embedding = options.pop("needs", Needs()), options.pop("embedding", False)
    return Exchange(world.backend, Call(target_of(world, name, embedding=embedding), needs, body_for, **options))


def target_of(world: World, name: str, *, embedding: bool = False) -> Target:
    catalog = world.backend.catalog()
    return embedding_target(name, catalog) if embedding else chat_target(name, catalog, strict=False)


def run(exchange: Exchange) -> str:
    """The text of the answer, and after it a success."""
    text = text_of(itertools.chain.from_iterable(item for item in exchange if item is not BEAT))  # type: ignore[misc]
    exchange.succeeded()
    exchange.close()
    return text


def text_of(payloads: Any) -> str:
    chunks = [json.loads(payload) for payload in payloads if payload != b"[DONE]"]
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk.get("choices", ()))


def refused(exchange: Exchange) -> ProxyError:
    """The error that the exchange ends in. Nothing of any answer may have been passed on."""
    passed_on = []
    with pytest.raises(ProxyError) as caught:
        passed_on.extend(exchange)
    exchange.close()
    assert all(item is BEAT for item in passed_on)
    return caught.value


def left(world: World, model_id: str) -> float | None:
    """Seconds that a model cools down."""
    model = next(model for model in world.keeper.current().known() if model.id == model_id)
    cooling = world.memory.cooling(model, world.clock.time())
    return None if cooling is None else pytest.approx(cooling.until - world.clock.time())


# The order of the candidates


def test_the_largest_answers_for_free(world: World) -> None:
    exchange = exchange_of(world)
    assert run(exchange) == A
    assert exchange.model is not None
    assert (exchange.model.id, world.upstream.models) == (A, [A])
    assert list(world.memory.rows()) == []


def test_the_asked_one_comes_first_then_the_others_by_context(world: World) -> None:
    for name in (C, A):
        world.upstream.replies[name] = [SERVER_ERROR]
    exchange = exchange_of(world, "c:free")
    assert run(exchange) == B
    assert world.upstream.models == [C, A, B]
    assert [(tried.model, bool(tried.reason)) for tried in exchange.tried] == [(C, True), (A, True), (B, False)]
    assert world.observed == [(C, exchange.tried[0].reason), (A, exchange.tried[1].reason)]


def test_a_cooling_model_is_left_out_and_tried_again_after_its_cooldown(world: World) -> None:
    world.upstream.replies[A] = [SERVER_ERROR]
    run(exchange_of(world, "nosuch"))
    run(exchange_of(world, "nosuch"))
    assert world.upstream.models == [A, B, B]
    world.clock.now += 301
    assert run(exchange_of(world, "nosuch")) == A
    assert left(world, A) is None


def test_a_model_that_cools_down_meanwhile_is_passed_over(world: World) -> None:
    world.upstream.replies[A] = [Reply(SERVER_ERROR.parts, 502, SERVER_ERROR.headers, headers_after=15), SERVER_ERROR]
    world.upstream.replies[B] = [SERVER_ERROR]
    slow = exchange_of(world)
    assert next(iter(slow)) is BEAT
    assert run(exchange_of(world, "b:free")) == C
    assert run(slow) == C
    assert world.upstream.models == [A, B, A, C, C]


def test_outside_free_mode_only_the_asked_model_is_tried(make_world: MakeWorld) -> None:
    world = make_world(free_mode=False)
    world.upstream.replies[PAID_MODEL] = [SERVER_ERROR]
    assert refused(exchange_of(world, PAID_MODEL)).status == 502
    assert world.upstream.models == [PAID_MODEL]
    # Nobody may stand in for it, so it is asked again whatever is remembered.
    assert run(exchange_of(world, PAID_MODEL)) == PAID_MODEL


def test_free_falls_back_outside_free_mode_too(make_world: MakeWorld) -> None:
    world = make_world(free_mode=False)
    world.upstream.replies[A] = [only_comments()]
    assert run(exchange_of(world, "free:latest")) == B
    run(exchange_of(world))
    assert world.upstream.models == [A, B, B]


def test_no_model_stands_in_for_an_embedding_model() -> None:
    embedding = record("v/v:free", architecture={"input_modalities": ["text"], "output_modalities": ["embeddings"]})
    world = World(catalog_of(*RECORDS, embeddings=[embedding]))
    world.upstream.replies["v/v:free"] = [SERVER_ERROR, whole({"data": [{"embedding": [1]}]})]
    call = {"embedding": True, "streamed": False, "dialect": EMBEDDINGS, "path": "/embeddings"}
    assert refused(exchange_of(world, "v:free", **call)).status == 502
    [items] = exchange_of(world, "v:free", **call)
    assert json.loads(items[0])["data"]  # type: ignore[index]
    assert world.upstream.models == ["v/v:free", "v/v:free"]


# Failures before the first delta


FIRST_FAILURES = {
    "429 of the provider": POOL,
    "5xx": SERVER_ERROR,
    "neither JSON nor a stream": Reply([(0, b"oops")], headers={"Content-Type": "text/plain"}),
    "sent, and no answer": unreachable("the connection was reset", sent=True),
    "HTML error page": Reply([(0, b"<html>oops</html>")], 520, {"Content-Type": "text/html"}),
    "200 with an error in its JSON": whole({"error": {"code": 503, "message": "overloaded", "metadata": {}}}),
    "error event before any delta": Reply([(0, ROLE), (0, event({"error": {"code": 502, "message": "x"}}))]),
    "finish reason error": Reply([(0, event({"choices": [{"delta": {}, "finish_reason": "error"}]}))]),
    "empty answer": Reply([(0, ROLE), (0, finish(tokens=0) + DONE)]),
    "empty choices and no usage": Reply([(0, event({"choices": []}) + DONE)]),
    "whole body without choices": whole({"id": "gen", "choices": []}),
    "whole body with an empty message": whole(
        {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}], "usage": {"completion_tokens": 0}}
    ),
    "stream that ends at once": Reply([]),
    "stream that ends after comments": Reply([(0, COMMENT)]),
    "stream that ends after the role": Reply([(0, ROLE)]),
    "connection lost before any delta": Reply([(0, ROLE)], breaks=True),
    "payload that is no JSON": Reply([(0, event(b"<html>"))]),
    "JSON cut short": Reply([(0, b'{"choices": [')], headers={"Content-Type": "application/json"}),
    "only comments": only_comments(),
    "only empty deltas": Reply((1.0, ROLE) for _ in itertools.count()),
    "headers never come": Reply(headers_after=1e9),
    "model gone": GONE,
    "privacy": PRIVACY,
    "refused by the provider": PROVIDER_400,
}


@pytest.mark.parametrize("reply", FIRST_FAILURES.values(), ids=FIRST_FAILURES.keys())
def test_a_failure_before_the_first_delta_is_unseen(world: World, reply: Reply) -> None:
    world.upstream.replies[A] = [reply]
    exchange = exchange_of(world)
    assert run(exchange) == B
    assert exchange.tried[0].reason
    assert all(call.is_closed for call in world.upstream.calls)


@pytest.mark.parametrize("failure", ["5xx", "only comments", "whole body without choices", "sent, and no answer"])
def test_whole_answers_fail_over_alike(world: World, failure: str) -> None:
    world.upstream.replies[A] = [FIRST_FAILURES[failure]]
    answer = {"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}
    world.upstream.replies[B] = [whole(answer)]
    items = [item for item in exchange_of(world, streamed=False) if item is not BEAT]
    assert [json.loads(burst[0]) for burst in items] == [answer]  # type: ignore[index]


def test_a_whole_answer_to_a_streamed_call_becomes_one_chunk(world: World) -> None:
    world.upstream.replies[A] = [whole({"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]})]
    assert run(exchange_of(world)) == "whole"


def test_half_a_surrogate_pair_in_a_whole_answer_to_a_streamed_call_is_no_failure(world: World) -> None:
    world.upstream.replies[A] = [whole({"choices": [{"message": {"content": "x\ud83d"}, "finish_reason": "stop"}]})]
    assert run(exchange_of(world)) == "x\ud83d"


def test_an_answer_without_text_that_cost_tokens_is_one(world: World) -> None:
    world.upstream.replies[A] = [Reply([(0, ROLE), (0, finish("length", tokens=5) + DONE)])]
    exchange = exchange_of(world)
    assert run(exchange) == ""
    assert world.upstream.models == [A]
    assert exchange.complete


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        pytest.param(POOL, 60, id="rate limit"),
        pytest.param(SERVER_ERROR, 300, id="failing"),
        pytest.param(only_comments(), 300, id="silent"),
        pytest.param(GONE, 86_400, id="gone"),
        pytest.param(PRIVACY, 86_400, id="privacy"),
        pytest.param(PROVIDER_400, None, id="capability"),
    ],
)
def test_what_a_failure_leaves_behind(world: World, reply: Reply, seconds: float | None) -> None:
    world.upstream.replies[A] = [reply]
    run(exchange_of(world))
    cooling = left(world, A)
    assert cooling == seconds


# How long is waited


def test_comments_do_not_reset_the_first_token_deadline_and_heartbeats_go_on(world: World) -> None:
    world.upstream.replies[A] = [only_comments(every=0.5)]
    items = list(exchange_of(world))
    assert [item is BEAT for item in items].index(False) == 1  # at 10 s; then the next model answers
    assert world.upstream.asked_at == [0, pytest.approx(16, abs=1)]


def test_the_last_model_that_may_be_tried_has_the_full_time(make_world: MakeWorld) -> None:
    world = make_world(max_attempts=2)
    for name in NAMES:
        world.upstream.replies[name] = [only_comments(every=0.5)]
    refused(exchange_of(world))
    assert world.upstream.asked_at == [0, pytest.approx(16, abs=1)]
    assert world.clock.now == pytest.approx(16 + 30, abs=1)


def test_a_model_has_three_times_its_usual_time(world: World) -> None:
    for _ in range(3):
        world.upstream.replies[A] = [good(A, after=4)]
        run(exchange_of(world, "nosuch"))
    world.upstream.replies[A] = [only_comments(every=0.5)]
    run(exchange_of(world, "nosuch"))
    assert world.upstream.asked_at == [0, 4, 8, 12, pytest.approx(24, abs=1)]


def test_heartbeats_are_due_while_headers_are_awaited(make_world: MakeWorld) -> None:
    world = make_world(first_token_timeout_seconds=100, max_attempts=1)
    world.upstream.replies[A] = [Reply(good().parts, headers_after=35)]
    exchange = exchange_of(world)
    items = list(exchange)
    assert [item is BEAT for item in items][:4] == [True, True, True, False]
    assert exchange.accepted_ns == 35_000_000_000


def test_the_budget_shortens_the_last_attempt_and_ends_the_search(make_world: MakeWorld) -> None:
    world = make_world(fallback_budget_seconds=70, max_attempts=10)
    for name in NAMES:
        world.upstream.replies[name] = [only_comments()]
    error = refused(exchange_of(world))
    assert world.upstream.asked_at == [0, *[pytest.approx(16 * attempt, abs=2) for attempt in (1, 2, 3, 4)]]
    assert world.clock.now == pytest.approx(70, abs=2)
    assert (error.status, "FALLBACK_BUDGET_SECONDS" in error.message) == (503, True)


def test_the_budget_never_ends_an_answer_that_has_begun(make_world: MakeWorld) -> None:
    world = make_world(fallback_budget_seconds=5)
    world.upstream.replies[A] = [Reply([(0, delta("a")), (100, delta("b")), (0, finish() + DONE)])]
    assert run(exchange_of(world)) == "ab"


def test_silence_inside_an_answer_ends_it(make_world: MakeWorld) -> None:
    world = make_world(upstream_read_timeout_seconds=40)
    world.upstream.replies[A] = [Reply([(0, delta("a")), (1e9, b"")])]
    exchange = exchange_of(world)
    with pytest.raises(StreamBroken) as caught:
        list(exchange)
    assert caught.value.failure.kind is FailureKind.READ_TIMEOUT
    assert world.clock.now == pytest.approx(40, abs=1)


def test_comments_keep_a_begun_answer_alive(make_world: MakeWorld) -> None:
    world = make_world(upstream_read_timeout_seconds=40)
    parts = [(0.0, delta("a")), *[(30.0, COMMENT)] * 5, (30.0, delta("b")), (0.0, finish() + DONE)]
    world.upstream.replies[A] = [Reply(parts)]
    items = list(exchange_of(world))
    assert sum(item is BEAT for item in items) >= 15


def test_outside_free_mode_there_is_no_first_token_deadline_but_silence_ends_the_call(make_world: MakeWorld) -> None:
    world = make_world(free_mode=False, upstream_read_timeout_seconds=120)
    world.upstream.replies[PAID_MODEL] = [Reply([*[(60.0, COMMENT)] * 10, *good("late").parts])]
    assert run(exchange_of(world, PAID_MODEL)) == "late"
    world.upstream.replies[PAID_MODEL] = [Reply([(0, COMMENT), (1e9, b"")])]
    assert refused(exchange_of(world, PAID_MODEL)).status == 504


def test_a_burst_of_which_the_client_hears_nothing_does_not_put_off_the_heartbeat(world: World) -> None:
    world.upstream.replies[A] = [Reply([(0, delta("a")), *[(4.0, delta("b"))] * 5, (0, finish() + DONE)])]
    exchange = exchange_of(world)
    beats = []
    for item in exchange:
        if item is BEAT:
            beats.append(world.clock.now)
        elif world.clock.now:
            exchange.unheard()
    assert beats == [pytest.approx(10, abs=0.1), pytest.approx(20, abs=0.1)]


# How many attempts


def test_at_most_max_attempts(make_world: MakeWorld) -> None:
    world = make_world(max_attempts=3)
    for name in NAMES:
        world.upstream.replies[name] = [SERVER_ERROR]
    error = refused(exchange_of(world))
    assert world.upstream.models == [A, B, C]
    assert (error.status, "MAX_ATTEMPTS is 3" in error.message) == (503, True)
    assert error.retry_after is None  # D could be tried at once


def test_after_the_last_candidate_the_soonest_return_is_told(make_world: MakeWorld) -> None:
    world = make_world(max_attempts=10)
    for name in NAMES:
        world.upstream.replies[name] = [SERVER_ERROR]
    world.upstream.replies[C] = [POOL]
    error = refused(exchange_of(world))
    assert (error.status, error.retry_after) == (503, 30)
    assert "a:free: HTTP 502 provider error" in error.message
    # The next request of this caller is told without a call.
    error = refused_at_once(world)
    assert (error.status, error.retry_after) == (503, 30)
    assert "the first back is a:free in 30 s (it just failed for this caller)" in error.message
    assert len(world.upstream.asked) == 6


def refused_at_once(world: World, name: str = "free", **options: Any) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        exchange_of(world, name, **options)
    return caught.value


def test_the_own_count_stops_fallback_but_never_a_first_attempt(make_world: MakeWorld) -> None:
    world = make_world(free_requests_per_minute=2)
    for name in (A, B, C):
        world.upstream.replies[name] = [SERVER_ERROR]
    error = refused(exchange_of(world))
    assert world.upstream.models == [A, B]
    assert "FREE_REQUESTS_PER_MINUTE is 2" in error.message
    assert refused(exchange_of(world)).status == 502  # one attempt, with C, and no other
    assert run(exchange_of(world)) == D
    assert world.upstream.models == [A, B, C, D]


def test_after_three_alike_the_error_goes_to_the_client(world: World) -> None:
    for name in NAMES:
        world.upstream.replies[name] = [PROVIDER_400]
    error = refused(exchange_of(world))
    assert (error.status, world.upstream.models) == (400, [A, B, C])
    assert list(world.memory.rows()) == []


def test_other_failures_between_do_not_count_as_alike(world: World) -> None:
    for name, reply in zip((A, B, C), (PROVIDER_400, SERVER_ERROR, PROVIDER_400), strict=True):
        world.upstream.replies[name] = [reply]
    assert run(exchange_of(world)) == D


# What stops at once


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        pytest.param(BAD_REQUEST, 400, "3 items or fewer", id="a bad request"),
        pytest.param(refusal(401, "User not found."), 502, "OPENROUTER_API_KEY", id="a bad key"),
        pytest.param(refusal(402, "Insufficient credits. Add more"), 502, "credits", id="no credits"),
        pytest.param(refusal(403, "Key limit exceeded (daily limit)."), 502, "key", id="key limit"),
        pytest.param(account_limit(3600, PER_DAY), 429, "resets at", id="the daily limit"),
        pytest.param(refusal(429, "Slow down", provider_name=None), 429, "try again", id="a 429 of nobody"),
        pytest.param(refusal(404, "Not Found"), 502, "OPENROUTER_BASE_URL", id="no such endpoint"),
        pytest.param(
            Reply([(0, b"<html>hello</html>")], headers={"Content-Type": "text/html"}),
            502,
            "OPENROUTER_BASE_URL",
            id="a web page",
        ),
        pytest.param(Reply(failure=Failure(FailureKind.NOT_HTTP)), 502, "OPENROUTER_BASE_URL", id="not HTTP"),
    ],
)
def test_what_no_other_model_can_help_stops_the_request(world: World, reply: Reply, status: int, words: str) -> None:
    world.upstream.replies[A] = [reply]
    error = refused(exchange_of(world))
    assert (error.status, world.upstream.models) == (status, [A])
    assert words in error.message
    assert list(world.memory.rows()) == []


def test_the_network_gets_one_more_try(world: World) -> None:
    world.upstream.replies[A] = [unreachable()]
    assert run(exchange_of(world)) == A
    world.upstream.replies[A] = [unreachable(), SERVER_ERROR]
    world.upstream.replies[B] = [unreachable()]
    error = refused(exchange_of(world))
    assert (error.status, "cannot be reached" in error.message) == (502, True)
    assert world.upstream.models == [A, A, A, A, B]
    assert list(world.memory.rows()) == []  # the network is nobody's fault, and nothing proves the 502 to be A's


def test_what_was_sent_whole_is_not_sent_to_a_model_that_costs_again(make_world: MakeWorld) -> None:
    world = make_world(free_mode=False)
    world.upstream.replies[PAID_MODEL] = [unreachable("the connection was reset", sent=True)]
    error = refused(exchange_of(world, PAID_MODEL))
    assert (error.status, world.upstream.models) == (502, [PAID_MODEL])


def test_a_rate_limit_without_a_time_gets_one(make_world: MakeWorld) -> None:
    world = make_world(free_mode=False)
    world.upstream.replies[A] = [POOL]
    error = refused(exchange_of(world, A))
    assert (error.status, error.retry_after) == (429, SHORTLY)


def test_an_account_limit_stops_everything_with_one_call_and_lifts(world: World) -> None:
    world.upstream.replies[A] = [account_limit(3600, PER_DAY)]
    assert refused(exchange_of(world)).retry_after == 3600
    world.clock.now += 600
    for name in ("free", "c:free"):
        error = refused_at_once(world, name)
        assert (error.status, error.retry_after) == (429, 3000)
        assert "free-models-per-day" in error.message
    assert len(world.upstream.asked) == 1
    world.clock.now += 3000
    assert run(exchange_of(world)) == A


def test_a_free_limit_does_not_stop_paid_models(make_world: MakeWorld) -> None:
    world = make_world(free_mode=False)
    world.upstream.replies[A] = [account_limit(3600, PER_DAY)]
    assert refused(exchange_of(world)).status == 429
    assert run(exchange_of(world, PAID_MODEL)) == PAID_MODEL
    assert refused_at_once(world, "free").status == 429


def test_a_key_error_is_not_hammered(world: World) -> None:
    world.upstream.replies[A] = [refusal(401, "User not found.")]
    refused(exchange_of(world))
    assert refused_at_once(world).status == 502
    world.clock.now += 61
    assert run(exchange_of(world)) == A


def test_a_limit_that_another_request_met_stops_this_one_too(world: World) -> None:
    world.upstream.replies[A] = [Reply(SERVER_ERROR.parts, 502, SERVER_ERROR.headers, headers_after=15)]
    world.upstream.replies[B] = [account_limit(3600, PER_DAY)]
    slow = exchange_of(world)
    run_on = iter(slow)
    assert next(run_on) is BEAT
    refused(exchange_of(world, "b:free"))
    assert refused(slow).status == 429
    assert world.upstream.models == [A, B]


# Waiting for a limit to lift


def test_a_limit_that_resets_soon_is_waited_for_with_heartbeats(world: World) -> None:
    world.upstream.replies[A] = [account_limit(12)]
    exchange = exchange_of(world)
    items = list(exchange)
    assert items[0] is BEAT
    assert world.upstream.models == [A, A]
    assert 12 <= world.upstream.asked_at[1] < 12.5
    assert len(exchange.tried) == 2


def test_a_limit_known_already_is_waited_for_too(world: World) -> None:
    world.upstream.replies[A] = [account_limit(20)]
    assert refused(exchange_of(world)).status == 429
    world.clock.now += 8
    assert run(exchange_of(world)) == A
    assert world.upstream.asked_at[1] >= 20


def test_it_is_waited_for_once(world: World) -> None:
    world.upstream.replies[A] = [account_limit(5), account_limit(8)]
    assert refused(exchange_of(world)).status == 429
    assert len(world.upstream.asked) == 2


def test_of_many_waiting_requests_one_finds_the_limit_closed_again(world: World) -> None:
    world.upstream.replies[A] = [account_limit(13), account_limit(100)]
    first = exchange_of(world)
    assert next(iter(first)) is BEAT
    others = [exchange_of(world) for _ in range(3)]
    for exchange in (first, *others):
        assert refused(exchange).status == 429
    assert len(world.upstream.asked) == 2


def test_a_waiting_request_is_not_stopped_by_the_own_count(make_world: MakeWorld) -> None:
    world = make_world(free_requests_per_minute=1)
    world.upstream.replies[A] = [account_limit(5)]
    assert run(exchange_of(world)) == A


@pytest.mark.parametrize(
    ("settings", "reset_in"),
    [
        pytest.param({"ratelimit_wait_seconds": 3}, 5, id="too long"),
        pytest.param({"ratelimit_wait_seconds": 0}, 5, id="never"),
        pytest.param({"max_attempts": 1}, 5, id="without an attempt left"),
        pytest.param({"fallback_budget_seconds": 4}, 5, id="beyond the budget"),
    ],
)
def test_it_is_not_waited_for(make_world: MakeWorld, settings: dict[str, Any], reset_in: float) -> None:
    world = make_world(**settings)
    world.upstream.replies[A] = [account_limit(reset_in)]
    error = refused(exchange_of(world))
    assert (error.status, error.retry_after, len(world.upstream.asked)) == (429, 5, 1)


# The same model again, with a changed request


@pytest.mark.parametrize(
    ("reply", "changed"),
    [
        pytest.param(
            refusal(400, "Reasoning is mandatory for this endpoint and cannot be disabled."),
            {"tool_choice": "auto", "max_tokens": 9999},
            id="without reasoning",
        ),
        pytest.param(
            refusal(404, "No endpoints found that support the provided 'tool_choice' value."),
            {"reasoning": {"effort": "none"}, "max_tokens": 9999},
            id="without tool_choice",
        ),
        pytest.param(
            refusal(
                402,
                "This request requires more credits, or fewer max_tokens. "
                "You requested up to 9999 tokens, but can only afford 100.",
            ),
            {"reasoning": {"effort": "none"}, "tool_choice": "auto", "max_tokens": 100},
            id="with fewer max_tokens",
        ),
    ],
)
def test_a_request_that_can_be_mended_is_mended(world: World, reply: Reply, changed: dict[str, Any]) -> None:
    world.upstream.replies[A] = [reply]
    assert run(exchange_of(world)) == A
    assert world.upstream.models == [A, A]
    assert {key: value for key, value in world.upstream.asked[1].items() if key != "model"} == changed
    # Nobody else is stopped by what was no fault of model or account.
    assert run(exchange_of(world)) == A


def test_it_is_mended_once(world: World) -> None:
    mandatory = refusal(400, "Reasoning is mandatory for this endpoint and cannot be disabled.")
    world.upstream.replies[A] = [mandatory, mandatory]
    assert run(exchange_of(world)) == B
    assert world.upstream.models == [A, A, B]


@pytest.mark.parametrize(
    ("message", "answer", "asked"),
    [
        pytest.param("Invalid Responses API request", None, [A], id="the request is to blame"),
        pytest.param("Unknown tool type: custom", B, [A, B], id="the model is to blame"),
    ],
)
def test_what_a_change_leaves_as_it_is_is_not_sent_again(
    world: World, message: str, answer: str | None, asked: list[str]
) -> None:
    """Each try costs one of the day's free requests, and the same bytes get the same refusal."""
    world.upstream.replies[A] = [refusal(400, message)] * 2
    if answer is None:
        assert refused(exchange_of(world)).status == 400
    else:
        assert run(exchange_of(world)) == answer
    assert world.upstream.models == asked


def test_a_402_that_stays_stops_everything(world: World) -> None:
    fewer = refusal(402, "This request requires more credits, or fewer max_tokens. You can only afford 100.")
    world.upstream.replies[A] = [fewer, fewer]
    assert refused(exchange_of(world)).status == 502
    assert refused_at_once(world).status == 502
    assert world.upstream.models == [A, A]


# Privacy, gone models


def test_if_all_say_privacy_the_settings_page_is_named(make_world: MakeWorld) -> None:
    world = make_world(max_attempts=10)
    for name in NAMES:
        world.upstream.replies[name] = [PRIVACY]
    for error in (refused(exchange_of(world)), refused_at_once(world)):
        assert error.status == 502
        assert "https://openrouter.ai/settings/privacy" in error.message
    assert len(world.upstream.asked) == len(NAMES)


def test_what_the_clients_own_providers_rule_out_is_not_remembered(world: World) -> None:
    for name, reply in ((A, PRIVACY), (B, GONE)):
        world.upstream.replies[name] = [reply]
    assert run(exchange_of(world, own_provider=True)) == C
    assert (list(world.memory.rows()), world.keeper.forgotten) == ([], [])
    assert run(exchange_of(world)) == A


def test_a_gone_model_leaves_and_the_list_is_refreshed(world: World) -> None:
    world.upstream.replies[A] = [GONE]
    run(exchange_of(world))
    assert (world.keeper.forgotten, world.keeper.refreshes) == ([A], 1)
    run(exchange_of(world))
    assert (world.upstream.models, world.keeper.refreshes) == ([A, B, B], 1)


# After the first delta


@pytest.mark.parametrize("breaks", [True, False], ids=["connection lost", "ended without an end"])
def test_after_the_first_delta_nothing_is_tried_again_and_two_callers_prove_it(world: World, breaks: bool) -> None:
    world.upstream.replies[A] = [Reply([(0, delta("half"))], breaks=breaks)] * 2
    break_off(exchange_of(world, caller="one"))
    assert (world.upstream.models, left(world, A)) == ([A], None)
    world.clock.sleep(31)  # until then all others are rather sent elsewhere
    break_off(exchange_of(world, "a/a:free", caller="another"))
    assert (world.upstream.models, left(world, A)) == ([A, A], 300)


def break_off(exchange: Exchange) -> None:
    """The answer ends after its first delta."""
    bursts = [item for item in exchange if item is not BEAT]
    assert text_of(itertools.chain.from_iterable(bursts)) == "half"  # type: ignore[arg-type]
    assert not exchange.complete
    error = exchange.broken(Failure(FailureKind.EARLY_CLOSE))
    exchange.close()
    assert error.status == 502
    assert "upstream error" in error.message
    assert exchange.tried[0].reason == "stream ended early"


def test_an_error_behind_the_first_delta_is_passed_on(world: World) -> None:
    failing = event({"error": {"code": 502, "message": "x"}, "choices": []})
    world.upstream.replies[A] = [Reply([(0, delta("half") + failing)])]
    [burst] = [item for item in exchange_of(world) if item is not BEAT]
    assert len(burst) == 2  # type: ignore[arg-type]
    assert world.upstream.models == [A]


# Ends


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(headers_after=1e9), id="while headers are awaited"),
        pytest.param(only_comments(), id="while the first delta is awaited"),
        pytest.param(Reply([(0, delta("a")), (1e9, b"")]), id="in the middle of the answer"),
        pytest.param(account_limit(14), id="while a limit is waited for"),
    ],
)
def test_a_client_that_goes_closes_upstream_and_marks_nobody(world: World, reply: Reply) -> None:
    world.upstream.replies[A] = [reply]
    exchange = exchange_of(world)
    next(iter(exchange))
    exchange.close()
    exchange.close()
    assert all(call.is_closed for call in world.upstream.calls)
    assert list(world.memory.rows()) == []
    assert world.upstream.models == [A]


class _Gone(BaseException):
    """What is raised into a request whose client has gone."""


def test_an_exception_in_a_wait_closes_upstream(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(timeout: float) -> bool:
        raise _Gone

    exchange = exchange_of(world)
    start = world.upstream.start

    def start_and_raise(*args: Any) -> Any:
        call = start(*args)
        call.wait = raising  # type: ignore[method-assign]
        return call

    monkeypatch.setattr(world.backend, "start", start_and_raise)
    with pytest.raises(_Gone):
        list(exchange)
    assert world.upstream.calls[0].cancelled
    assert list(world.memory.rows()) == []


def test_a_body_that_cannot_be_made_leaves_no_call_behind(world: World) -> None:
    def broken(*_: Any) -> bytes:
        raise RuntimeError("no body")

    exchange = Exchange(world.backend, Call(target_of(world, "free"), Needs(), broken))
    with pytest.raises(RuntimeError):
        list(exchange)
    exchange.close()
    assert (world.upstream.calls, exchange.tried) == ([], [])


def test_an_exchange_that_was_never_iterated_can_be_closed(world: World) -> None:
    exchange_of(world).close()
    assert world.upstream.calls == []
