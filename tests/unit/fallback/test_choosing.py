"""Who is tried for a request: measured badness, probes, exploration, conversations. No sockets, no real time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from ollama_proxy.catalog.target import chat_target
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.call import Call, Tried
from ollama_proxy.fallback.chain import MOST_CHARACTERS, MOST_NAMED, chain_text
from ollama_proxy.fallback.choosing import MOST_PASSED_OVER, TRIAL_PATIENCE
from ollama_proxy.fallback.conversations import Opening, opening_of
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.fallback.measurements import PROBE_AFTER, PROBE_FAILING_AFTER
from ollama_proxy.fallback.needs import Needs
from tests.unit.catalog.free_models import catalog_of, model, record
from tests.unit.fallback.scripted_upstream import World, good, only_comments, refusal

BEST, SECOND, THIRD, FOURTH = (f"v/{letter}:free" for letter in "abcd")
NAMES = (BEST, SECOND, THIRD, FOURTH)
CONTEXT, FREE = "whatever", "free"


def rated(index: float) -> dict[str, Any]:
    return {"benchmarks": {"artificial_analysis": {"intelligence_index": index, "agentic_index": index}}}


RECORDS = [
    record(name, 900_000 - 1000 * place, sees=name == THIRD, **rated(50 - 10 * place))
    for place, name in enumerate(NAMES)
]
DOWN = refusal(502, "Bad gateway")
POOL = refusal(429, "Provider returned error", provider_name="X", raw="rate-limited upstream")

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> MakeWorld:
    def make(**settings: Any) -> World:
        return World(catalog_of(*RECORDS), **{"free_requests_per_minute": 0, "explore": 0, **settings})

    return make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


def body_for(model: Any, without: frozenset[str], at_most: int | None) -> bytes:
    return b'{"model": "%b"}' % model.id.encode()


def exchange_of(world: World, name: str = FREE, *, opening: Opening | None = None, **more: Any) -> Exchange:
    target = chat_target(name, world.backend.catalog(), strict=False)
    return Exchange(world.backend, Call(target, more.pop("needs", Needs()), body_for, opening=opening, **more))


def ask(world: World, name: str = FREE, *, turn: int | None = None, talk: str = "hello", **more: Any) -> str:
    """The id of the model that answers; a request of 30 s before the next one. `turn`: of a conversation."""
    world.clock.sleep(30)
    opening = None if turn is None else opening_of([talk], continues=turn > 0)
    exchange = exchange_of(world, name, opening=opening, **more)
    for _ in exchange:
        pass
    exchange.succeeded(100)
    exchange.close()
    assert exchange.model is not None
    return exchange.model.id


# A model that turns bad is left, and used again when it has recovered


@pytest.mark.parametrize("name", [CONTEXT, FREE, "free:fast", "free:smart", "free:coding"])
@pytest.mark.parametrize("turns", [DOWN, only_comments(every=5), POOL], ids=["down", "silent", "pool"])
def test_a_model_that_turns_bad_is_left_within_three_requests(make_world: MakeWorld, name: str, turns: Any) -> None:
    world = make_world(failure_cooldown_minutes=0.1, ratelimit_cooldown_minutes=0)
    for _ in range(15):
        ask(world, name)
    world.upstream.replies[BEST] = [turns] * 100
    asked = len(world.upstream.asked)
    for _ in range(3):
        ask(world, name)
    assert BEST in world.upstream.models[asked:]
    asked = len(world.upstream.asked)
    for _ in range(10):
        ask(world, name)
    assert BEST not in world.upstream.models[asked:], "whatever cools down for how long, it is not asked any more"


@pytest.mark.parametrize("name", [CONTEXT, "free:fast"])
def test_a_model_that_turns_slow_is_left_within_three_requests(world: World, name: str) -> None:
    world.upstream.replies[BEST] = [good(BEST, after=5)] * 15 + [good(BEST, after=12)] * 100
    world.upstream.replies[SECOND] = [good(SECOND, after=4)] * 100
    for _ in range(15):
        ask(world, "v/a:free")
    assert [ask(world, name) for _ in range(5)][3:] == [SECOND] * 2


@pytest.mark.parametrize("name", [CONTEXT, FREE, "free:smart", "free:coding"])
def test_a_model_that_has_recovered_is_used_again_within_an_hour(world: World, name: str) -> None:
    world.upstream.replies[BEST] = [DOWN] * 5
    for _ in range(12):
        world.clock.sleep(300)
        ask(world, name)
    world.upstream.replies[BEST] = []
    began, answered = world.clock.now, ""
    while answered != BEST and world.clock.now < began + 2 * 3600:
        world.clock.sleep(30)
        answered = ask(world, name)
    assert world.clock.now - began < 3600
    assert [ask(world, name) for _ in range(3)] == [BEST] * 3, "it was judged anew"


def test_a_probe_is_one_request_in_half_an_hour_and_short(world: World) -> None:
    world.upstream.replies[BEST] = [good(BEST, after=12)] * 3 + [only_comments(every=0.5)] * 50
    for _ in range(3):
        ask(world, CONTEXT)
    assert ask(world, CONTEXT) == SECOND
    world.clock.sleep(PROBE_AFTER)
    asked, before = len(world.upstream.asked), world.clock.now
    assert ask(world, CONTEXT) == SECOND
    assert world.upstream.models[asked:] == [BEST, SECOND]
    assert world.clock.now - before - 30 == pytest.approx(TRIAL_PATIENCE, abs=1)
    assert [ask(world, CONTEXT) for _ in range(5)] == [SECOND] * 5
    assert world.upstream.models[asked:].count(BEST) == 1


@pytest.mark.parametrize(
    ("name", "after"),
    [
        (CONTEXT, PROBE_AFTER),
        ("free:fast", PROBE_AFTER),
        (FREE, PROBE_FAILING_AFTER),
        ("free:smart", PROBE_FAILING_AFTER),
    ],
)
def test_a_model_that_failed_is_probed_sooner_where_quality_is_waited_for(
    world: World, name: str, after: float
) -> None:
    for _ in range(3):
        world.measured.failed(BEST, world.clock.time())
    world.clock.sleep(after - 40)
    assert ask(world, name) == SECOND
    assert ask(world, name) == BEST


@pytest.mark.parametrize(
    ("name", "answers"), [(FREE, BEST), ("free:coding", BEST), ("free:fast", SECOND), (CONTEXT, SECOND)]
)
def test_a_good_model_that_is_known_to_be_slow_is_waited_for_where_quality_counts(
    world: World, name: str, answers: str
) -> None:
    world.measured.answered(BEST, world.clock.time(), first_token=9)
    world.clock.sleep(3 * 3600)
    world.upstream.replies[BEST] = [good(BEST, after=20)]
    assert ask(world, name) == answers


def test_a_model_asked_for_by_name_comes_first_however_slow(world: World) -> None:
    world.upstream.replies[BEST] = [good(BEST, after=12)] * 20
    assert [ask(world, "v/a:free") for _ in range(6)] == [BEST] * 6


def world_with(name: str, *parameters: str, explore: int = 0) -> World:
    """A world in which only the model `name` lists the parameters."""
    records = [
        record(
            one,
            900_000 - 1000 * place,
            can=("tools", "tool_choice", "response_format", *(parameters if one == name else ())),
            **rated(50 - 10 * place),
        )
        for place, one in enumerate(NAMES)
    ]
    return World(catalog_of(*records), free_requests_per_minute=0, explore=explore, failure_cooldown_minutes=0.1)


@pytest.mark.parametrize("name", [CONTEXT, FREE])
@pytest.mark.parametrize("parameter", ["stop", "logprobs"])
def test_a_bad_model_stays_behind_though_it_lists_what_is_wished(name: str, parameter: str) -> None:
    world = world_with(BEST, parameter)
    for _ in range(5):
        world.measured.failed(BEST, world.clock.time())
    needs = Needs(preferred=frozenset({parameter}))
    assert [ask(world, name, needs=needs) for _ in range(3)] == [SECOND] * 3
    assert ask(world, "v/a:free", needs=needs) == BEST
    assert set(world.upstream.models[:3]) == {SECOND}


def test_a_schema_is_enforced_even_by_a_bad_model() -> None:
    world = world_with(BEST, "structured_outputs")
    for _ in range(5):
        world.measured.failed(BEST, world.clock.time())
    assert ask(world, needs=Needs(preferred=frozenset({"structured_outputs"}))) == BEST


SCHEMA = Needs(schema=True, preferred=frozenset({"structured_outputs"}))


@pytest.mark.parametrize("name", [CONTEXT, FREE, "v/a:free"])
def test_a_conversation_leaves_a_model_that_does_not_enforce_its_schema(name: str) -> None:
    world = world_with(SECOND, "structured_outputs")
    assert ask(world, name, turn=0) == BEST
    assert ask(world, name, turn=1, needs=SCHEMA) == SECOND


def test_a_conversation_stays_where_nobody_enforces_its_schema(world: World) -> None:
    world.upstream.replies[BEST] = [POOL]
    assert ask(world, turn=0) == SECOND
    world.clock.sleep(60)
    assert ask(world, turn=1, needs=SCHEMA) == SECOND


def test_nothing_is_tried_out_that_does_not_enforce_a_schema() -> None:
    world = world_with(BEST, "structured_outputs", explore=1)
    assert [ask(world, needs=SCHEMA) for _ in range(3)] == [BEST] * 3
    assert ask(world) == SECOND


# The last attempt


def test_the_last_attempt_goes_to_the_model_that_answers_most(make_world: MakeWorld) -> None:
    world = make_world(max_attempts=3)
    for _ in range(5):
        ask(world, "v/d:free")
    for name in (BEST, SECOND, THIRD):
        world.upstream.replies[name] = [DOWN]
    asked = len(world.upstream.asked)
    assert ask(world, "v/a:free") == FOURTH
    assert world.upstream.models[asked:] == [BEST, SECOND, FOURTH]


# Exploration


def test_one_request_in_so_many_tries_out_the_least_known(make_world: MakeWorld) -> None:
    world = make_world(explore=4)
    answers = [ask(world) for _ in range(12)]
    assert [place for place, name in enumerate(answers) if name != BEST] == [3, 7, 11]
    assert answers[3] == SECOND


@pytest.mark.parametrize(
    ("name", "turn"), [("v/a:free", None), (FREE, 1)], ids=["a named model", "inside a conversation"]
)
def test_where_nobody_explores(make_world: MakeWorld, name: str, turn: int | None) -> None:
    world = make_world(explore=1)
    assert [ask(world, name, turn=turn) for _ in range(5)] == [BEST] * 5


def test_only_what_is_worth_it_is_tried_out(make_world: MakeWorld) -> None:
    world = make_world(explore=1)
    for name in (SECOND, THIRD):
        for _ in range(15):
            world.measured.failed(name, world.clock.time())
    assert {ask(world) for _ in range(6)} == {BEST}, "the fourth has less than half of the leader's score"


def test_nobody_explores_when_the_day_s_requests_run_out(make_world: MakeWorld) -> None:
    world = make_world(explore=1)
    world.chooser.may_explore = lambda: False
    assert [ask(world) for _ in range(5)] == [BEST] * 5


def test_a_model_that_is_tried_out_has_ten_seconds(make_world: MakeWorld) -> None:
    world = make_world(explore=1)
    ask(world, "v/a:free")
    world.upstream.replies[SECOND] = [only_comments(every=0.5)]
    before = world.clock.now
    assert ask(world) == BEST
    assert world.clock.now - before - 30 == pytest.approx(TRIAL_PATIENCE, abs=1)


def test_a_probe_is_not_used_up_by_a_request_that_is_not_sent(world: World) -> None:
    for _ in range(5):
        world.measured.failed(BEST, world.clock.time())
    world.clock.sleep(PROBE_AFTER)
    exchange_of(world).close()  # the client has gone
    reset = int((world.clock.time() + 600) * 1000)
    limit = refusal(429, "Rate limit exceeded: free-models-per-day", headers={"X-RateLimit-Reset": str(reset)})
    world.upstream.replies[FOURTH] = [limit]
    with pytest.raises(ProxyError):
        ask(world, FOURTH)
    with pytest.raises(ProxyError):
        ask(world)
    world.clock.sleep(600)
    assert ask(world) == BEST
    assert world.upstream.models == [FOURTH, BEST]


def test_an_exploration_is_not_used_up_by_a_request_that_is_not_sent(make_world: MakeWorld) -> None:
    world = make_world(explore=3)
    assert [ask(world) for _ in range(2)] == [BEST] * 2
    exchange_of(world).close()  # the client has gone
    assert [ask(world) for _ in range(3)] == [SECOND, BEST, BEST]


# Conversations


@pytest.mark.parametrize("fails", [DOWN, POOL, only_comments(every=5)], ids=["down", "pool", "silent"])
@pytest.mark.parametrize("at", [0, 1, 7])
@pytest.mark.parametrize("name", [FREE, CONTEXT, "v/a:free"])
def test_a_conversation_of_twenty_turns_changes_its_model_at_most_once(
    make_world: MakeWorld, name: str, at: int, fails: Any
) -> None:
    """The first model fails at a turn, is well again, and fails again and again."""
    world = make_world(failure_cooldown_minutes=0.5, ratelimit_cooldown_minutes=0.5)
    world.upstream.replies[BEST] = [good(BEST)] * at + [fails, good(BEST), good(BEST), fails] * 5
    answers = [ask(world, name, turn=turn) for turn in range(20)]
    assert sum(one != other for one, other in pairwise(answers)) <= 1
    assert answers[-1] == SECOND


def test_a_conversation_leaves_a_model_that_cannot_serve_it(world: World) -> None:
    assert ask(world, turn=0) == BEST
    assert ask(world, turn=1, needs=Needs(images=True)) == THIRD
    assert ask(world, turn=2) == THIRD


def test_a_conversation_leaves_a_model_that_cools_down(world: World) -> None:
    assert ask(world, turn=0, caller="one") == BEST
    world.upstream.replies[BEST] = [POOL]
    ask(world, caller="other")
    assert ask(world, turn=1, caller="one") == SECOND


def test_a_conversation_leaves_a_model_that_is_bad(world: World) -> None:
    ask(world, CONTEXT, turn=0)
    for _ in range(5):
        world.measured.answered(BEST, world.clock.time(), first_token=20)
    world.clock.sleep(2)
    assert ask(world, CONTEXT, turn=1) == SECOND


def test_conversations_are_apart_by_caller_opening_and_name(world: World) -> None:
    world.upstream.replies[BEST] = [POOL]
    assert ask(world, turn=0, caller="one") == SECOND
    world.clock.sleep(60)
    assert ask(world, turn=1, caller="two") == BEST
    assert ask(world, turn=1, caller="one", talk="else") == BEST
    assert ask(world, "free:smart", turn=1, caller="one") == BEST
    assert ask(world, turn=1, caller="one") == SECOND


def test_a_conversation_that_was_quiet_for_long_begins_anew(make_world: MakeWorld) -> None:
    world = make_world(sticky_minutes=10)
    world.upstream.replies[BEST] = [POOL]
    assert ask(world, turn=0) == SECOND
    world.clock.sleep(9 * 60)
    assert ask(world, turn=1) == SECOND
    world.clock.sleep(10 * 60)
    assert ask(world, turn=2) == BEST


def test_conversations_can_be_switched_off(make_world: MakeWorld) -> None:
    world = make_world(sticky_minutes=0)
    world.upstream.replies[BEST] = [POOL]
    assert ask(world, turn=0) == SECOND
    world.clock.sleep(60)
    assert ask(world, turn=1) == BEST
    assert len(world.conversations) == 0


# Who was tried and why not


def test_the_chain_names_who_was_passed_over_and_who_was_tried(world: World) -> None:
    world.upstream.replies[BEST] = [POOL]
    ask(world)
    world.upstream.replies[SECOND] = [DOWN]
    exchange = exchange_of(world)
    for _ in exchange:
        pass
    assert exchange.chain == (
        "v/a:free (cooling: rate limited upstream), v/b:free (HTTP 502 provider error), v/c:free"
    ).replace("HTTP 502 provider error", str(exchange.tried[0].reason))
    exchange.close()


def test_the_chain_says_what_was_measured(world: World) -> None:
    for _ in range(5):
        world.measured.answered(BEST, world.clock.time(), first_token=14)
    exchange = exchange_of(world, CONTEXT)
    for _ in exchange:
        pass
    assert exchange.chain == "v/a:free (measured: the last 3 attempts were slow or failed), v/b:free"
    exchange.close()


def test_the_chain_is_bounded_and_plain() -> None:
    tried = [Tried("v/x:free", "bad\r\nSet-Cookie: é" + "y" * 500)] * 100
    text = chain_text([(model("a/a:free"), "why")] * MOST_PASSED_OVER, tried)
    assert len(text) < (MOST_NAMED + MOST_PASSED_OVER + 1) * (MOST_CHARACTERS + 2)
    assert text.isascii()
    assert text.isprintable()
    assert text.endswith(f"and {100 - MOST_NAMED} more")


def test_an_error_has_a_chain_too(make_world: MakeWorld) -> None:
    world = make_world(max_attempts=2)
    for name in NAMES:
        world.upstream.replies[name] = [DOWN]
    exchange = exchange_of(world)
    with pytest.raises(ProxyError):
        list(exchange)
    assert exchange.chain.count("v/") == 2
    exchange.close()
