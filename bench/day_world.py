"""A day of OpenRouter's free models without sockets: what each model does when, on a clock that nobody waits for.

The world is the same for every policy: what a model does with a request follows from the seed, the request, the model
and the hour, not from what was asked before. Answers are real event streams, so that the server's own code reads them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ollama_proxy.catalog.filters import Filters
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.openrouter.http.client import UpstreamAnswer

#: The first second of every day. No time of this world has anything to do with today's.
EPOCH = 1_800_000_000.0
HOUR = 3600.0
DAY_HOURS = 24

#: Moods change every so many hours.
MOOD_HOURS = 6

#: A model that hangs is given up by its provider after so many seconds.
HANGS_SECONDS = 120.0

#: The recorded model list, and the day it was recorded.
RECORDED = "models/models_2026-08-22.json"
RECORDED_ON = date(2026, 8, 22)

BEST = "z-ai/glm-5.2:free"


class VirtualTime:
    """A clock that passes only while somebody waits. Has the functions of the module `time` that exchanges use."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return EPOCH + self.now

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def recorded_catalog(recordings: Path) -> Catalog:
    """The free models of the recorded list, with their windows, abilities and indices. OSError without the file."""
    records = json.loads((recordings / RECORDED).read_text())["data"]
    return Catalog.build(
        records,
        (),
        free_mode=True,
        tool_use_only=False,
        filters=Filters.load(None, recordings / "no filters here").current(),
        today=RECORDED_ON,
        fetched_at=EPOCH,
    )


@dataclass(frozen=True, slots=True)
class Nature:
    """What a model is like on a plain day: seconds to a first token, tokens a second, shares of answers that fail.

    `pool` are 429s of its provider's pool, `fails` 5xx. At the `peak`, six hours of the day, the first token takes
    `peak_first` seconds. `moody`: its moods change.
    """

    first: float
    speed: float
    pool: float = 0.0
    fails: float = 0.02
    gated: bool = False
    peak_first: float | None = None
    moody: bool = True


#: What was measured of these models by others, in round numbers; a model that is not here is `_OTHER`.
_NATURES: dict[str, Nature] = {
    BEST: Nature(2.5, 60, pool=0.15, moody=False),
    "thinkingmachines/inkling:free": Nature(3, 50, gated=True),
    "thinkingmachines/inkling-small:free": Nature(2, 60, gated=True),
    "nvidia/nemotron-3-ultra-550b-a55b:free": Nature(14, 25, fails=0.03, peak_first=80, moody=False),
    "nvidia/nemotron-3.5-lightning:free": Nature(3, 6),
    "nvidia/nemotron-3-super-120b-a12b:free": Nature(3, 40, fails=0.05),
    "google/gemma-4-31b-it:free": Nature(1.5, 45, pool=0.40),
    "google/gemma-4-26b-a4b-it:free": Nature(1.2, 60, pool=0.35),
    "dots-studio/dots-3-note-preview:free": Nature(4, 30, fails=0.08),
    "poolside/laguna-s-2.1:free": Nature(2, 60, fails=0.04),
}
_SMALL = Nature(0.9, 120, fails=0.01, moody=False)
_SMALL_ONES = ("nano", "lfm", "north-mini", "laguna-xs")
_OTHER = Nature(3, 40, fails=0.05)

#: In a mood: how much longer the first token takes, and how many answers fail on top.
_MOODS = ((0.70, 1.0, 0.0), (0.20, 3.0, 0.0), (0.10, 1.0, 0.5))

#: The best model is healthy for so many hours of the day. In the others, which are in one piece, so many of its answers
#: fail, in one of these ways (0: it hangs), and the rest takes so much longer to begin.
HEALTHY_HOURS = 16
ILL_FAILS = 0.6
ILL_SLOWER = 3.0
_ILL = (429, 429, 502, 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the day, as the world sees it: a number, and what the model must be able to do."""

    number: int
    tools: bool
    images: bool
    prompt_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Doing:
    """What a model does with a request: it answers (200), refuses with a status, or hangs (0)."""

    status: int
    first: float = 0.0
    seconds: float = 0.0


class World:
    """What each model does, by the hour, on the day of a seed. `dead`: the best model is down all day."""

    def __init__(self, catalog: Catalog, seed: int, *, dead: bool = False) -> None:
        self.catalog = catalog
        self.clock = VirtualTime()
        self._seed = seed
        self._dead = dead
        chance = random.Random(f"{seed} day")
        self._ill_from = chance.uniform(0, DAY_HOURS)
        self._peak = chance.randrange(DAY_HOURS // MOOD_HOURS)

    def nature(self, model_id: str) -> Nature:
        """What a model is like on a plain day."""
        if (found := _NATURES.get(model_id)) is not None:
            return found
        return _SMALL if any(word in model_id for word in _SMALL_ONES) else _OTHER

    def is_healthy(self, model_id: str, at: float) -> bool:
        """Whether the best model is up at `at` (seconds of the day); the others are always, in their way."""
        if model_id != BEST:
            return True
        return not self._dead and (at / HOUR - self._ill_from) % DAY_HOURS >= DAY_HOURS - HEALTHY_HOURS

    def doing(self, model: Model, asked: Asked, at: float) -> Doing:
        """What `model` does with a request that reaches it at `at` (seconds of the day)."""
        if refused := _cannot(model, asked):
            return Doing(refused, first=0.3)
        nature = self.nature(model.id)
        if nature.gated:
            return Doing(403, first=0.3)
        period = int(at / HOUR) // MOOD_HOURS
        chance = random.Random(f"{self._seed} {asked.number} {model.id} {period}")
        slower, fails = self._mood(model.id, period) if nature.moody else (1.0, 0.0)
        if not self.is_healthy(model.id, at):
            if self._dead or chance.random() < ILL_FAILS:
                return Doing(chance.choice(_ILL), first=0.5)
            slower = ILL_SLOWER
        drawn = chance.random()
        if drawn < nature.pool:
            return Doing(429, first=0.4)
        if drawn < nature.pool + nature.fails + fails:
            return Doing(502, first=1.0)
        first = nature.first
        if nature.peak_first is not None and period % (DAY_HOURS // MOOD_HOURS) == self._peak:
            first = nature.peak_first
        first *= slower * chance.lognormvariate(0, 0.35)
        return Doing(200, first, asked.tokens / (nature.speed * chance.lognormvariate(0, 0.2)))

    def _mood(self, model_id: str, period: int) -> tuple[float, float]:
        drawn = random.Random(f"{self._seed} {model_id} mood {period}").random()
        for share, slower, fails in _MOODS:
            if drawn < share:
                return slower, fails
            drawn -= share
        return 1.0, 0.0

    def could_answer(self, asked: Asked, at: float) -> bool:
        """Whether any model would have answered at `at`."""
        return any(self.doing(model, asked, at).status == 200 for model in self.catalog.free)


def _cannot(model: Model, asked: Asked) -> int:
    """The status with which OpenRouter refuses what a model cannot do; 0 if it can."""
    if (asked.tools and not model.tools) or (asked.images and not model.vision):
        return 404
    return 400 if asked.prompt_tokens + asked.tokens > model.context_length else 0


# What the server's own code reads

_JSON = {"Content-Type": "application/json"}
_STREAM = {"Content-Type": "text/event-stream"}
_COMMENT = b": OPENROUTER PROCESSING\n\n"


def _event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


_FIRST = _event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "x"}}]})

_MORE = _event({"choices": [{"index": 0, "delta": {"content": "x"}}]})


def _last(tokens: int) -> bytes:
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": tokens}}
    return _event(end) + b"data: [DONE]\n\n"


#: The errors in OpenRouter's own form: status, message, metadata.
_ERRORS: dict[int, tuple[str, dict[str, Any]]] = {
    400: ("This endpoint's maximum context length is exceeded.", {}),
    403: ("Please complete the following before use", {"missing_attestation_types": ["agentic harness"]}),
    404: ("No endpoints found that support this.", {}),
    429: ("Provider returned error", {"provider_name": "pool", "raw": "temporarily rate-limited upstream"}),
    502: ("Provider returned error", {"provider_name": "pool", "raw": "bad gateway"}),
}


def answer_of(doing: Doing, tokens: int) -> tuple[int, dict[str, str], list[tuple[float, bytes]]]:
    """Status, headers and the parts of the body, each after so many seconds."""
    if doing.status == 0:
        late = _event({"error": {"code": 504, "message": "the provider timed out"}})
        return 200, _STREAM, [*[(10.0, _COMMENT)] * int(HANGS_SECONDS / 10), (0.0, late)]
    if doing.status == 200:
        parts = 1 + int(doing.seconds / 10)  # a stream is never silent for long
        middle = [(doing.seconds / parts, _MORE)] * (parts - 1)
        return 200, _STREAM, [(doing.first, _FIRST), *middle, (doing.seconds / parts, _last(tokens))]
    message, metadata = _ERRORS[doing.status]
    error = {"error": {"code": doing.status, "message": message, "metadata": metadata}}
    return doing.status, _JSON, [(0.0, json.dumps(error).encode())]


@dataclass
class _Body:
    """The body of an answer, whose parts come when the clock is there."""

    clock: VirtualTime
    parts: Iterator[tuple[float, bytes]]
    ended: bool = False
    _due: float = 0.0
    _next: bytes | None = None

    def read(self, timeout: float) -> bytes | None:
        if self._next is None:
            after, self._next = next(self.parts, (0.0, b""))
            self._due = self.clock.now + after
        if self._due > self.clock.now + timeout:
            self.clock.now += timeout
            return None
        self.clock.now = max(self.clock.now, self._due)
        data, self._next = self._next, None
        self.ended = self.ended or not data
        return data

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Upstream:
    """Stands in the place of what sends a request: the answer is there when the clock is. `asked` is set before."""

    world: World
    asked: Asked | None = None
    models: Mapping[str, Model] = field(default_factory=dict)

    def start(self, path: str, body: bytes, headers: Mapping[str, str]) -> _Answering:
        """What `Backend.start` does, without a socket."""
        assert self.asked is not None
        model = self.models[json.loads(body)["model"]]
        return _Answering(self.world.clock, self.world.doing(model, self.asked, self.world.clock.now), self.asked)


class _Answering:
    """What `Upstream.start` returns: like a call in the background."""

    def __init__(self, clock: VirtualTime, doing: Doing, asked: Asked) -> None:
        self._clock = clock
        self._status, headers, parts = answer_of(doing, asked.tokens)
        self._due = clock.now + (doing.first if self._status != 200 else 0.1)
        self._answer = UpstreamAnswer(self._status, headers, _Body(clock, iter(parts)))

    def wait(self, timeout: float) -> bool:
        self._clock.now = min(self._clock.now + timeout, max(self._due, self._clock.now))
        return self._clock.now >= self._due

    def result(self) -> UpstreamAnswer:
        return self._answer

    def cancel(self) -> None:
        """Nothing is open."""
