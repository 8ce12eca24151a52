"""What is kept of a request: made from its Observation by one pure function, for all routes.

A record holds no prompt, no answer and no key: names, numbers, and this program's own words (docs/contract.md,
"Ledger").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ollama_proxy.money import micro_nearest
from ollama_proxy.observation import Observation, ObservedExchange, Outcome

#: The routes that ask a model; requests to others (lists, health, metrics, pages) leave no record. A request that is
#: refused at the door has no route yet: anybody could fill the log with such.
ASKING_ROUTES = frozenset(
    {
        "/api/chat",
        "/api/generate",
        "/api/embed",
        "/api/embeddings",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/messages",
        "/ui/playground/chat",
    }
)

#: Statuses where none went out: the client left before (as in nginx), or the server broke.
_CLIENT_GONE, _BROKE = 499, 500


class Step(NamedTuple):
    """One attempt of a request: the model's id, why it failed (None: it did not), how long it took in seconds."""

    model: str
    reason: str | None
    seconds: float


@dataclass(slots=True)  # not frozen: to set so many fields of a frozen one takes three times as long
class RequestRecord:
    """One request that asked a model. `ended_at` is UTC epoch seconds, other times are seconds.

    `caller` is a key's name or an address, `api` "ollama", "openai" or "anthropic", `route` the route's template.
    `asked` is the name that the client sent, "" if it might be something else than a name (`ledger/names.py`). `model`
    is the id that answered, None if nobody did. `free_attempts` are the steps of `chain` with a free model.
    Token counts are upstream's, None if unknown; `cost` is millionths of a dollar, None if unknown.
    `error` says in this program's own words why there is no whole answer.
    """

    id: str
    ended_at: float
    caller: str
    api: str
    route: str
    asked: str
    model: str | None
    chain: tuple[Step, ...]
    free_attempts: int
    first_token_seconds: float | None
    seconds: float
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: int | None
    status: int
    outcome: Outcome
    streamed: bool
    error: str


def is_recorded(observation: Observation) -> bool:
    """Return True if the request leaves a record: if it asked a model, or would have, had it not been refused.

    Ollama's way to load and unload a model asks nobody, and nothing is used up: clients send it with every opening of a
    chat. It would look like a request that was answered by no model, at no cost, in no time.
    """
    if observation.route not in ASKING_ROUTES:
        return False
    return observation.exchange is not None or observation.outcome is not Outcome.WHOLE


def record_of(observation: Observation, *, ended_at: float, seconds: float) -> RequestRecord:
    """Return the record of a request that has just ended, at `ended_at`, after `seconds`.

    Nothing of the record refers to the request: its body can be forgotten.
    """
    exchange = observation.exchange
    cost = observation.cost
    return RequestRecord(
        observation.request_id,
        ended_at,
        observation.caller,
        observation.api,
        observation.route,
        observation.asked,
        exchange.model.id if exchange is not None and exchange.model is not None else None,
        () if exchange is None else tuple([Step(one.model, one.reason, one.seconds) for one in exchange.tried]),
        0 if exchange is None else _free(exchange),
        None if exchange is None else exchange.first_token_seconds,
        seconds,
        observation.prompt_tokens,
        observation.completion_tokens,
        None if cost is None else micro_nearest(cost),
        observation.status or (_CLIENT_GONE if observation.left else _BROKE),
        observation.outcome,
        observation.streamed,
        observation.error,
    )


def _free(exchange: ObservedExchange) -> int:
    return sum([one.is_free for one in exchange.tried])
