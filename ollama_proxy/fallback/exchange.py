"""A request on its way through the candidates: who is tried, what follows from a failure, what the client gets.

`Exchange` is an iterator of BEAT and bursts, like an attempt, but behind it as many models are tried as the rules of
docs/contract.md ("Requests", "Failures") allow. It knows nothing of the client's API: a translator reads the bursts.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import ProxyError, RateLimited, Unavailable, UpstreamFailed
from ollama_proxy.openrouter.classify import classify
from ollama_proxy.openrouter.dialect import CHAT, Dialect
from ollama_proxy.openrouter.failure import Blame, Failure, Verdict
from ollama_proxy.fallback.attempt import Attempt, AttemptFailed, Beat, Burst, Patience, Pulse, StreamBroken
from ollama_proxy.fallback.candidates import Candidates, candidates, embedding_candidates
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.fallback.services import Services
from ollama_proxy.fallback.words import duration_words

#: After so many failures alike that come from the request's own content, the next model would say the same.
MOST_ALIKE = 3

#: Waiting requests start again within this many seconds after a limit's reset, not all at once.
RESET_SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class Call:
    """What a route wants of OpenRouter.

    `name` is the model as the client named it, `path` the endpoint, `body_for` makes the body for a model, without the
    fields named in its second argument and with at most so many max_tokens as its third says (None: as asked).
    `embedding` asks embedding models, and of them only the named one.
    """

    name: str
    needs: Needs
    body_for: Callable[[Model, frozenset[str], int | None], bytes]
    streamed: bool = True
    path: str = "/chat/completions"
    dialect: Dialect = CHAT
    headers: Mapping[str, str] = field(default_factory=dict)
    embedding: bool = False


@dataclass(slots=True)
class Tried:
    """One attempt, for the log: the model's id, why it failed (None: it did not), how long it took in seconds."""

    model: str
    reason: str | None = None
    seconds: float = 0.0


class Exchange:
    """Made per request. Iterate it, then call `succeeded` or `broken`, and `close` it whatever happens."""

    def __init__(self, services: Services, call: Call) -> None:
        """Raises ProxyError if the request cannot be sent to anybody."""
        self._services = services
        self._settings = services.settings
        self._call = call
        self._began = time.monotonic()
        self._pulse = Pulse(self._settings.heartbeat_seconds)
        self._attempt: Attempt | None = None
        self._attempt_began = 0.0
        self._failures: list[tuple[Model, Verdict]] = []
        self._waited = False
        #: The model that answers, once the first burst is there.
        self.model: Model | None = None
        self.tried: list[Tried] = []
        self.first_token_seconds: float | None = None
        self._candidates = self._choose()
        self._run = self._attempts()

    def __iter__(self) -> Iterator[Beat | Burst]:
        return self._run

    @property
    def complete(self) -> bool:
        """The answer has said that it is whole."""
        return self._attempt is not None and self._attempt.complete

    def close(self) -> None:
        """End it: the upstream connection is given back or closed. May be called more than once."""
        if self._attempt is not None:
            self._attempt.close()
        self._run.close()

    # What the reader of the bursts reports

    def succeeded(self) -> None:
        """The answer was whole: the model's earlier failures are forgotten."""
        assert self.model is not None
        self._services.memory.succeeded(self.model, began_at=self._attempt_began)

    def broken(self, failure: Failure) -> ProxyError:
        """The answer broke off or turned out to be none, after parts of it went out. Returns what the client is told."""
        assert self.model is not None
        verdict = classify(failure, now=self._services.clock())
        self._file(self.model, verdict)
        self.tried[-1].reason = verdict.reason
        return _error_of(verdict)

    # Choosing

    def _choose(self) -> Candidates:
        catalog = self._services.catalog()
        if self._call.embedding:
            chosen = embedding_candidates(self._call.name, catalog)
        else:
            chosen = candidates(
                self._call.name,
                catalog,
                self._call.needs,
                free_mode=self._settings.free_mode,
                strict=self._settings.strict_models,
            )
        self._services.memory.freshen()
        limit = self._services.memory.limit(self._services.clock(), free=self._is_free(chosen.models[0]))
        if limit is not None and not self._worth_waiting(limit.until):
            raise self._limit_error(limit.message, limit.status, limit.until)
        if self._only_asked:
            return chosen
        ready = tuple(model for model in chosen.models if not self._cooling(model))
        if not ready:
            raise self._all_cooling(chosen.models)
        return Candidates(ready, chosen.asked)

    @property
    def _only_asked(self) -> bool:
        """A named model outside free mode, or one for embeddings, is tried whatever is remembered of it: no other may
        answer."""
        if self._call.embedding:
            return True
        return not self._settings.free_mode and self._call.name.partition(":")[0].strip().lower() != "free"

    def _is_free(self, model: Model) -> bool:
        return model.is_free

    def _cooling(self, model: Model) -> bool:
        return self._services.memory.cooling(model, self._services.clock()) is not None

    def _all_cooling(self, models: tuple[Model, ...]) -> Unavailable:
        now = self._services.clock()
        rows = [(row, model) for model in models if (row := self._services.memory.cooling(model, now)) is not None]
        row, model = min(rows, key=lambda pair: pair[0].until)
        left = row.until - now
        return Unavailable(
            f"upstream error: every model that could serve this request is cooling down; the first back is "
            f"{model.name} in {duration_words(left)} ({row.reason})",
            retry_after=max(int(left + 0.999), 1),
        )

    # Trying

    def _attempts(self) -> Iterator[Beat | Burst]:
        yield from self._wait_for_limit()
        for model in self._candidates.models:
            if self._failures and (self._cooling(model) and not self._only_asked):
                continue
            without: frozenset[str] = frozenset()
            at_most: int | None = None
            while True:
                if self.tried and not self._may_go_on(model):
                    raise self._given_up()
                try:
                    yield from self._try(model, without, at_most)
                    return
                except AttemptFailed as error:
                    verdict = self._failed(model, error.failure)
                again = yield from self._same_model_again(verdict, without, at_most)
                if again is None:
                    break
                without, at_most = again
        raise self._given_up()

    def _try(self, model: Model, without: frozenset[str], at_most: int | None) -> Iterator[Beat | Burst]:
        services, call = self._services, self._call
        if self._is_free(model):
            services.free_requests.add()
        self.tried.append(Tried(model.id))
        self._attempt_began = services.clock()
        started = time.monotonic()
        pending = services.client.start(call.path, call.body_for(model, without, at_most), call.headers)
        attempt = self._attempt = Attempt(
            pending, streamed=call.streamed, patience=self._patience(), pulse=self._pulse, dialect=call.dialect
        )
        try:
            for item in attempt:
                if self.model is None and not isinstance(item, Beat):
                    self.model = model
                    self.first_token_seconds = time.monotonic() - self._began
                yield item
        finally:
            self.tried[-1].seconds = time.monotonic() - started
            attempt.close()

    def _patience(self) -> Patience:
        settings = self._settings
        first = settings.first_token_timeout_seconds if settings.free_mode else settings.whole_answer_timeout_seconds
        if settings.free_mode and self.tried[1:]:
            # A later attempt may not start its clock anew: the budget is for all of them together.
            first = max(min(first, self._budget_left()), 1.0)
        return Patience(
            first_token=first,
            silence=settings.upstream_read_timeout_seconds,
            whole=settings.whole_answer_timeout_seconds,
        )

    def _budget_left(self) -> float:
        return self._began + self._settings.fallback_budget_seconds - time.monotonic()

    def _may_go_on(self, model: Model) -> bool:
        """May another attempt be made, after one has failed?"""
        if len(self.tried) >= self._settings.max_attempts or self._budget_left() <= 0:
            return False
        return not (self._is_free(model) and self._services.free_requests.exhausted())

    def _failed(self, model: Model, failure: Failure) -> Verdict:
        verdict = classify(failure, now=self._services.clock())
        self.tried[-1].reason = verdict.reason
        self._failures.append((model, verdict))
        self._file(model, verdict)
        return verdict

    def _file(self, model: Model, verdict: Verdict) -> None:
        self._services.memory.failed(model, verdict, began_at=self._attempt_began)
        self._services.observe_failure(model.id, verdict)
        if verdict.refresh:
            self._services.model_is_gone(model.id)

    def _same_model_again(
        self, verdict: Verdict, without: frozenset[str], at_most: int | None
    ) -> Any:  # Generator[Beat, None, tuple[frozenset[str], int | None] | None]
        """What to change for another try on the same model; None for the next model. Raises where nothing can help."""
        match verdict.blame:
            case Blame.ACCOUNT_LIMIT | Blame.UNKNOWN_LIMIT if not self._waited and self._worth_waiting(
                verdict.retry_at or float("inf")
            ):
                yield from self._wait_until(verdict.retry_at or 0.0)
                return without, at_most
            case Blame.ACCOUNT_LIMIT | Blame.UNKNOWN_LIMIT:
                raise self._limit_error(verdict.message, verdict.status, verdict.retry_at)
            case _ if verdict.without - without:
                return without | verdict.without, at_most
            case _ if verdict.smaller_max_tokens is not None and at_most is None:
                return without, verdict.smaller_max_tokens
            case Blame.ACCOUNT | Blame.REQUEST | Blame.NETWORK:
                raise _error_of(verdict)
            case Blame.CAPABILITY | Blame.MODERATION if self._alike(verdict) >= MOST_ALIKE:
                raise _error_of(verdict)
        return None

    def _alike(self, verdict: Verdict) -> int:
        return sum(other.blame is verdict.blame for _, other in self._failures)

    # Waiting for a limit to lift

    def _worth_waiting(self, until: float) -> bool:
        return until - self._services.clock() <= self._settings.ratelimit_wait_seconds

    def _wait_for_limit(self) -> Iterator[Beat]:
        limit = self._services.memory.limit(self._services.clock(), free=self._is_free(self._candidates.models[0]))
        if limit is not None:
            yield from self._wait_until(limit.until)

    def _wait_until(self, until: float) -> Iterator[Beat]:
        self._waited = True
        end = time.monotonic() + max(until - self._services.clock(), 0.0) + random.uniform(0, RESET_SPREAD)
        while (left := end - time.monotonic()) > 0:
            time.sleep(max(min(left, self._pulse.left()), 0.001))
            if self._pulse.left() <= 0:
                yield self._pulse.beat()

    # What the client is told

    def _limit_error(self, message: str, status: int, until: float | None) -> ProxyError:
        left = 1 if until is None else max(int(until - self._services.clock() + 0.999), 1)
        kind = RateLimited if status == 429 else UpstreamFailed
        return kind(message, status=status, retry_after=left)

    def _given_up(self) -> ProxyError:
        """Nobody answered. One failure is told as it was; of several, who was tried and why each failed."""
        verdicts = [verdict for _, verdict in self._failures]
        if len({model.id for model, _ in self._failures}) == 1 or all(v.blame is Blame.PRIVACY for v in verdicts):
            return _error_of(verdicts[-1], now=self._services.clock())
        chain = "; ".join(f"{model.name}: {verdict.reason}" for model, verdict in self._failures)
        return Unavailable(
            f"upstream error: none of the models tried answered ({chain})", retry_after=self._soonest_return()
        )

    def _soonest_return(self) -> int | None:
        """Seconds until the first of the failed models is back, if none is left that could be tried now."""
        now = self._services.clock()
        rows = [self._services.memory.cooling(model, now) for model in self._candidates.models]
        untils = [row.until for row in rows if row is not None]
        if len(untils) < len(rows):
            return None
        return max(int(min(untils) - now + 0.999), 1)


def _error_of(verdict: Verdict, *, now: float | None = None) -> ProxyError:
    wait = None if verdict.retry_at is None or now is None else max(int(verdict.retry_at - now + 0.999), 1)
    return ProxyError(verdict.message, status=verdict.status, retry_after=wait)


__all__ = ["Call", "Exchange", "StreamBroken", "Tried"]
