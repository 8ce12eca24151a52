"""How a request ended, and what is noted of its usage."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ollama_proxy.observation import Observation, Observers, Outcome

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


class Broken:
    """An observer that raises whatever it is told."""

    def began(self, observation: Observation) -> None:
        raise RuntimeError("began")

    def answering(self, observation: Observation) -> None:
        raise RuntimeError("answering")

    def ended(self, observation: Observation) -> None:
        raise RuntimeError("ended")


class Told:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def began(self, observation: Observation) -> None:
        self.calls.append("began")

    def answering(self, observation: Observation) -> None:
        self.calls.append("answering")

    def ended(self, observation: Observation) -> None:
        self.calls.append("ended")


def test_an_observer_that_raises_harms_nobody_and_is_reported_once() -> None:
    reported: list[str] = []
    told = Told()
    observers = Observers(Broken(), told, on_error=reported.append)
    for _ in range(3):
        observation = Observation("id", "GET", "/")
        observers.began(observation)
        observers.answering(observation)
        observers.ended(observation)
    assert told.calls == ["began", "answering", "ended"] * 3
    assert reported == ["Broken.began", "Broken.answering", "Broken.ended"]


def test_what_else_is_told_harms_nobody_either() -> None:
    reported: list[str] = []
    seen: list[int] = []

    def divide(number: int) -> None:
        seen.append(1 // number)

    divide_safely = Observers(on_error=reported.append).safely(divide)
    for number in (1, 0, 0):
        divide_safely(number)
    assert seen == [1]
    assert len(reported) == 1


def test_an_observer_that_comes_later_is_told_from_then_on() -> None:
    told = Told()
    observers = Observers()
    observers.began(Observation("id", "GET", "/"))
    observers.add(told)
    observers.ended(Observation("id", "GET", "/"))
    assert told.calls == ["ended"]


def test_who_calls_is_an_address_and_a_keys_name() -> None:
    assert Observation("id", "GET", "/", address="10.0.0.7").who() == {"client": "10.0.0.7"}
    assert Observation("id", "GET", "/", address="a", key="key 1").who() == {"client": "a", "key": "key 1"}
