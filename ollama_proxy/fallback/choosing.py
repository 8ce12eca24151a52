"""Chooses for one request which models are tried, and in which order. Sends nothing and knows no API.

The order of the target comes first (`order.py`), then what is known of the models for this caller (`standing.py`), then
the conversation that stays with its model, then now and then a trial: a probe of a model that was bad, or a look at one
that is seldom tried (docs/contract.md, "Order" and "Conversations").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Target
from ollama_proxy.config import Settings
from ollama_proxy.fallback.candidates import candidates, enforcing
from ollama_proxy.fallback.conversations import Conversation, Conversations
from ollama_proxy.fallback.measurements import Measurements
from ollama_proxy.fallback.memory import Cooling
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.fallback.order import ORDERS, Arrangement, Orders
from ollama_proxy.fallback.samples import faded
from ollama_proxy.fallback.standing import Standing

#: A model that is tried out has so many seconds for its first token: others are waiting behind it.
TRIAL_PATIENCE = 10.0

#: Only models whose score is at least this part of the leader's are tried out.
WORTH_EXPLORING = 0.5

#: Numbers that differ by less are the same.
_ROUNDING = 1e-9

#: The most models that are named as passed over.
MOST_PASSED_OVER = 5


@dataclass(frozen=True, slots=True)
class Trial:
    """The first model of a request is tried out; `is_probe`: it was measured to be bad, and is judged anew."""

    model: Model
    is_probe: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The models to try, in order. `unavailable` are those that may not be tried, and why, if that is all there are.

    `passed_over` are models that would have come before the first one, with the reason in our own words. `waits`: the
    order is one in which a good model is worth waiting for.
    """

    models: tuple[Model, ...]
    unavailable: Sequence[tuple[Model, Cooling]] = ()
    passed_over: tuple[tuple[Model, str], ...] = ()
    trial: Trial | None = None
    waits: bool = False


def always() -> bool:
    """Say that models may be tried out whenever it is their turn."""
    return True


class Chooser:
    """One for each process."""

    def __init__(
        self,
        settings: Settings,
        measured: Measurements,
        conversations: Conversations,
        *,
        may_explore: Callable[[], bool] = always,
    ) -> None:
        """`may_explore` says whether enough of the day's requests is left to try models out. It is asked rarely."""
        self.measured = measured
        self.conversations = conversations
        self.may_explore = may_explore
        self._orders = Orders(measured)
        self._free_order = settings.free_order
        self._explore = settings.explore
        self._since_explored = 0

    def choose(
        self,
        target: Target,
        catalog: Catalog,
        needs: Needs,
        standing: Standing,
        conversation: Conversation | None,
        now: float,
        *,
        may_try_out: bool = True,
    ) -> Choice:
        """Return who is tried for `target`. Where nobody stands in for the asked model, that is all there is.

        Without `may_try_out` there is no trial. Who starts the attempt with a trial's model says `trying_out`.
        Raises BadRequest or ModelNotFound like `candidates`.
        """
        asked = target.model
        if asked is not None and (asked.is_embedding or not catalog.free_mode):
            return Choice(candidates(target, catalog, needs))
        order = target.order or self._free_order
        arrangement = self._orders.arrange(order, catalog.free, tools=needs.tools, now=now)
        able = candidates(target, catalog, needs, arrangement.models, arrangement.bad)
        ready, unavailable = standing.in_order(able, now)
        if not ready:
            return Choice((), unavailable)
        models, trial = ready, None
        first = enforcing(ready, needs)  # neither a conversation nor a trial goes to another one
        stays = self._stays(conversation, first, arrangement, now)
        if stays is not None:
            models = _first(stays, ready)
        elif (
            may_try_out
            and asked is None
            and not needs.is_heavy
            and (conversation is None or not conversation.continues)
        ):
            trial = self._trial(order, first, arrangement, standing, now)
            if trial is not None:
                models = _first(trial.model, ready)
        passed_over: tuple[tuple[Model, str], ...] = ()
        if unavailable or arrangement.bad:
            passed_over = _passed_over(models[0], able, unavailable, arrangement)
        return Choice(models, unavailable, passed_over, trial, arrangement.waits)

    def _stays(
        self, conversation: Conversation | None, ready: Sequence[Model], arrangement: Arrangement, now: float
    ) -> Model | None:
        """The model with which a conversation stays: it may be tried, and has not turned out to be bad."""
        if conversation is None or (model_id := self.conversations.model(conversation, now)) is None:
            return None
        if model_id in arrangement.bad:
            return None
        if ready[0].id == model_id:
            return ready[0]
        return next((model for model in ready if model.id == model_id), None)

    # Trials

    def trying_out(self, trial: Trial, now: float) -> None:
        """The attempt of a trial starts: only now it is used up, and the next one has its own time."""
        if trial.is_probe:
            self.measured.probing(trial.model.id, now)
        else:
            self._since_explored = 0

    def _trial(
        self, order: str, ready: Sequence[Model], arrangement: Arrangement, standing: Standing, now: float
    ) -> Trial | None:
        if arrangement.bad and (model := self._to_probe(order, ready, arrangement, now)) is not None:
            return Trial(model, is_probe=True)
        if not self._explore:
            return None
        self._since_explored += 1
        if self._since_explored < self._explore or not self.may_explore():
            return None
        model = self._to_explore(ready, arrangement, standing, now)
        if model is None:
            self._since_explored = 0
            return None
        return Trial(model, is_probe=False)

    def _to_probe(self, order: str, ready: Sequence[Model], arrangement: Arrangement, now: float) -> Model | None:
        """The bad model that would come before the leader if it had recovered, and whose probe is due."""
        leader, scores = ready[0], arrangement.scores
        if ORDERS[order] is None:
            place = arrangement.by_merit.index(leader) if leader in arrangement.by_merit else 0
            better: Sequence[Model] = arrangement.by_merit[:place]
        else:
            bar = 0.0 if leader.id in arrangement.bad else scores[leader.id].answering - _ROUNDING
            better = [model for model in ready if scores[model.id].recovered >= bar]
            better = sorted(better, key=lambda model: -scores[model.id].recovered)
        able = {model.id for model in ready}
        due = (
            model
            for model in better
            if model.id in arrangement.bad
            and model.id in able
            and self.measured.is_probe_due(model.id, now, waits=arrangement.waits)
        )
        return next(due, None)

    def _to_explore(
        self, ready: Sequence[Model], arrangement: Arrangement, standing: Standing, now: float
    ) -> Model | None:
        """The model with the fewest samples among those that are worth it; None if that is the leader."""
        scores, leader = arrangement.scores, ready[0]
        bar = scores[leader.id].value * WORTH_EXPLORING
        worth = [
            model
            for model in ready
            if scores[model.id].value >= bar and model.id not in arrangement.bad and not standing.is_suspect(model, now)
        ]
        fewest = min(worth, key=lambda model: faded(self.measured.of(model.id), now).counted, default=leader)
        return None if fewest is leader else fewest


def _first(model: Model, models: Sequence[Model]) -> tuple[Model, ...]:
    return tuple(models) if models[0] is model else (model, *[other for other in models if other is not model])


def _passed_over(
    first: Model, able: Sequence[Model], unavailable: Sequence[tuple[Model, Cooling]], arrangement: Arrangement
) -> tuple[tuple[Model, str], ...]:
    """The models that would have come before `first` if nothing were known of them, and why they did not."""
    why = {model.id: f"cooling: {cooling.reason}" for model, cooling in unavailable}
    why = {**{model: f"measured: {bad}" for model, bad in arrangement.bad.items()}, **why}
    known = {model.id for model in able}
    found: list[tuple[Model, str]] = []
    for model in arrangement.by_merit:
        if model is first or len(found) == MOST_PASSED_OVER:
            break
        if model.id in why and model.id in known:
            found.append((model, why[model.id]))
    return tuple(found)
