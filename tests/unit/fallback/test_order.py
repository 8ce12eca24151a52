"""The orders in which free models are tried."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.virtual import VIRTUAL_MODELS
from ollama_proxy.config.settings import DECLARATIONS
from ollama_proxy.fallback.measurements import Measurements
from ollama_proxy.fallback.order import HOLDS_SECONDS, MOST_LISTS, ORDERS, Arrangement, Orders
from tests.unit.catalog.free_models import catalog_of, record

NOW = 1_800_000_000.0


def rated(intelligence: float, agentic: float, coding: float) -> dict[str, Any]:
    indices = {"intelligence_index": intelligence, "agentic_index": agentic, "coding_index": coding}
    return {"benchmarks": {"artificial_analysis": indices}}


WIDE, WIDER, SMALL, BEST = "b/wide:free", "a/wide:free", "c/small:free", "d/best:free"
MODELS = catalog_of(
    record(SMALL, 8_000, **rated(20, 40, 30)),
    record(WIDE, 1_000_000),
    record(WIDER, 1_000_000),
    record(BEST, 100_000, **rated(50, 30, 60)),
).free


class Bed:
    """Orders over some models whose measurements a test writes."""

    def __init__(self, slow: float = 10.0) -> None:
        self.measured = Measurements(slow, clock=lambda: NOW)
        self.orders = Orders(self.measured)

    def arranged(self, order: str, *, tools: bool = False, now: float = NOW) -> Arrangement:
        return self.orders.arrange(order, MODELS, tools=tools, now=now)

    def ids(self, order: str, **more: Any) -> list[str]:
        return [model.id for model in self.arranged(order, **more).models]


@pytest.fixture
def bed() -> Bed:
    return Bed()


def test_by_context_the_largest_window_is_first_then_the_id(bed: Bed) -> None:
    assert bed.ids("context") == [WIDER, WIDE, BEST, SMALL]


@pytest.mark.parametrize(
    ("order", "tools", "first"),
    [
        pytest.param("balanced", False, BEST, id="intelligence"),
        pytest.param("balanced", True, SMALL, id="with tools it is the agentic index"),
        pytest.param("coding", True, BEST, id="for code the coding index, with tools too"),
        pytest.param("smart", False, BEST, id="smart"),
    ],
)
def test_before_anything_is_measured_quality_decides(bed: Bed, order: str, tools: bool, first: str) -> None:
    assert bed.ids(order, tools=tools)[0] == first


def test_what_is_equally_good_is_ordered_by_window_then_id(bed: Bed) -> None:
    assert bed.ids("balanced")[1:] == [WIDER, WIDE, SMALL]


def test_speed_counts_more_for_fast_than_for_smart(bed: Bed) -> None:
    for _ in range(10):
        bed.measured.answered(BEST, NOW, first_token=6, tokens=300, seconds=10)
        bed.measured.answered(SMALL, NOW, first_token=0.5, tokens=300, seconds=1)
    assert bed.ids("fast")[0] == SMALL
    assert bed.ids("smart")[0] == BEST


@pytest.mark.parametrize("order", ORDERS)
def test_in_every_order_a_model_that_fails_goes_behind_all_others(bed: Bed, order: str) -> None:
    for _ in range(5):
        bed.measured.failed(BEST, NOW)
        bed.measured.failed(WIDER, NOW)
    arrangement = bed.arranged(order)
    assert {model.id for model in arrangement.models[-2:]} == {BEST, WIDER} == set(arrangement.bad)
    assert set(arrangement.models) == set(MODELS)
    assert arrangement.bad[BEST] == "the last 3 attempts were slow or failed"


@pytest.mark.parametrize(
    ("order", "is_bad"), [("context", True), ("fast", True), ("balanced", False), ("smart", False), ("coding", False)]
)
def test_a_slow_model_is_bad_unless_the_order_waits_for_a_good_one(bed: Bed, order: str, is_bad: bool) -> None:
    for _ in range(5):
        bed.measured.answered(BEST, NOW, first_token=12)
    assert (BEST in bed.arranged(order).bad) is is_bad


def test_what_was_worked_out_holds_for_a_second(bed: Bed) -> None:
    before = bed.arranged("balanced")
    for _ in range(10):
        bed.measured.answered(BEST, NOW, first_token=9)
    assert bed.arranged("balanced", now=NOW + HOLDS_SECONDS * 0.9) is before
    assert bed.arranged("balanced", now=NOW + HOLDS_SECONDS).scores != before.scores
    assert bed.arranged("balanced", now=NOW - 5) is not before, "a clock that was set back"


def test_a_failure_counts_at_once(bed: Bed) -> None:
    before = bed.arranged("balanced")
    bed.measured.failed(BEST, NOW)
    assert bed.arranged("balanced").scores[BEST].value < before.scores[BEST].value


def test_another_catalogue_is_arranged_anew(bed: Bed) -> None:
    bed.arranged("balanced")
    fewer: tuple[Model, ...] = MODELS[:1]
    assert bed.orders.arrange("balanced", fewer, tools=False, now=NOW).models == fewer


def test_every_order_that_a_target_or_the_setting_can_name_exists() -> None:
    assert {model.order for model in VIRTUAL_MODELS.values()} <= ORDERS.keys()
    assert set(DECLARATIONS["FREE_ORDER"].allowed.replace(" or ", ", ").split(", ")) == ORDERS.keys()


def test_each_key_s_part_of_the_models_has_its_own_order_and_what_is_kept_is_bounded(bed: Bed) -> None:
    part = MODELS[:2]
    first, of_part = bed.arranged("balanced"), bed.orders.arrange("balanced", part, tools=False, now=NOW)
    assert set(of_part.models) == set(part)
    assert bed.arranged("balanced") is first, "the other list has not taken its place"
    assert bed.orders.arrange("balanced", part, tools=False, now=NOW) is of_part
    for _ in range(3 * MOST_LISTS):
        bed.orders.arrange("context", (*MODELS,), tools=False, now=NOW)
    assert len(bed.orders._lists) <= MOST_LISTS
