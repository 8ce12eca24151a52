"""A day of free models: how long people wait, for how good an answer, under each order. Takes seconds, not a day.

    OPENROUTER_RECORDINGS=/path/to/recordings python -m bench.day [--seeds 6] [--plot docs/day.png]

The server's own choosing code (orders, scores, conversations, patience, failure memory, suspicion, attempts) lives
through 24 hours of several hundred requests, on a clock of its own and without sockets. The models are those of the
recorded list, with their windows and indices; what they do is in `day_world.py` and the same for every policy. Beside
the orders stand two policies of comparison:

    before  the largest window first, and nothing is measured: what this server did before it had scores
    walk    the largest window first, whatever the request needs, until one answers: no measuring, no first-token limit

and, as the limits of what can be had, two that know before who will answer:

    hindsight        the best model that will answer, each time anew
    stays, hindsight the same, but a conversation keeps its model for as long as that one will answer
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.day_world import DAY_HOURS, HOUR, Asked, Upstream, World, recorded_catalog
from ollama_proxy.catalog.ratings import Index
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import chat_target
from ollama_proxy.config import Settings
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.backend import Backend
from ollama_proxy.fallback.call import Call
from ollama_proxy.fallback.choosing import Chooser
from ollama_proxy.fallback.conversations import Conversations, opening_of
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.fallback.free_requests import FreeRequestCount
from ollama_proxy.fallback.measurements import Measurements
from ollama_proxy.fallback.memory import FailureMemory
from ollama_proxy.fallback.needs import Needs

#: Conversations a day, callers who have them, and how many turns one has on average.
CONVERSATIONS = 110
CALLERS = 5
TURNS = 4.0

#: Seeds that count; the adverse one, in which the best model is dead all day, stands apart.
SEEDS = 6


@dataclass(slots=True)
class Answered:
    """How one request went: seconds to the first token and in all, the model (None: an error), attempts."""

    asked: Asked
    conversation: int
    first: float
    whole: float
    model: Model | None
    attempts: int
    could: bool = True

    @property
    def missed(self) -> bool:
        """There is no answer, though some model would have given one, and attempts and time were left."""
        left = self.attempts < Settings().max_attempts and self.whole < Settings().fallback_budget_seconds
        return self.model is None and self.could and left


@dataclass(slots=True)
class Turn:
    """A turn of a conversation that is to come."""

    conversation: int
    caller: str
    number: int
    left: int
    tools: bool
    images: bool
    prompt_tokens: int
    rng: random.Random = field(repr=False)


class Policy:
    """Answers a day's requests in its way. One for each day."""

    def __init__(self, world: World) -> None:
        self.world = world

    def ask(self, turn: Turn, asked: Asked) -> Answered:
        raise NotImplementedError


class Served(Policy):
    """The server's own code, asked for a name."""

    name = "free"

    def __init__(self, world: World, **settings: Any) -> None:
        super().__init__(world)
        self.settings = Settings(**settings)
        clock = world.clock
        self._upstream = Upstream(world, models={model.id: model for model in world.catalog.free})
        self.measured = self._measurements()
        self._backend = Backend(
            settings=self.settings,
            client=None,  # type: ignore[arg-type]
            start=self._upstream.start,  # type: ignore[arg-type]
            keeper=_Keeper(world.catalog),  # type: ignore[arg-type]
            memory=FailureMemory(self.settings, clock=clock.time),
            free_requests=FreeRequestCount(self.settings.free_requests_per_minute, clock=clock.monotonic),
            chooser=Chooser(self.settings, self.measured, Conversations(self.settings.sticky_minutes, "bench")),
            clock=clock,
        )

    def _measurements(self) -> Measurements:
        return Measurements(self.settings.slow_first_token_seconds, clock=self.world.clock.time)

    def ask(self, turn: Turn, asked: Asked) -> Answered:
        clock, began = self.world.clock, self.world.clock.now
        self._upstream.asked = asked
        needs = Needs(tools=asked.tools, images=asked.images, prompt_tokens=asked.prompt_tokens)
        target = chat_target(self.name, self.world.catalog, strict=False)
        opening = opening_of([str(turn.conversation)], continues=turn.number > 0)
        call = Call(target, needs, _body, caller=turn.caller, opening=opening)
        exchange = None
        try:
            exchange = Exchange(self._backend, call)
            for _ in exchange:
                pass
            exchange.succeeded(asked.tokens)
        except ProxyError:
            could = self.world.could_answer(asked, began)
            tried = len(exchange.tried) if exchange is not None else 0
            return Answered(asked, turn.conversation, clock.now - began, clock.now - began, None, tried, could)
        finally:
            if exchange is not None:
                exchange.close()
        assert exchange.first_token_seconds is not None
        took = clock.now - began
        return Answered(
            asked, turn.conversation, exchange.first_token_seconds, took, exchange.model, len(exchange.tried)
        )


class Named(Served):
    """`free:fast` and the like."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world)
        self.name = name


class Context(Served):
    """An unknown name, with the default of FREE_ORDER."""

    name = "whatever"


class _Unmeasured(Measurements):
    """Learns nothing, and has the patience of the setting."""

    def _note(self, model: str, sample: Any) -> None:
        pass

    def patience(self, model: str, now: float, *, waits: bool = False) -> float:
        return float("inf")


class Before(Served):
    """By window, with failure memory and needs, as before there were scores."""

    name = "whatever"

    def __init__(self, world: World) -> None:
        super().__init__(world, explore=0, sticky_minutes=0)

    def _measurements(self) -> Measurements:
        return _Unmeasured(self.settings.slow_first_token_seconds, clock=self.world.clock.time)


class Walk(Policy):
    """From the largest window down until one answers. A model that failed rests for five minutes, after a 429 one."""

    FAILED_SECONDS, LIMITED_SECONDS = 300.0, 60.0

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._rests_until: dict[str, float] = {}

    def ask(self, turn: Turn, asked: Asked) -> Answered:
        clock, began, tried = self.world.clock, self.world.clock.now, 0
        for model in self.world.catalog.free:
            if self._rests_until.get(model.id, 0.0) > clock.now:
                continue
            tried += 1
            doing = self.world.doing(model, asked, clock.now)
            if doing.status == 200:
                clock.now += 0.1 + doing.first
                first = clock.now - began
                clock.now += doing.seconds
                return Answered(asked, turn.conversation, first, clock.now - began, model, tried)
            clock.now += doing.first if doing.status else 120.0
            rest = self.LIMITED_SECONDS if doing.status == 429 else self.FAILED_SECONDS
            self._rests_until[model.id] = clock.now + rest
        could = self.world.could_answer(asked, began)
        return Answered(asked, turn.conversation, clock.now - began, clock.now - began, None, tried, could)


class Hindsight(Policy):
    """Nobody can do this: asks at once the best rated model of those that will answer within half a minute.

    With `stays` a conversation keeps its model until that one would not answer: about the most that an order can have
    that lets conversations stay and does not hop back after a failover.
    """

    def __init__(self, world: World, *, stays: bool = False) -> None:
        super().__init__(world)
        self._stays = stays
        self._kept: dict[int, Model] = {}

    def ask(self, turn: Turn, asked: Asked) -> Answered:
        clock, points = self.world.clock, index_points(self.world.catalog)
        began = clock.now
        doing = {model.id: self.world.doing(model, asked, began) for model in self.world.catalog.free}
        able = [one for one in self.world.catalog.free if doing[one.id].status == 200 and doing[one.id].first < 30]
        if not able:
            return Answered(asked, turn.conversation, 0.0, 0.0, None, 0, could=False)
        best = max(able, key=lambda model: points[model.id])
        if self._stays and (kept := self._kept.get(turn.conversation)) in able:
            best = kept
        self._kept[turn.conversation] = best
        clock.now += 0.1 + doing[best.id].first
        first = clock.now - began
        clock.now += doing[best.id].seconds
        return Answered(asked, turn.conversation, first, clock.now - began, best, 1)


class _Keeper:
    """The catalogue's keeper, as far as an exchange knows it: a model that is gone leaves the list."""

    last_error = None
    has_failed = False

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def current(self) -> Catalog:
        return self._catalog

    def forget(self, model_id: str) -> None:
        """The next refresh would bring it back: it is in the list."""

    def request_refresh(self) -> None:
        """There is no other list."""


def _body(model: Model, _without: frozenset[str], _at_most: int | None) -> bytes:
    return json.dumps({"model": model.id}).encode()


POLICIES: dict[str, Callable[[World], Policy]] = {
    "context": Context,
    "free (balanced)": lambda world: Named(world, "free"),
    "free:fast": lambda world: Named(world, "free:fast"),
    "free:smart": lambda world: Named(world, "free:smart"),
    "free:coding": lambda world: Named(world, "free:coding"),
    "before": Before,
    "walk": Walk,
    "hindsight": Hindsight,
    "stays, hindsight": lambda world: Hindsight(world, stays=True),
}


def day(world: World, policy: Policy, seed: int) -> list[Answered]:
    """All requests of the day of `seed`, one after the other: a turn begins when the one before has been read."""
    due: list[tuple[float, int, Turn]] = []
    for number in range(CONVERSATIONS):
        rng = random.Random(f"{seed} conversation {number}")
        turn = Turn(
            number,
            caller=f"caller {rng.randrange(CALLERS)}",
            number=0,
            left=1 + min(int(rng.expovariate(1 / (TURNS - 1))), 20),
            tools=rng.random() < 0.4,
            images=rng.random() < 0.1,
            prompt_tokens=int(min(rng.lognormvariate(7.5, 1.2), 120_000)),
            rng=rng,
        )
        due.append((rng.uniform(0, DAY_HOURS * HOUR), number, turn))
    heapq.heapify(due)
    found: list[Answered] = []
    while due:
        at, number, turn = heapq.heappop(due)
        world.clock.now = max(world.clock.now, at)
        tokens = int(min(max(turn.rng.lognormvariate(5.5, 0.8), 30), 2000))
        asked = Asked(number * 1000 + turn.number, turn.tools, turn.images, turn.prompt_tokens, tokens)
        pause = turn.rng.uniform(15, 120)
        found.append(policy.ask(turn, asked))
        turn.number, turn.left = turn.number + 1, turn.left - 1
        turn.prompt_tokens += tokens + 100
        if turn.left > 0:
            heapq.heappush(due, (world.clock.now + pause, number, turn))
    return found


@dataclass(frozen=True, slots=True)
class Figures:
    """What one policy's days come to. Times in seconds; `missed`: see `Answered`."""

    requests: int
    answered: int
    missed: int
    first_p50: float
    first_p95: float
    whole_p95: float
    quality: float
    attempts: float
    changes: float


def figures(days: list[list[Answered]], points: dict[str, float]) -> Figures:
    """The figures of several days together. An unanswered request counts with the time until its error."""
    every = [one for one_day in days for one in one_day]
    answered = [one for one in every if one.model is not None]
    firsts = [one.first for one in every]
    return Figures(
        requests=len(every),
        answered=len(answered),
        missed=sum(one.missed for one in every),
        first_p50=percentile(firsts, 50),
        first_p95=percentile(firsts, 95),
        whole_p95=percentile([one.whole for one in every], 95),
        quality=statistics.fmean(points[one.model.id] for one in answered if one.model is not None),
        attempts=statistics.fmean(one.attempts for one in every),
        changes=100 * statistics.fmean(_changes(one_day) for one_day in days),
    )


def _changes(one_day: list[Answered]) -> float:
    """Changes of the model within a conversation, for each turn that could have one."""
    last: dict[int, str] = {}
    turns = changes = 0
    for one in one_day:
        if one.model is None:
            continue
        if one.conversation in last:
            turns += 1
            changes += last[one.conversation] != one.model.id
        last[one.conversation] = one.model.id
    return changes / turns if turns else 0.0


def percentile(values: list[float], percent: int) -> float:
    """The value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


def index_points(catalog: Catalog) -> dict[str, float]:
    """The intelligence index of each model; an unrated one counts like the lowest rated one."""
    known = {model.id: model.ratings.of(Index.INTELLIGENCE) for model in catalog.free}
    lowest = min(value for value in known.values() if value is not None)
    return {model: lowest if value is None else value for model, value in known.items()}


def run(catalog: Catalog, name: str, seed: int, *, dead: bool = False) -> list[Answered]:
    """The day of `seed` under the policy called `name`."""
    world = World(catalog, seed, dead=dead)
    return day(world, POLICIES[name](world), seed)


_HEAD = ("policy", "answered", "missed", "first p50", "p95", "whole p95", "quality", "attempts", "changes")


def table(rows: dict[str, Figures]) -> str:
    """The figures as a Markdown table."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|---" * len(_HEAD) + "|"]
    for name, row in rows.items():
        cells = [
            name,
            f"{row.answered} of {row.requests}",
            str(row.missed),
            f"{row.first_p50:.1f} s",
            f"{row.first_p95:.1f} s",
            f"{row.whole_p95:.0f} s",
            f"{row.quality:.1f}",
            f"{row.attempts:.2f}",
            f"{row.changes:.0f} %",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(days: dict[str, list[list[Answered]]], rows: dict[str, Figures], path: Path) -> None:
    """How long people wait (the share of requests that have begun by then), and for what quality."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for name, some_days in days.items():
        firsts = sorted(one.first for one_day in some_days for one in one_day)
        left.plot(firsts, [100 * (place + 1) / len(firsts) for place in range(len(firsts))], label=name, linewidth=1.6)
        right.scatter(rows[name].first_p95, rows[name].quality, s=60)
        right.annotate(name, (rows[name].first_p95, rows[name].quality), xytext=(6, 4), textcoords="offset points")
    left.set(xscale="log", xlim=(0.5, 200), xlabel="seconds to the first token", ylabel="% of requests")
    left.legend(fontsize=8)
    right.set(xscale="log", xlim=(3, 200), xlabel="seconds to the first token, p95", ylabel="mean intelligence index")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.day", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many days")
    parser.add_argument("--plot", type=Path, help="where to put a plot (matplotlib)")
    given = parser.parse_args()
    folder = os.environ.get("OPENROUTER_RECORDINGS", "")
    if not folder:
        raise SystemExit("OPENROUTER_RECORDINGS must name the folder of recorded traffic")
    catalog = recorded_catalog(Path(folder))
    points = index_points(catalog)
    days = {name: [run(catalog, name, seed) for seed in range(given.seeds)] for name in POLICIES}
    rows = {name: figures(some_days, points) for name, some_days in days.items()}
    print(f"{len(catalog.free)} models, {given.seeds} days\n\n{table(rows)}\n")
    adverse = {name: figures([run(catalog, name, given.seeds, dead=True)], points) for name in POLICIES}
    print(f"a day on which the best model is dead\n\n{table(adverse)}")
    if given.plot is not None:
        plot(days, rows, given.plot)
        print(f"\nplot: {given.plot}", file=sys.stderr)


if __name__ == "__main__":
    main()
