"""Scenarios tell the simulator how to behave: one per request, from queues per model or endpoint. No sockets."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from simulator.errors import ERRORS

Json = dict[str, Any]


class BadScenario(ValueError):
    """A scenario that cannot be understood; the text says why."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The members of a scenario; the package's docstring explains each. `posted`: epoch seconds at which it was set."""

    # an error or a fixed body in place of an answer
    status: int | None = None
    body: Any = None
    headers: Json = field(default_factory=dict)
    error_name: str | None = None
    reset_in: float | None = None
    retry_after: int | None = None
    limit: int | None = None
    affordable: int = 100
    http_rate_headers: bool = False
    error_in_200_json: bool = False
    raw_response: Json | None = None
    events: list[Any] | None = None
    # what is said
    text: str | list[str] | None = None
    tokens: int | None = None
    reasoning: str | list[str] | bool | None = None
    tool_calls: list[Json] | None = None
    tool_call_fragments: int = 3
    refusal: str | None = None
    images: list[str] | None = None
    empty: bool = False
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    usage: Json | None = None
    cost: str | None = None
    reported_model: str | None = None
    # the shape of the stream
    comments: int = 1
    in_stream_error: int | None = None
    shape: int = 1
    error_done: bool = False
    early_close: int | None = None
    early_end: int | None = None
    rst: bool = False
    cut_head: int | None = None
    close_without_done: bool = False
    no_finish: bool = False
    no_usage: bool = False
    usage_empty_choices: bool = False
    usage_finish_null: bool = False
    crlf: bool = False
    whole_json: bool = False
    coalesce: bool = False
    cut: list[int] | None = None
    cut_every: int | None = None
    cut_delay: float = 0.0
    chunked: bool = True
    padding: bool = True
    # time
    silence: float = 0.0
    silence_at: int = 0
    comment_every: float | None = None
    before_headers: bool = False
    delay_first: float = 0.0
    token_delay: float = 0.0
    hold: str | None = None
    hold_at: int | list[int] | str = 0
    record_times: bool = False
    # connections and chance
    only_for: str | None = None
    close_idle_after_response: bool | str = False
    unchecked: bool = False
    fail_rate: float = 0.0
    seed: int = 0
    failures: list[Any] = field(default_factory=lambda: ["pool_429", "503", "empty", "early_close", "in_stream_error"])
    posted: float = 0.0

    @property
    def is_http_error(self) -> bool:
        inside = self.in_stream_error is not None or self.error_in_200_json
        return (self.status is not None or self.error_name is not None) and not inside and self.raw_response is None

    @property
    def fails(self) -> bool:
        """Whether an answer with status 200 is none: it breaks off, brings an error, or says nothing."""
        cut = (self.in_stream_error, self.early_close, self.early_end)
        return self.error_in_200_json or self.empty or any(one is not None for one in cut)

    def holds_at(self, index: int) -> bool:
        """Return True if the gate `hold` stands before the event `index`."""
        if self.hold is None or self.before_headers:
            return False
        if isinstance(self.hold_at, list):
            return index in self.hold_at
        return self.hold_at == "every" or index == self.hold_at


FIELDS = {item.name for item in fields(Scenario)} - {"posted"}

KINDS: dict[str, Json] = {
    "empty": {"empty": True},
    "early_close": {"early_close": 2},
    "early_close_first": {"early_close": 0},
    "rst": {"early_close": 1, "rst": True},
    "early_end": {"early_end": 2},
    "in_stream_error": {"in_stream_error": 2},
    "in_stream_error_first": {"in_stream_error": 0},
    "error_in_200_json": {"error_in_200_json": True},
    "no_answer": {"early_close": 0, "before_headers": True},
    "half_head": {"cut_head": 30},
}


def parse(members: Any) -> Scenario:
    """Return a scenario from JSON. Raises `BadScenario` for an unknown member or error name."""
    if not isinstance(members, dict):
        raise BadScenario("a scenario is an object")
    if unknown := set(members) - FIELDS:
        raise BadScenario(f"unknown scenario fields: {sorted(unknown)}; known: {sorted(FIELDS)}")
    name = members.get("error_name")
    if name is not None and name not in ERRORS:
        raise BadScenario(f"unknown error_name {name!r}; known: {sorted(ERRORS)}")
    scenario = Scenario(**members, posted=time.time())
    for failure in scenario.failures:
        _failure(failure)
    return scenario


def _failure(failure: Any) -> Json:
    """Return the members of one item of `failures`: an object, a kind, or the name of an error."""
    if isinstance(failure, dict):
        parse(failure)
        return failure
    if failure in KINDS:
        return KINDS[failure]
    if failure in ERRORS:
        return {"error_name": failure}
    raise BadScenario(f"unknown failure {failure!r}; kinds: {sorted(KINDS)}, or an error name")


@dataclass(slots=True)
class _Queued:
    scenario: Scenario
    left: int | None
    until: float | None
    chance: random.Random


class ScenarioBook:
    """Queues of scenarios under a model id, an endpoint ("/chat/completions") or "*" (all POST endpoints)."""

    def __init__(self) -> None:
        self._queues: dict[str, list[_Queued]] = {}

    def clear(self) -> None:
        self._queues.clear()

    def change(self, change: Json) -> None:
        """Change a queue: `{"model", "scenario" | "scenarios", "times", "for_seconds", "replace"}`.

        The package's docstring explains the members.
        """
        target = change.get("model") or change.get("endpoint") or "*"
        scenarios = change.get("scenarios", [change.get("scenario")])
        if change.get("replace") or scenarios == [None]:
            self._queues.pop(target, None)
        seconds = change.get("for_seconds")
        until = None if seconds is None else time.monotonic() + float(seconds)
        times = change.get("times", 1 if "scenarios" in change else None)
        for members in scenarios:
            if members is not None:
                self._add(target, _Queued(parse(members), times, until, random.Random(members.get("seed", 0))))

    def _add(self, target: str, queued: _Queued) -> None:
        queue = self._queues.setdefault(target, [])
        if queue and queue[-1].left is None and queue[-1].until is None:
            queue.pop()  # after an endless scenario the new one would never be used
        queue.append(queued)

    def take(self, targets: Iterable[str | None]) -> tuple[str, Scenario] | None:
        """Return the first target that has a scenario, with its next scenario, or None."""
        for target in targets:
            queue = self._queues.get(target or "", [])
            while queue and queue[0].until is not None and queue[0].until <= time.monotonic():
                queue.pop(0)
            if queue:
                queued = queue[0]
                if queued.left is not None:
                    queued.left -= 1
                    if queued.left <= 0:
                        queue.pop(0)
                return target or "", _with_chance(queued)
        return None


def _with_chance(queued: _Queued) -> Scenario:
    scenario = queued.scenario
    if scenario.fail_rate and queued.chance.random() < scenario.fail_rate:
        return replace(scenario, **_failure(queued.chance.choice(scenario.failures)))
    return scenario


class Gates:
    """Named places where answers wait until a test releases them."""

    def __init__(self) -> None:
        self._permits: dict[str, float] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def clear(self) -> None:
        """Close all gates again."""
        self._permits.clear()

    def release(self, name: str, count: int | None = None) -> None:
        """Open a gate for good, or for the next `count` waiters. "*" means all gates with a waiter."""
        for gate in list(self._waiting) if name == "*" else [name]:
            self._permits[gate] = float("inf") if count is None else self._permits.get(gate, 0) + count
            for waiter in self._waiting.get(gate, []):
                if not waiter.done():
                    waiter.set_result(None)

    async def wait(self, name: str) -> None:
        while self._permits.get(name, 0) < 1:
            waiter = asyncio.get_running_loop().create_future()
            waiting = self._waiting.setdefault(name, [])
            waiting.append(waiter)
            try:
                await waiter
            finally:
                waiting.remove(waiter)
        self._permits[name] -= 1


def raw_bytes(source: Any) -> bytes:
    """Return bytes given as text or as `{"base64": ...}` / `{"text": ...}`."""
    if isinstance(source, str):
        return source.encode()
    if "base64" in source:
        return base64.b64decode(source["base64"])
    return str(source.get("text", "")).encode()
