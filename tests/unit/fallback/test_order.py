"""The orders in which free models are tried."""

from __future__ import annotations

import pytest

from ollama_proxy.catalog.target import DEFAULT_ORDER
from ollama_proxy.catalog.virtual import VIRTUAL_MODELS
from ollama_proxy.fallback.order import ORDERS, ByContext
from tests.unit.catalog.free_models import catalog_of, record

MODELS = catalog_of(
    record("a/small:free", 8_000), record("c/large:free", 1_000_000), record("b/large:free", 1_000_000)
).free


def test_by_context_the_largest_window_is_first_then_the_id() -> None:
    shuffled = tuple(sorted(MODELS, key=lambda model: model.id))
    assert [model.id for model in ByContext().arrange(shuffled)] == ["b/large:free", "c/large:free", "a/small:free"]


def test_what_was_worked_out_holds_until_the_models_change() -> None:
    order = ByContext()
    assert order.arrange(MODELS) is order.arrange(MODELS)
    assert len(order.arrange(MODELS[:1])) == 1


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_keeps_every_model(name: str) -> None:
    assert set(ORDERS[name].arrange(MODELS)) == set(MODELS)


def test_every_order_that_a_target_can_name_exists() -> None:
    assert {DEFAULT_ORDER, *(model.order for model in VIRTUAL_MODELS.values())} <= ORDERS.keys()
