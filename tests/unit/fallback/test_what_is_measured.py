"""What an exchange measures of a model, and what it must not: the work of one client says nothing to the others."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.samples import badness
from tests.unit.catalog.free_models import catalog_of
from tests.unit.fallback.scripted_upstream import World, good
from tests.unit.fallback.test_choosing import BEST, POOL, RECORDS, ask


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
