"""What a record says of a model's quality, and records that say nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.catalog.ratings import UNRATED, Index, Ratings, read_ratings
from tests.unit.catalog.free_models import model


def rated(**indices: Any) -> dict[str, Any]:
    return {"benchmarks": {"artificial_analysis": {f"{name}_index": value for name, value in indices.items()}}}


@pytest.mark.parametrize(
    ("record", "ratings"),
    [
        (rated(intelligence=52.6, coding=68.8, agentic=45.7), Ratings(52.6, 68.8, 45.7)),
        (rated(intelligence=None, coding=13.8, agentic=None), Ratings(None, 13.8, None)),
        (rated(intelligence=40), Ratings(40.0, None, None)),
        (rated(intelligence="52", coding=True, agentic=-1), UNRATED),
        (rated(intelligence=float("nan"), coding=float("inf"), agentic=1e9), UNRATED),
        (rated(intelligence=0), UNRATED),
        ({}, UNRATED),
        ({"benchmarks": None}, UNRATED),
        ({"benchmarks": {"artificial_analysis": None, "design_arena": []}}, UNRATED),
        ({"benchmarks": {"artificial_analysis": [1]}}, UNRATED),
        ({"benchmarks": "good"}, UNRATED),
    ],
)
def test_what_is_no_positive_number_counts_as_absent(record: dict[str, Any], ratings: Ratings) -> None:
    assert read_ratings(record) == ratings


def test_a_model_has_the_ratings_of_its_record_and_its_digest_does_not_know_them() -> None:
    plain, good = model("a/a:free"), model("a/a:free", **rated(intelligence=50, agentic=20))
    assert (good.ratings.of(Index.INTELLIGENCE), good.ratings.of(Index.CODING)) == (50, None)
    assert plain.ratings == UNRATED
    assert good.digest == plain.digest
