"""ops.status: what a report tells of models and their failures, and which model a name means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxy.ops.status.failure_states import failure_state, model_named
from ollama_proxy.ops.status.model_states import model_state, price
from ollama_proxy.ops.status.views import is_cooling
from ollama_proxy.storage.failure_table import FailureRow
from tests.unit.catalog.free_models import catalog_of, record

CATALOG = catalog_of(
    record("acme/bolt:free"),
    record("acme/Nut:free"),
    record("a/twin:free"),
    record("b/twin:free"),
    record("acme/gold", pricing={"prompt": "0.1", "completion": "0.1"}),
)
BOLT = next(model for model in CATALOG.known() if model.id == "acme/bolt:free")
#: Failed at 05:20:40 on 22 November 2026, for a minute.
FAILED_AT = 1795324840.0
ROW = FailureRow("acme/bolt:free", "model failing", 2, FAILED_AT, FAILED_AT + 60, "HTTP 503", None)


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        pytest.param("bolt:free", "acme/bolt:free", id="a listed name"),
        pytest.param("acme/bolt:free", "acme/bolt:free", id="an id"),
        pytest.param("BOLT", "acme/bolt:free", id="any case, without the tag in free mode"),
        pytest.param("nut", "acme/Nut:free", id="an id with capitals"),
        pytest.param("gold", "acme/gold", id="a model that costs, in free mode"),
        pytest.param("acme/gold:latest", "acme/gold", id="its id with a tag"),
        pytest.param("twin:free", None, id="the short name of two"),
        pytest.param("free", None, id="the virtual model"),
        pytest.param("nothing", None, id="no model's name"),
        pytest.param("", None, id="nothing at all"),
    ],
)
def test_which_model_a_name_means(name: str, model_id: str | None) -> None:
    found = model_named(CATALOG, name)
    assert (found.id if found is not None else None) == model_id


@pytest.mark.parametrize(
    ("changes", "seconds", "cooling"),
    [
        pytest.param({}, 59, True, id="within its time"),
        pytest.param({}, 60, False, id="over"),
        pytest.param({"record_digest": "of another record"}, 59, False, id="the model's record has changed"),
    ],
)
def test_whether_a_model_cools_down(changes: dict[str, Any], seconds: float, cooling: bool) -> None:
    assert is_cooling(replace(ROW, **changes), BOLT, FAILED_AT + seconds) is cooling


def test_without_a_record_only_the_time_counts() -> None:
    row = replace(ROW, record_digest="of another record")
    assert is_cooling(row, None, FAILED_AT + 59)
    assert not is_cooling(row, None, FAILED_AT + 60)


def test_a_failure_in_json() -> None:
    assert failure_state(ROW, BOLT, FAILED_AT + 1) == {
        "id": "acme/bolt:free",
        "name": "bolt:free",
        "state": "cooling",
        "failures": 2,
        "failed_at": "2026-11-22T05:20:40Z",
        "blame": "model failing",
        "reason": "HTTP 503",
        "until": "2026-11-22T05:21:40Z",
    }
    gone = failure_state(ROW, None, FAILED_AT + 61)
    assert (gone["id"], gone["name"], gone["state"]) == ("acme/bolt:free", None, "over")


def test_a_model_in_json() -> None:
    assert BOLT is not None
    never_failed = model_state(BOLT, None, FAILED_AT, priced=False)
    assert never_failed == {
        "name": "bolt:free",
        "id": "acme/bolt:free",
        "context_length": BOLT.context_length,
        "capabilities": ["completion", "tools"],
        "state": "ready",
        "reason": None,
        "until": None,
    }
    assert model_state(BOLT, ROW, FAILED_AT, priced=False) == never_failed | {
        "state": "cooling",
        "reason": "HTTP 503",
        "until": "2026-11-22T05:21:40Z",
    }
    # As the table has it: "failed before".
    assert model_state(BOLT, ROW, FAILED_AT + 60, priced=False) == never_failed | {"reason": "HTTP 503"}


@pytest.mark.parametrize(
    ("pricing", "prompt", "completion"),
    [
        pytest.param({"prompt": "0.00000015", "completion": "0.0000006"}, 0.15, 0.6, id="dollars a token, as text"),
        pytest.param({"prompt": "0", "completion": 0}, 0, 0, id="free"),
        pytest.param({"prompt": "-1", "completion": "-1"}, None, None, id="a router chooses"),
        pytest.param({"prompt": "much", "completion": None}, None, None, id="no numbers"),
        pytest.param({"prompt": "nan", "completion": "inf"}, None, None, id="numbers that JSON has not"),
        pytest.param(None, None, None, id="no prices"),
    ],
)
def test_prices_are_told_for_a_million_tokens(pricing: Any, prompt: float | None, completion: float | None) -> None:
    model = replace(BOLT, record={"pricing": pricing})
    assert price(model) == {"prompt": prompt, "completion": completion}
    assert model_state(model, None, FAILED_AT, priced=True)["price"] == price(model)
