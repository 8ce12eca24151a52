"""How a request ended, and what is noted of its usage."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ollama_proxy.observation import Observation, Outcome

ASKED = SimpleNamespace(
    model=None, tried=[SimpleNamespace(model="m", reason="x", seconds=1.0)], first_token_seconds=None
)
NOBODY_ASKED = SimpleNamespace(model=None, tried=[], first_token_seconds=None)


@pytest.mark.parametrize(
    ("noted", "outcome"),
    [
        pytest.param({"status": 200}, Outcome.WHOLE, id="a good status"),
        pytest.param({"status": 200, "exchange": ASKED}, Outcome.WHOLE, id="an answer, perhaps of a stand-in"),
        pytest.param({"status": 204}, Outcome.WHOLE, id="a preflight"),
        pytest.param({"status": 200, "broken": True, "exchange": ASKED}, Outcome.BROKEN, id="an error behind a 200"),
        pytest.param({"status": 200, "left": True}, Outcome.LEFT, id="the client left its stream"),
        pytest.param({"status": 0, "left": True}, Outcome.LEFT, id="the client left before a status"),
        pytest.param({"status": 400}, Outcome.REFUSED, id="a bad request"),
        pytest.param({"status": 403}, Outcome.REFUSED, id="no access"),
        pytest.param({"status": 400, "exchange": NOBODY_ASKED}, Outcome.REFUSED, id="refused before anybody was asked"),
        pytest.param({"status": 501}, Outcome.REFUSED, id="what this server never does"),
        pytest.param({"status": 400, "exchange": ASKED}, Outcome.FAILED, id="upstream refused"),
        pytest.param({"status": 429}, Outcome.FAILED, id="a limit holds"),
        pytest.param({"status": 502, "exchange": ASKED}, Outcome.FAILED, id="upstream failed"),
        pytest.param({"status": 500}, Outcome.FAILED, id="this server failed"),
        pytest.param({"status": 0}, Outcome.FAILED, id="no status at all"),
    ],
)
def test_the_outcome(noted: dict[str, Any], outcome: Outcome) -> None:
    assert Observation("id", "POST", "/", **noted).outcome is outcome
