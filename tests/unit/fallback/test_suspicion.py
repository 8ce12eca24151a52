"""Is it the model, or the request? Requests of several callers through models that fail, on a clock that is ours."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ollama_proxy.catalog.target import chat_target
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.call import Call
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.fallback.suspicion import PROOF_SECONDS, SPEAKS_SECONDS, SUSPECT_SECONDS, Suspicions
from tests.unit.catalog.free_models import catalog_of, record
from tests.unit.fallback.scripted_upstream import COMMENT, Reply, World, good, only_comments, refusal

MODELS = [f"v/m{number:02d}:free" for number in range(17)]
RECORDS = [record(name, 900_000 - 1000 * place) for place, name in enumerate(MODELS)]
FIRST, SECOND, THIRD = MODELS[:3]
DOWN = refusal(502, "Bad gateway")
EMPTY = Reply([(0, COMMENT), (0, b"data: [DONE]\n\n")])

POISONS = {
    "every provider answers 502": lambda: DOWN,
    "no first token comes": only_comments,
    "the answer is empty": lambda: EMPTY,
}


@pytest.fixture
def world() -> World:
    return World(catalog_of(*RECORDS), free_requests_per_minute=0)


def ask(world: World, caller: str, name: str = "nosuch") -> str | ProxyError:
    """The model that answered, or the error."""

    def body_for(model: Any, without: frozenset[str], at_most: int | None) -> bytes:
        return b'{"model": "%b"}' % model.id.encode()

    target = chat_target(name, world.backend.catalog(), strict=False)
    try:
        exchange = Exchange(world.backend, Call(target, Needs(), body_for, caller=caller))
        list(exchange)
    except ProxyError as error:
        return error
    exchange.succeeded()
    exchange.close()
    assert exchange.model is not None
    return exchange.model.id


def poison(world: World, caller: str, kind: str) -> ProxyError:
    """A request that fails on every model, whatever their state."""
    for name in MODELS:
        world.upstream.replies[name] = [POISONS[kind]()]
    error = ask(world, caller)
    for name in MODELS:
        world.upstream.replies[name].clear()
    assert isinstance(error, ProxyError)
    return error


def rows(world: World) -> dict[str, int]:
    return {row.model: row.count for row in world.memory.rows()}


@pytest.mark.parametrize("kind", POISONS)
def test_poison_of_one_caller_leaves_no_row_and_others_are_answered_at_once(world: World, kind: str) -> None:
    for _ in range(20):
        poison(world, "poisoner", kind)
        asked = len(world.upstream.asked)
        assert not isinstance(ask(world, "other"), ProxyError)
        assert len(world.upstream.asked) == asked + 1, "the other caller's first attempt is answered"
        world.clock.sleep(1)
    assert rows(world) == {}


def test_poison_without_anybody_else_leaves_no_row_and_tries_each_model_once_in_half_a_minute(world: World) -> None:
    for _ in range(20):
        poison(world, "poisoner", "every provider answers 502")
    assert rows(world) == {}
    assert sorted(world.upstream.models) == MODELS


def test_a_poisoned_caller_is_told_when_to_come_back(world: World) -> None:
    for _ in range(4):
        poison(world, "poisoner", "every provider answers 502")
    error = poison(world, "poisoner", "every provider answers 502")
    assert (error.status, error.retry_after) == (503, 30)
    world.clock.sleep(SUSPECT_SECONDS)
    assert ask(world, "poisoner") == FIRST


def test_a_request_that_fails_where_others_are_answered_ends_early(world: World) -> None:
    for name in MODELS[:4]:
        assert ask(world, "other", name) == name
    before = len(world.upstream.asked)
    error = poison(world, "poisoner", "every provider answers 502")
    assert len(world.upstream.asked) - before == 3
    assert error.status == 502
    assert "Bad gateway" in error.message


def test_models_that_are_down_are_known_after_one_good_request(world: World) -> None:
    """Three of 17 are one vendor's: a real outage must not look like a bad request."""
    for name in MODELS[:3]:
        world.upstream.replies[name] = [DOWN]
    assert ask(world, "one") == MODELS[3]
    assert rows(world) == {FIRST: 1, SECOND: 1, THIRD: 1}
    world.clock.sleep(299)
    assert ask(world, "another") == MODELS[3]
    assert len(world.upstream.asked) == 5
    world.clock.sleep(2)
    assert ask(world, "another") == FIRST


def test_a_model_that_answered_somebody_else_stays_a_suspect_whatever_follows(world: World) -> None:
    assert ask(world, "other", FIRST) == FIRST
    world.upstream.replies[FIRST] = [DOWN]
    assert ask(world, "one") == SECOND
    assert rows(world) == {}
    # For others it is behind the unsuspected ones, but still there.
    assert ask(world, "other") == SECOND
    for name in MODELS[1:]:
        world.upstream.replies[name] = [refusal(429, "Provider returned error", provider_name="X")]
    assert isinstance(ask(world, "third"), ProxyError), "five attempts, all in front of the suspect"
    # When the other's answer is long past, it speaks for the model no more.
    world.clock.sleep(SPEAKS_SECONDS + 1)
    world.upstream.replies[FIRST] = [DOWN]
    for name in MODELS[1:]:
        world.upstream.replies[name].clear()
    world.memory.succeeded(world.backend.catalog().free[1], began_at=world.clock.time() + 1)
    ask(world, "one")
    assert rows(world).get(FIRST) == 1


def test_its_own_answer_does_not_speak_for_a_model(world: World) -> None:
    assert ask(world, "one", FIRST) == FIRST
    world.upstream.replies[FIRST] = [DOWN]
    assert ask(world, "one") == SECOND
    assert rows(world) == {FIRST: 1}


def outage(world: World) -> None:
    for name in MODELS:
        world.upstream.replies[name] = list(itertools.repeat(DOWN, 100))


def recovery(world: World) -> None:
    for name in MODELS:
        world.upstream.replies[name].clear()


def test_in_a_total_outage_one_caller_tries_each_model_once_in_half_a_minute(world: World) -> None:
    outage(world)
    for _ in range(120):
        assert isinstance(ask(world, "one"), ProxyError)
        world.clock.sleep(1)
    assert len(world.upstream.asked) <= len(MODELS) * 5
    assert rows(world) == {}
    recovery(world)
    world.clock.sleep(SUSPECT_SECONDS)
    assert ask(world, "one") == FIRST


def test_two_callers_prove_a_total_outage_and_all_is_back_as_soon_as_the_cooldown_allows(world: World) -> None:
    outage(world)
    for _ in range(120):
        for caller in ("one", "two"):
            assert isinstance(ask(world, caller), ProxyError)
        world.clock.sleep(1)
    assert rows(world) == dict.fromkeys(MODELS, 1)
    assert len(world.upstream.asked) <= len(MODELS) * 2 + 10
    recovery(world)
    world.clock.sleep(300)
    assert ask(world, "one") == FIRST
    assert FIRST not in rows(world)


def test_an_answer_in_between_breaks_the_proof(world: World) -> None:
    world.upstream.replies[FIRST] = [DOWN, good(), DOWN]
    for name in MODELS[1:]:
        world.upstream.replies[name] = list(itertools.repeat(refusal(400, "bad", provider_name="X"), 20))
    assert isinstance(ask(world, "one"), ProxyError)
    world.clock.sleep(SUSPECT_SECONDS)
    assert ask(world, "other", FIRST) == FIRST
    world.clock.sleep(SPEAKS_SECONDS + 1)
    assert isinstance(ask(world, "two"), ProxyError)
    assert rows(world) == {}


@pytest.mark.parametrize(
    ("seconds", "proven"),
    [(0.0, True), (PROOF_SECONDS, True), (PROOF_SECONDS + 1, False)],
    ids=["at once", "within ten minutes", "later"],
)
def test_the_failure_of_a_second_caller_proves_the_first(seconds: float, proven: bool) -> None:
    suspicions = Suspicions()
    assert not suspicions.failed("m", "one", 1000.0)
    assert not suspicions.failed("m", "one", 1000.0), "the same caller again proves nothing"
    assert suspicions.failed("m", "two", 1000.0 + seconds) is proven


def test_an_answer_to_somebody_else_does_not_send_the_caller_back_to_a_suspect() -> None:
    suspicions = Suspicions()
    suspicions.failed("m", "one", 1000.0)
    suspicions.answered("m", "other", 1002.0)
    assert suspicions.barred_until("m", "one", 1003.0) == 1000.0 + SUSPECT_SECONDS
    assert suspicions.is_suspect("m", 1003.0)
    suspicions.answered("m", "one", 1004.0)
    assert suspicions.barred_until("m", "one", 1005.0) is None
    assert not suspicions.is_suspect("m", 1005.0)


def test_models_proven_to_fail_count_when_the_request_is_looked_at(world: World) -> None:
    world.backend.suspicions.failed(FIRST, "another", world.clock.time())
    world.clock.sleep(SUSPECT_SECONDS)
    for name in (SECOND, THIRD):
        assert ask(world, "other", name) == name
    for name in (FIRST, SECOND, THIRD):
        world.upstream.replies[name] = [DOWN]
    asked = len(world.upstream.asked)
    assert isinstance(ask(world, "one"), ProxyError), "one that is down, two that answer others: the request"
    assert len(world.upstream.asked) - asked == 3
    assert rows(world) == {FIRST: 1}


def test_what_is_kept_is_bounded() -> None:
    suspicions = Suspicions()
    for number in range(10_000):
        suspicions.failed("m", f"caller {number}", float(number))
        suspicions.answered("n", f"caller {number}", float(number))
    record = suspicions._records
    assert len(record["m"].failed) <= 16
    assert len(record["n"].answered) <= 16
