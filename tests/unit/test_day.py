"""A day of free models (bench/day.py): what the orders promise, over six days. Needs the recorded model list."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.day import POLICIES, Answered, Figures, figures, index_points, run, table
from bench.day_world import RECORDED, Asked, World, recorded_catalog
from ollama_proxy.catalog.snapshot import Catalog

DAYS = 6


@pytest.fixture(scope="module")
def catalog(recordings: Path) -> Catalog:
    if not (recordings / RECORDED).exists():
        pytest.skip(f"{RECORDED} is not among the recordings")
    return recorded_catalog(recordings)


@pytest.fixture(scope="module")
def rows(catalog: Catalog) -> dict[str, Figures]:
    points = index_points(catalog)
    names = ("context", "free (balanced)", "walk")
    found = {name: figures([run(catalog, name, seed) for seed in range(DAYS)], points) for name in names}
    print(table(found))  # for whoever looks at a failure
    return found


def test_free_is_quicker_and_better_than_a_walk_from_the_largest_window_down(rows: dict[str, Figures]) -> None:
    free, walk = rows["free (balanced)"], rows["walk"]
    assert free.first_p95 <= walk.first_p95 / 3
    assert free.first_p50 <= walk.first_p50 / 2
    # Who knew before what each model will do could have 7.5 points more where conversations stay: a walk is answered by
    # the fourth best model.
    assert free.quality >= walk.quality + 5
    assert free.attempts <= 1.4
    assert free.missed == 0
    assert free.answered >= free.requests * 0.998


def test_the_order_by_context_does_not_make_people_wait(rows: dict[str, Figures]) -> None:
    context, walk = rows["context"], rows["walk"]
    assert context.first_p50 <= walk.first_p50 / 2
    assert context.first_p95 <= walk.first_p95 / 2
    assert context.missed == 0


def test_the_world_is_the_same_for_every_policy(catalog: Catalog) -> None:
    asked = Asked(7, tools=False, images=False, prompt_tokens=100, tokens=50)
    doing = [[World(catalog, 3).doing(model, asked, 1000.0) for model in catalog.free] for _ in range(2)]
    assert doing[0] == doing[1]
    days = [run(catalog, "walk", 3) for _ in range(2)]
    assert [(one.first, one.model) for one in days[0]] == [(one.first, one.model) for one in days[1]]


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_gets_through_a_day_on_which_the_best_model_is_dead(catalog: Catalog, name: str) -> None:
    found: list[Answered] = run(catalog, name, 0, dead=True)
    assert len(found) > 200
    assert sum(one.model is None for one in found) <= len(found) * 0.01
