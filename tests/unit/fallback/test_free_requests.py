"""This process's own count of free attempts."""

from __future__ import annotations

import pytest

from ollama_proxy.fallback.free_requests import FreeRequestCount


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("limit", "sent", "exhausted"),
    [
        pytest.param(3, [], False, id="nothing sent"),
        pytest.param(3, [0, 0], False, id="below the limit"),
        pytest.param(3, [0, 0, 0], True, id="at the limit"),
        pytest.param(3, [0, 0, 0, 0, 0], True, id="above it: first attempts are sent all the same"),
        pytest.param(3, [0, 59, 59.9], True, id="the oldest is still within the minute"),
        pytest.param(3, [0, 59, 60], False, id="the oldest is a minute old"),
        pytest.param(3, [0, 1, 2, 61, 62], False, id="only the last ones matter"),
        pytest.param(1, [0], True, id="a limit of one"),
        pytest.param(0, [0] * 100, False, id="0 is no limit"),
    ],
)
def test_the_limit_is_reached(limit: int, sent: list[float], exhausted: bool) -> None:
    clock = Clock()
    count = FreeRequestCount(limit, clock=clock)
    for at in sent:
        clock.now = 1000 + at
        count.add()
    assert count.exhausted() is exhausted


def test_a_minute_later_there_is_room_again() -> None:
    clock = Clock()
    count = FreeRequestCount(2, clock=clock)
    count.add()
    count.add()
    assert count.exhausted()
    clock.now += 60
    assert not count.exhausted()
