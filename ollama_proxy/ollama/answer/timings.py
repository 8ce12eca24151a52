"""The durations and token counts of an answer's last line, under Ollama's names.

Durations are measured here, because OpenRouter reports none; token counts are the provider's. Knows no JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Stopwatch:
    """Measures when an answer was asked for, accepted, began and ended, in nanoseconds of one monotonic clock.

    Ollama's `load_duration` is the time until upstream accepted the request, `prompt_eval_duration` from there to the
    first token, `eval_duration` from the first token to the end.
    """

    def __init__(self, started: int, monotonic: Callable[[], int]) -> None:
        self._started = started
        self._monotonic = monotonic
        self._accepted: int | None = None
        self._first_token: int | None = None

    def accepted(self, at: int | None = None) -> None:
        """Note that upstream accepted the request, now or `at` that time; only the first call counts."""
        if self._accepted is None:
            self._accepted = self._monotonic() if at is None else at

    def first_token(self) -> None:
        """Note the first useful piece of the answer; only the first call counts."""
        if self._first_token is None:
            self._first_token = self._monotonic()

    def durations(self) -> dict[str, int]:
        """Return the four durations up to now, each at least 1, because clients divide by them."""
        ended = self._monotonic()
        first_token = ended if self._first_token is None else self._first_token
        accepted = first_token if self._accepted is None else min(self._accepted, first_token)
        return {
            "total_duration": max(1, ended - self._started),
            "load_duration": max(1, accepted - self._started),
            "prompt_eval_duration": max(1, first_token - accepted),
            "eval_duration": max(1, ended - first_token),
        }


def timings(
    durations: Mapping[str, int], usage: Mapping[str, Any] | None, *, prompt_estimate: int, answer_estimate: int
) -> dict[str, int]:
    """Return the six metrics in Ollama's order, all of them integers, because clients sum and divide them.

    The estimates are used if upstream sent no usage.
    """
    usage = usage or {}
    return {
        "total_duration": durations["total_duration"],
        "load_duration": durations["load_duration"],
        "prompt_eval_count": _count(usage.get("prompt_tokens"), prompt_estimate),
        "prompt_eval_duration": durations["prompt_eval_duration"],
        "eval_count": _count(usage.get("completion_tokens"), answer_estimate),
        "eval_duration": durations["eval_duration"],
    }


def _count(value: Any, estimate: int) -> int:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**63:
        return int(value)
    return max(1, estimate)
