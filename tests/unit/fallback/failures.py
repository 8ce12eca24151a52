"""Failures of two models by a clock that is told what time it is."""

from __future__ import annotations

from typing import Any

from ollama_proxy.catalog.records import Model
from ollama_proxy.config import Settings
from ollama_proxy.fallback.memory import FailureMemory
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from tests.unit.catalog.free_models import model

START = 1_800_000_000.0
MINUTE, DAY = 60.0, 86_400.0
A = model("a/one:free")
B = model("b/two:free")
SETTINGS = Settings(failure_cooldown_minutes=5, ratelimit_cooldown_minutes=1)


class Clock:
    """Seconds since START that pass only when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def at(self, seconds: float) -> float:
        self.now = START + seconds
        return self.now


def verdict(blame: Blame = Blame.MODEL_FAILING, *, reason: str = "why", retry_at: float | None = None) -> Verdict:
    return Verdict(blame, 502, "message", reason, retry_at)


def fail(memory: FailureMemory, clock: Clock, at: float, blame: Blame = Blame.MODEL_FAILING, **more: Any) -> None:
    """A failure of A, after an attempt of one second, with its time to retry `retry_in` seconds after it."""
    began = more.pop("began", at - 1)
    which = more.pop("model", A)
    retry_in = more.pop("retry_in", None)
    clock.at(at)
    retry_at = None if retry_in is None else START + at + retry_in
    memory.failed(which, verdict(blame, retry_at=retry_at, **more), began_at=START + began)


def left(memory: FailureMemory, clock: Clock, which: Model = A) -> float | None:
    """Seconds that `which` still cools down."""
    cooling = memory.cooling(which, clock.now)
    return None if cooling is None else cooling.until - clock.now
