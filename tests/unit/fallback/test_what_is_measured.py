"""What an exchange measures of a model, and what it must not: the work of one client says nothing to the others."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.needs import HEAVY_PROMPT_TOKENS, Needs
from ollama_proxy.fallback.samples import badness
from tests.unit.catalog.free_models import catalog_of
from tests.unit.fallback.scripted_upstream import DONE, ROLE, Reply, World, delta, finish, good, only_comments, refusal
from tests.unit.fallback.test_choosing import BEST, DOWN, NAMES, POOL, RECORDS, SECOND, ask, exchange_of


def world_of(**settings: Any) -> World:
    free_mode = settings.get("free_mode", True)
    return World(catalog_of(*RECORDS, free_mode=free_mode), **{"free_requests_per_minute": 0, "explore": 0, **settings})


@pytest.fixture
def world() -> World:
    return world_of()


def try_ask(world: World, *given: Any, **more: Any) -> str:
    """The model that answers, or "" for an error."""
    try:
        return ask(world, *given, **more)
    except ProxyError:
        return ""


def test_outside_free_mode_answers_are_measured_like_failures() -> None:
    world = world_of(free_mode=False)
    world.upstream.replies[BEST] = ([good(BEST)] * 9 + [POOL]) * 2
    answers = [try_ask(world, "v/a:free") for _ in range(20)]
    assert answers.count(BEST) == 18
    recent = world.measured.of(BEST).recent
    assert [one.answered for one in recent] == [answer == BEST for answer in answers][-len(recent) :]
    assert badness(world.measured.of(BEST), world.clock.time(), 10) == ""


# A client that does not read


def in_parts(name: str, seconds: float) -> Reply:
    """An answer that takes `seconds` behind its first token."""
    return Reply([(1, ROLE + delta(name)), *[(seconds / 10, delta("x"))] * 10, (0, finish() + DONE)])


def read(world: World, *, pause: float = 0.0, seconds: float = 5.0) -> str:
    """Ask for 300 tokens, and take so long for each burst. The id of the model that answered."""
    world.clock.sleep(30)
    for name in (BEST, SECOND):
        world.upstream.replies[name] = [in_parts(name, seconds)]
    exchange = exchange_of(world, "free:fast")
    for _ in exchange:
        world.clock.sleep(pause)
    exchange.succeeded(300)
    exchange.close()
    assert exchange.model is not None
    return exchange.model.id


@pytest.mark.parametrize("pause", [0.2, 20.0], ids=["a little slow", "hardly reads"])
def test_how_slowly_a_client_reads_is_not_the_model_s_speed(world: World, pause: float) -> None:
    for _ in range(15):
        assert read(world) == BEST
    assert world.measured.of(BEST).speed == pytest.approx(60)
    for _ in range(3):
        read(world, pause=pause)
    assert world.measured.of(BEST).speed == pytest.approx(60)
    assert read(world) == BEST


def test_what_came_while_the_client_did_not_read_has_no_speed(world: World) -> None:
    for _ in range(3):
        read(world)
    read(world, pause=5, seconds=0.01)
    assert world.measured.of(BEST).speed == pytest.approx(60)


# Providers that the client chose


@pytest.mark.parametrize(
    "reply", [POOL, DOWN, only_comments(), refusal(404, "No endpoints found")], ids=["pool", "down", "silent", "gone"]
)
def test_the_client_s_own_providers_are_not_held_against_the_model(reply: Reply) -> None:
    world = world_of(ratelimit_cooldown_minutes=5)
    for _ in range(5):
        ask(world)
    before = world.measured.of(BEST)
    for _ in range(3):
        world.upstream.replies[BEST] = [reply]
        assert ask(world, "v/a:free", caller="another", own_provider=True) == SECOND
        assert ask(world) == BEST
    assert (list(world.memory.rows()), world.measured.of(BEST).failed) == ([], before.failed)
    assert world.measured.of(SECOND).counted == 0, "nor is the answer of such a request measured"


# Time-outs


def test_a_time_out_for_which_the_request_had_no_time_left_says_nothing() -> None:
    world = world_of(fallback_budget_seconds=20)
    for name in NAMES:
        world.upstream.replies[name] = [only_comments(0.5)]
    assert try_ask(world, "free") == ""
    assert world.clock.now - 30 == pytest.approx(20, abs=2)
    assert len(world.upstream.asked) == 2
    assert world.measured.of(SECOND).counted == 0, "it had 4 of its 16 seconds"


def test_a_time_out_of_a_trial_says_nothing() -> None:
    world = world_of(explore=1)
    ask(world, "v/a:free")
    world.upstream.replies[SECOND] = [only_comments(0.5)]
    assert ask(world) == BEST
    assert world.upstream.models[1:] == [SECOND, BEST]
    assert world.measured.of(SECOND).counted == 0


def test_a_short_time_out_is_a_failure_and_no_quick_first_token(world: World) -> None:
    for _ in range(3):
        ask(world)
    before = world.measured.of(BEST)
    world.upstream.replies[BEST] = [only_comments(0.5)]
    assert ask(world) == SECOND
    after = world.measured.of(BEST)
    assert after.recent[-1].answered is False
    assert (after.recent[-1].first_token, after.first_token) == (None, before.first_token)


def test_a_time_out_counts_as_its_length(world: World) -> None:
    world.upstream.replies[BEST] = [only_comments(0.5)]
    assert ask(world) == SECOND
    assert world.measured.of(BEST).first_token == pytest.approx(16)


# One caller's prompts


HEAVY = Needs(prompt_tokens=HEAVY_PROMPT_TOKENS + 1)


def test_a_heavy_prompt_has_all_the_time_and_no_first_token(world: World) -> None:
    for _ in range(5):
        ask(world, caller="one")
    before = world.measured.of(BEST)
    world.upstream.replies[BEST] = [good(BEST, after=25)] * 3
    assert [ask(world, needs=HEAVY, caller="two") for _ in range(3)] == [BEST] * 3
    after = world.measured.of(BEST)
    assert [(one.answered, one.first_token) for one in after.recent[-3:]] == [(True, None)] * 3
    assert after.first_token == before.first_token


def test_a_heavy_prompt_tries_nothing_out() -> None:
    world = world_of(explore=1)
    assert [ask(world, needs=HEAVY) for _ in range(3)] == [BEST] * 3


def test_one_caller_s_time_outs_are_not_held_against_a_model_that_answers_others(world: World) -> None:
    for _ in range(3):
        ask(world, caller="one")
    before = world.measured.of(BEST)
    for _ in range(4):
        world.upstream.replies[BEST] = [only_comments(0.5)]
        ask(world, caller="two")
        world.upstream.replies[BEST] = []
        ask(world, "v/a:free", caller="one")
    assert world.measured.of(BEST).failed == before.failed == 0
    assert ask(world, caller="one") == BEST


def test_a_request_on_which_all_time_out_says_nothing(world: World) -> None:
    for name in NAMES:
        world.upstream.replies[name] = [only_comments(0.5)]
    assert try_ask(world, "free") == ""
    assert {world.measured.of(name).counted for name in NAMES} == {0}


def test_another_caller_s_time_out_proves_it(world: World) -> None:
    for caller in ("one", "two"):
        for name in NAMES:
            world.upstream.replies[name] = [only_comments(0.5)]
        try_ask(world, "free", caller=caller)
    assert world.measured.of(BEST).recent[-1].answered is False


@pytest.mark.parametrize("callers", [2, 5])
def test_a_model_that_turns_silent_is_left_though_it_answered_others_a_moment_ago(world: World, callers: int) -> None:
    for turn in range(15):
        ask(world, caller=str(turn % callers))
    world.upstream.replies[BEST] = [only_comments(0.5)] * 100
    asked = len(world.upstream.asked)
    for turn in range(20):
        assert ask(world, caller=str(turn % callers)) == SECOND
    assert world.upstream.models[asked:].count(BEST) <= 4
