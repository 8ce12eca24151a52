"""A blocking call that its caller can wait for in slices, and give up."""

from __future__ import annotations

import threading

import pytest

from ollama_proxy.background import Background
from tests.servers import wait_for


def test_waiting_in_slices() -> None:
    goes_on = threading.Event()

    def call() -> str:
        goes_on.wait(10)
        return "result"

    background = Background(call, discard=lambda _: None)
    assert not background.wait(0.01)
    goes_on.set()
    assert background.wait(10)
    assert background.result() == "result"


def test_what_the_call_raises_is_raised_by_the_result() -> None:
    def call() -> str:
        raise ValueError("broken")

    background = Background(call, discard=lambda _: None)
    assert background.wait(10)
    with pytest.raises(ValueError, match="broken"):
        background.result()


@pytest.mark.parametrize("when", ["before the end", "after the end"])
def test_a_result_that_nobody_wants_is_discarded(when: str) -> None:
    goes_on = threading.Event()
    discarded: list[str] = []

    def call() -> str:
        goes_on.wait(10)
        return "result"

    background = Background(call, discard=discarded.append)
    if when == "after the end":
        goes_on.set()
        assert background.wait(10)
    background.cancel()
    goes_on.set()
    wait_for(lambda: discarded == ["result"], what="the result is discarded")
