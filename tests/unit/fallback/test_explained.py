"""Why each model stands where it does, as plain values."""

from __future__ import annotations

import json

import pytest

from ollama_proxy.catalog.records import Model
from ollama_proxy.fallback.explained import explain
from ollama_proxy.fallback.measurements import Measurements
from ollama_proxy.fallback.order import ORDERS, Orders
from tests.unit.catalog.free_models import catalog_of, record

NOW = 1_800_000_000.0
WIDE, GOOD, PLAIN = "a/wide:free", "b/good:free", "c/plain:free"
RATED = {"benchmarks": {"artificial_analysis": {"intelligence_index": 50}}}
MODELS = catalog_of(record(WIDE, 900_000), record(GOOD, 200_000, **RATED), record(PLAIN, 100_000)).free


@pytest.fixture
def measured() -> Measurements:
    found = Measurements(10.0)
    for _ in range(5):
        found.answered(WIDE, NOW, first_token=14.0, tokens=300, seconds=6.0)
        found.answered(GOOD, NOW, first_token=2.0, tokens=300, seconds=3.0)
    return found


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("tools", [False, True])
def test_the_places_are_those_in_which_models_are_tried(measured: Measurements, order: str, tools: bool) -> None:
    places = explain(order, MODELS, measured.known, NOW, slow=measured.slow, tools=tools)
    tried = Orders(measured).arrange(order, MODELS, tools=tools, now=NOW).models
    assert [(place.rank, place.id) for place in places] == [(rank, model.id) for rank, model in enumerate(tried, 1)]


def test_what_is_said_of_a_model(measured: Measurements) -> None:
    def left_out(model: Model) -> str:
        return "cooling: why" if model.id == PLAIN else ""

    places = {one.id: one for one in explain("context", MODELS, measured.known, NOW, slow=10.0, left_out=left_out)}
    wide, good, plain = places[WIDE], places[GOOD], places[PLAIN]
    assert (wide.rank, wide.why) == (3, "measured: the last 3 attempts were slow or failed")
    assert (good.rank, good.why, good.samples, good.first_token, good.tokens_per_second) == (1, "", 5, 2.0, 100)
    assert (plain.why, plain.samples, plain.first_token, plain.tokens_per_second) == ("cooling: why", 0, None, None)
    assert good.score == pytest.approx(good.quality**2 * good.success * good.speed**0.5)


def test_it_can_be_written_as_json(measured: Measurements) -> None:
    [first, *_] = explain("balanced", MODELS, measured.known, NOW, slow=10.0)
    told = json.loads(json.dumps(first.as_json()))
    assert set(told) == {
        *("rank", "id", "name", "quality", "success", "speed", "score", "samples"),
        *("first_token", "tokens_per_second", "answer_seconds", "why"),
    }
    assert (told["rank"], told["id"], told["why"]) == (1, GOOD, "")


def test_without_models_there_is_nothing_to_explain() -> None:
    assert explain("balanced", (), {}, NOW, slow=10.0) == []
