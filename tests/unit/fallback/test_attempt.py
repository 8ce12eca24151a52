"""An attempt at what no good upstream sends: bounded, whatever comes and however fast."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from ollama_proxy.fallback import attempt as attempt_module
from ollama_proxy.fallback.attempt import (
    LONGEST_BURST,
    LONGEST_TRAILER,
    MOST_HELD,
    MOST_HELD_BYTES,
    Attempt,
    AttemptFailed,
    Beat,
    Burst,
    Patience,
    Pulse,
)
from ollama_proxy.openrouter.answers.chat_dialect import CHAT
from ollama_proxy.openrouter.errors.failure import FailureKind
from tests.unit.fallback.scripted_upstream import COMMENT, DONE, ROLE, FakeTime, Reply, ScriptedCall, delta, finish

#: A read of a full socket.
FULL = 65536


class Counted(Iterator[tuple[float, bytes]]):
    """The reads of a body that never ends, counted."""

    def __init__(self, *parts: bytes, seconds: float = 0.0) -> None:
        self._parts = itertools.chain(parts, itertools.repeat(parts[-1]))
        self._seconds = seconds
        self.reads = 0

    def __next__(self) -> tuple[float, bytes]:
        self.reads += 1
        assert self.reads < 100_000, "it reads for ever"
        return self._seconds, next(self._parts)


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


def attempt_at(
    clock: FakeTime,
    parts: Any,
    *,
    streamed: bool = True,
    kind: str = "text/event-stream",
    status: int = 200,
    slow: list[float] | None = None,
    **patience: float,
) -> Attempt:
    call = ScriptedCall(Reply(parts, status, {"Content-Type": kind}), clock)
    given = {"first_token": float("inf"), "silence": 60.0, "whole": 300.0, **patience}
    return Attempt(
        call,  # type: ignore[arg-type]
        streamed=streamed,
        patience=Patience(**given),
        pulse=Pulse(10, clock),
        dialect=CHAT,
        on_slow=slow.append if slow is not None else lambda _: None,
        clock=clock,
    )


def failure_of(attempt: Attempt) -> FailureKind:
    with pytest.raises(AttemptFailed) as caught:
        bursts_of(attempt)
    return caught.value.failure.kind


def bursts_of(attempt: Attempt) -> list[Burst]:
    return [item for item in attempt if not isinstance(item, Beat)]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(COMMENT, id="comments"),
        pytest.param(delta(""), id="empty deltas"),
        pytest.param(b"data: {}\n\n", id="empty objects"),
        pytest.param(b"\n\n", id="empty lines"),
    ],
)
def test_what_is_held_before_the_first_token_is_bounded(clock: FakeTime, said: bytes) -> None:
    read = said * (FULL // len(said))
    parts = Counted(read)
    assert failure_of(attempt_at(clock, parts)) is FailureKind.MALFORMED
    assert parts.reads * len(read) <= MOST_HELD_BYTES + 2 * FULL


def test_the_number_of_events_that_are_held_is_bounded(clock: FakeTime) -> None:
    parts = Counted(b"data: {}\n\n" * 1000)
    assert failure_of(attempt_at(clock, parts)) is FailureKind.MALFORMED
    assert parts.reads <= MOST_HELD // 1000 + 2


def test_the_first_token_s_time_runs_while_data_flows(clock: FakeTime) -> None:
    attempt = attempt_at(clock, Counted(ROLE, seconds=0.1), first_token=2.0)
    assert failure_of(attempt) is FailureKind.FIRST_TOKEN_TIMEOUT
    assert clock.now == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_whole_answer_s_time_runs_while_data_flows(clock: FakeTime, streamed: bool) -> None:
    attempt = attempt_at(clock, Counted(b" ", seconds=0.1), streamed=streamed, kind="application/json", whole=3.0)
    assert failure_of(attempt) in (FailureKind.TOTAL_TIMEOUT, FailureKind.FIRST_TOKEN_TIMEOUT)
    assert clock.now == pytest.approx(3.0, abs=0.2)


def test_the_body_of_an_error_is_bounded_in_time_and_size(clock: FakeTime) -> None:
    parts = Counted(b"x" * FULL)
    assert failure_of(attempt_at(clock, parts, status=500, kind="text/html")) is FailureKind.STATUS
    assert parts.reads < 10
    assert failure_of(attempt_at(clock, Counted(b"x", seconds=1.0), status=500, kind="text/html")) is FailureKind.STATUS
    assert clock.now < 15


def test_very_many_events_in_one_read_become_several_bursts(clock: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []
    monkeypatch.setattr(attempt_module, "give_turn", lambda: turns.append(1))
    many = delta("x") * (3 * LONGEST_BURST)
    attempt = attempt_at(clock, [(0, delta("first")), (0, many + finish() + DONE)])
    complete, sizes = [], []
    for item in attempt:
        assert not isinstance(item, Beat)
        sizes.append(len(item))
        complete.append(attempt.complete)
    assert sizes == [1, LONGEST_BURST, LONGEST_BURST, LONGEST_BURST, 2]
    assert complete == [False, False, False, False, True]
    assert len(turns) == 3


def test_what_was_held_comes_in_bursts_too(clock: FakeTime) -> None:
    parts = [(0.0, ROLE * (2 * LONGEST_BURST)), (0.0, delta("x") + finish() + DONE)]
    assert [len(burst) for burst in bursts_of(attempt_at(clock, parts))] == [LONGEST_BURST, LONGEST_BURST, 3]


def test_what_comes_behind_the_end_is_read_only_so_far(clock: FakeTime) -> None:
    parts = Counted(delta("x") + finish() + DONE, b"x" * 1000)
    attempt = attempt_at(clock, parts)
    bursts_of(attempt)
    assert attempt.complete
    assert parts.reads <= LONGEST_TRAILER // 1000 + 2
