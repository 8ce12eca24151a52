"""What an exchange tells while it goes on: slow attempts; at DEBUG who may answer, why not the others, each attempt."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from ollama_proxy.catalog.target import chat_target
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.attempt import SLOW_SECONDS
from ollama_proxy.fallback.call import Call
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.fallback.explanation import ExplainedAttempt, ExplainedChoice
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.observation import Observation
from tests.unit.catalog.free_models import PAID, catalog_of, record
from tests.unit.fallback.scripted_upstream import Reply, World, good, only_comments, refusal, whole

A, B, C = "a/a:free", "b/b:free", "c/c:free"
RECORDS = [
    record(A, 300_000),
    record(B, 200_000, can=[]),
    record(C, 100_000),
    record("p/paid", 900_000, pricing=PAID),
    record("p/other", 900_000, pricing=PAID),
]
POOL = refusal(429, "Provider returned error", provider_name="X", raw="rate-limited upstream")

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> MakeWorld:
    def make(**settings: Any) -> World:
        return World(catalog_of(*RECORDS, free_mode=settings.get("free_mode", True)), **settings)

    return make


def run(world: World, name: str = "free", *, caller: str = "somebody", streamed: bool = True, **needs: Any) -> None:
    """One request to its end, whatever that is."""
    call = Call(
        chat_target(name, world.keeper.current(), strict=False),
        Needs(**needs),
        lambda model, *_: json.dumps({"model": model.id}).encode(),
        streamed=streamed,
        caller=caller,
        observation=Observation("the id", "POST", "/api/chat", address="10.0.0.7"),
    )
    with suppress(ProxyError):
        exchange = Exchange(world.backend, call)
        try:
            for _ in exchange:
                pass
            exchange.succeeded()
        finally:
            exchange.close()


def late(seconds: float) -> Reply:
    """An answer whose first token comes so late; its headers come at once."""
    return good(after=seconds)


def late_headers(seconds: float) -> Reply:
    return Reply(good().parts, headers_after=seconds)


@pytest.mark.parametrize("heartbeat", [3, 10, 600])
@pytest.mark.parametrize(
    ("reply", "slow"),
    [
        pytest.param(late(SLOW_SECONDS - 1), False, id="in time"),
        pytest.param(late(SLOW_SECONDS + 5), True, id="a late token"),
        pytest.param(late_headers(SLOW_SECONDS + 5), True, id="late headers"),
        pytest.param(only_comments(), True, id="only comments, until the time-out"),
    ],
)
def test_an_attempt_is_told_to_be_slow_once_and_in_time(
    make_world: MakeWorld, reply: Reply, slow: bool, heartbeat: float
) -> None:
    world = make_world(heartbeat_seconds=heartbeat)
    told: list[tuple[str, float, str, float]] = []
    world.backend.observe_slow = lambda observation, model, seconds: told.append(
        (model, seconds, observation.request_id, world.clock.now)
    )
    world.upstream.replies[A] = [reply]
    run(world)
    assert [(model, request_id) for model, _, request_id, _ in told] == ([(A, "the id")] if slow else [])
    for _, seconds, _, at in told:
        assert seconds == pytest.approx(at)
        # While it goes on: at most a second later (these comments come once a second, and each read waits for one).
        assert SLOW_SECONDS <= seconds <= SLOW_SECONDS + 1


def test_each_slow_attempt_is_told(make_world: MakeWorld) -> None:
    world = make_world()
    told: list[str] = []
    world.backend.observe_slow = lambda observation, model, seconds: told.append(model)
    world.upstream.replies[A] = [only_comments()]
    world.upstream.replies[B] = [late(SLOW_SECONDS + 1)]
    run(world)
    assert told == [A, B]


def test_a_whole_answer_can_be_slow_too(make_world: MakeWorld) -> None:
    world = make_world()
    told: list[str] = []
    world.backend.observe_slow = lambda observation, model, seconds: told.append(model)
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    world.upstream.replies[A] = [Reply(whole(body).parts, headers=whole(body).headers, headers_after=SLOW_SECONDS + 2)]
    run(world, streamed=False)
    assert told == [A]


class Heard:
    """An Explainer that keeps what it is told."""

    def __init__(self) -> None:
        self.choices: list[ExplainedChoice] = []
        self.attempts: list[ExplainedAttempt] = []

    def chosen(self, observation: Observation, choice: ExplainedChoice) -> None:
        assert observation.request_id == "the id"
        self.choices.append(choice)

    def attempted(self, observation: Observation, attempt: ExplainedAttempt) -> None:
        self.attempts.append(attempt)


def explained(world: World, name: str = "free", **asked: Any) -> Heard:
    heard = world.backend.explainer = Heard()
    run(world, name, **asked)
    return heard


def test_the_candidates_and_why_not_the_others(make_world: MakeWorld) -> None:
    world = make_world()
    [choice] = explained(world, tools=True).choices
    assert choice.candidates == (A, C)
    assert choice.left_out == {"does not support tools": [B], "not free": ["p/paid", "p/other"]}
    assert choice.suspected == frozenset()


def test_who_cools_down_is_left_out_and_who_failed_for_another_is_suspected(make_world: MakeWorld) -> None:
    world = make_world()
    world.upstream.replies[A] = [POOL]
    world.upstream.replies[B] = [refusal(502, "Bad gateway"), refusal(502, "Bad gateway")]
    world.upstream.replies[C] = [refusal(502, "Bad gateway")]
    run(world, caller="first")  # nobody answers: two models are suspected, for somebody else
    [choice] = explained(world, caller="second").choices
    assert choice.candidates == (B, C)
    assert choice.suspected == {B, C}
    assert choice.left_out["rate limited upstream"] == [A]
    [choice] = explained(world, caller="first").choices
    assert "it just failed for this caller" in choice.left_out


def test_outside_free_mode_nobody_else_was_looked_at(make_world: MakeWorld) -> None:
    [choice] = explained(make_world(free_mode=False), "p/paid").choices
    assert (choice.candidates, choice.left_out) == (("p/paid",), {})


def test_a_request_that_nobody_can_serve_is_explained_too(make_world: MakeWorld) -> None:
    [choice] = explained(make_world(), images=True).choices
    assert choice.candidates == ()
    assert choice.left_out["does not support image input"] == [A, B, C]


def test_each_attempt_has_its_status_and_the_time_to_its_headers(make_world: MakeWorld) -> None:
    world = make_world()
    world.upstream.replies[A] = [Reply(POOL.parts, 429, POOL.headers, headers_after=0.5)]
    world.upstream.replies[B] = [Reply([(2, part) for _, part in good().parts], headers_after=1.0)]
    failed, answered = explained(world).attempts
    assert (failed.model, failed.status, failed.headers_seconds) == (A, 429, 0.5)
    assert failed.reason == "rate limited upstream"
    assert (answered.model, answered.status, answered.headers_seconds) == (B, 200, 1.0)
    assert answered.first_token_seconds == pytest.approx(5.0)
    assert answered.reason is None
