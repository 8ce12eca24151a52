"""The arithmetic of scores."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ollama_proxy.catalog.ratings import Index
from ollama_proxy.fallback.samples import HALF_LIFE, NOTHING, Measured, Sample, added_all, faded
from ollama_proxy.fallback.scores import (
    ANSWER_TOKENS,
    HALF_SPEED_SECONDS,
    PRESETS,
    UNKNOWN_SECONDS,
    Score,
    index_for,
    qualities,
    scores,
    success,
)
from tests.unit.catalog.free_models import model

NOW = 1_800_000_000.0
A, B, C, D = "a/a:free", "b/b:free", "c/c:free", "d/d:free"


def rated(name: str, **indices: float) -> Any:
    return model(name, benchmarks={"artificial_analysis": {f"{key}_index": value for key, value in indices.items()}})


def answers(number: int, first_token: float = 1.0, speed: float = 100.0, failed: int = 0) -> Measured:
    good = [Sample(NOW, True, first_token, 300, 300 / speed)] * number
    return added_all(NOTHING, good + [Sample(NOW, False)] * failed)


def test_quality() -> None:
    models = [rated(A, intelligence=50), rated(B, intelligence=20), rated(C, coding=40), model(D)]
    found = qualities(models, Index.INTELLIGENCE)
    assert found[A] == 1
    assert found[B] == pytest.approx(0.3 + 0.7 * 20 / 50)
    assert found[C] == 1, "the best of its own index counts like the best of the other"
    assert found[D] == found[B], "an unrated one counts like the lowest rated one"


def test_a_missing_index_is_rescaled_by_the_best_of_both() -> None:
    models = [rated(A, intelligence=50, coding=80), rated(B, coding=40)]
    assert qualities(models, Index.INTELLIGENCE)[B] == pytest.approx(0.3 + 0.7 * 0.5)
    assert qualities(models, Index.AGENTIC)[B] == pytest.approx(0.3 + 0.7 * 40 / 50), "nobody has that one"


def test_without_any_rating_all_are_equal() -> None:
    assert qualities([model(A), model(B)], Index.INTELLIGENCE) == {A: 1, B: 1}
    assert qualities([], Index.INTELLIGENCE) == {}


@pytest.mark.parametrize(
    ("ok", "failed", "expected"),
    [(0, 0, 3 / 4), (1, 0, 4 / 5), (0, 1, 3 / 5), (16, 0, 19 / 20), (0, 20, 3 / 24)],
)
def test_success(ok: int, failed: int, expected: float) -> None:
    assert success(answers(ok, failed=failed)) == pytest.approx(expected)


def test_one_bad_hour_is_not_for_ever() -> None:
    bad = answers(0, failed=20)
    later = [success(faded(bad, NOW + hours * 3600)) for hours in range(6)]
    assert later == sorted(later)
    assert later[0] < 0.15
    assert later[-1] > 0.73


def test_speed_is_of_three_hundred_tokens() -> None:
    quality = {A: 1.0, B: 1.0}
    found = scores(PRESETS["fast"], quality, {A: answers(20, first_token=1, speed=100)}, NOW)
    assert found[A].seconds == pytest.approx(1 + ANSWER_TOKENS / 100)
    assert found[A].speed == pytest.approx(1 / (1 + 4 / HALF_SPEED_SECONDS))
    assert found[B].seconds == found[A].seconds, "an unmeasured one is thought to be like the median"


def test_before_anything_is_measured_all_are_thought_equally_quick() -> None:
    found = scores(PRESETS["balanced"], {A: 1.0, B: 0.5}, {}, NOW)
    assert found[A].seconds == found[B].seconds == UNKNOWN_SECONDS
    assert found[A].answering == pytest.approx(found[A].recovered)


def test_what_is_not_measured_any_more_drifts_to_the_median() -> None:
    quality = dict.fromkeys((A, B, C), 1.0)
    measured = {A: answers(20, first_token=1), B: answers(20, first_token=3), C: answers(20, first_token=30)}
    first = [scores(PRESETS["fast"], quality, measured, NOW + hours * HALF_LIFE)[C].seconds for hours in (0, 4, 20)]
    assert first == sorted(first, reverse=True)
    assert first[-1] == pytest.approx(UNKNOWN_SECONDS), "in the end nothing is known of any"


@pytest.mark.parametrize("name", PRESETS)
def test_scores_are_above_zero_and_at_most_one(name: str) -> None:
    quality = dict.fromkeys((A, B), 0.3)
    for ok, failed, first in itertools.product((0, 5, 100), (0, 5, 100), (0.0, 1.0, 1000.0)):
        one = scores(PRESETS[name], quality, {A: answers(ok, first, failed=failed)}, NOW)[A]
        assert 0 < one.value <= 1
        assert 0 < one.speed <= 1


def test_steps_are_of_fifteen_percent() -> None:
    def step(value: float) -> int:
        return Score(1, 1, 1, value, 1, 1).step

    assert step(0.5) - step(0.5 / 1.151) in (1, 2)
    assert step(1.0) == 0
    assert step(1 / 1.14) == -1


@pytest.mark.parametrize(
    ("preset", "tools", "index"),
    [
        ("balanced", False, Index.INTELLIGENCE),
        ("balanced", True, Index.AGENTIC),
        ("coding", False, Index.CODING),
        ("coding", True, Index.CODING),
    ],
)
def test_what_quality_means_is_for_the_request_to_say(preset: str, tools: bool, index: Index) -> None:
    assert index_for(PRESETS[preset], tools=tools) is index
