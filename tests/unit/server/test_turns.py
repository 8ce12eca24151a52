"""When a connection lets the others run: after it has worked for a while, and never if it has just waited."""

from __future__ import annotations

import time

import gevent
import pytest

from ollama_proxy.server import turns
from ollama_proxy.server.turns import SLICE_SECONDS, Turn, let_others_run


def work(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_others_run_after_each_slice() -> None:
    over, others = False, 0

    def other() -> None:
        nonlocal others
        while not over:
            others += 1
            let_others_run()

    running = gevent.spawn(other)
    turn = Turn()
    for _ in range(20):
        work(SLICE_SECONDS)
        turn.offer()
    over = True
    running.join(5)
    assert others >= 9, "the first offer only starts the clock, and so does the first one after each turn"


def test_the_loop_looks_at_its_sockets_in_each_turn() -> None:
    before = gevent.get_hub().loop.iteration
    for _ in range(10):
        let_others_run()
    assert gevent.get_hub().loop.iteration - before >= 10


@pytest.mark.parametrize(
    ("waits", "lets"),
    [pytest.param(True, 0, id="one that waits pays nothing"), pytest.param(False, 5, id="one that never waits")],
)
def test_who_lets_others_run(monkeypatch: pytest.MonkeyPatch, waits: bool, lets: int) -> None:
    let = 0

    def count() -> None:
        nonlocal let
        let += 1
        gevent.sleep(1e-9)

    monkeypatch.setattr(turns, "let_others_run", count)
    turn = Turn()
    for _ in range(10):
        turn.offer()
        work(SLICE_SECONDS)
        if waits:
            gevent.sleep(1e-9)
    assert let == lets


def test_who_is_killed_meanwhile_ends_where_it_waits() -> None:
    """An answer's iterator writes a last line when it is ended, so it must be the one who learns of it."""
    seen: list[str] = []

    def answer() -> None:
        turn = Turn()
        for _ in range(4):
            turn.offer()
            work(SLICE_SECONDS)
        seen.append("worked")
        try:
            gevent.sleep(5)
        except gevent.GreenletExit:
            seen.append("ended")

    answering = gevent.spawn(answer)
    let_others_run()  # until it offers its turn for the first time
    answering.kill(timeout=5)
    assert seen == ["worked", "ended"]
    assert answering.dead
