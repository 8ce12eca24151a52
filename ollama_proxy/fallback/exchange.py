"""One request on its way through the candidates: which is tried, what follows from a failure, what the client gets.

`Exchange` is an iterator of BEAT and bursts, like an attempt, but it tries as many models as the rules of
docs/contract.md ("Requests", "Failures") allow. It knows nothing of the client's API: a reader turns bursts to writes.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.attempt import Attempt, AttemptFailed, Beat, Burst, Patience, Pulse
from ollama_proxy.fallback.backend import Backend
from ollama_proxy.fallback.call import Call, Change, Tried
from ollama_proxy.fallback.chain import chain_text
from ollama_proxy.fallback.choosing import TRIAL_PATIENCE, Choice
from ollama_proxy.fallback.conversations import SESSION_HEADER, Conversation
from ollama_proxy.fallback.refusals import all_cooling, counted, given_up, limited, refused
from ollama_proxy.fallback.spending import Spending, spending_of
from ollama_proxy.fallback.standing import Standing, is_measured
from ollama_proxy.fallback.telling import tell_attempt, tell_choice
from ollama_proxy.openrouter.errors.classify import classify
from ollama_proxy.openrouter.errors.failure import Blame, Failure, FailureKind, Verdict
from ollama_proxy.storage.failure_table import LimitRow

#: After so many models failed alike for the request's own content, the next one would say the same.
MOST_ALIKE = 3

#: Free attempts that OpenRouter does not count: a provider's shared pool refused them, or they never came to it.
_NOT_COUNTED = frozenset({Blame.MODEL_RATE_LIMIT, Blame.NETWORK})

#: What the providers are to blame for: if a client chose them itself, it is not held against the model.
_OF_PROVIDERS = frozenset({Blame.PRIVACY, Blame.MODEL_GONE, Blame.MODEL_RATE_LIMIT, Blame.MODEL_FAILING})

#: Waiting requests start again within this many seconds after a limit's reset, not all at once.
RESET_SPREAD = (0.01, 0.25)

#: A later attempt gets at least so many seconds for its first token, however little of the budget is left.
SHORTEST_PATIENCE = 1.0

#: An answer's speed is only measured if upstream was waited for in so much of its time: else the client was.
LEAST_UPSTREAM = 0.5


class Exchange:
    """Made per request. Iterate it, then call `succeeded` or `broken`, and `close` it whatever happens."""

    def __init__(self, backend: Backend, call: Call) -> None:
        """Raises ProxyError if the request cannot be sent to anybody."""
        self._backend = backend
        self._settings = backend.settings
        self._call = call
        self._clock = backend.clock
        self._began = self._clock.monotonic()
        self._pulse = Pulse(self._settings.heartbeat_seconds, self._clock)
        self._attempt: Attempt | None = None
        self._attempt_began = self._attempt_started = 0.0
        #: How long the attempt's first token is waited for, and whether that is less than the model's own patience.
        self._first_token_given, self._is_hurried = 0.0, False
        #: How long upstream was waited for behind the first burst, without the time in which the client took it.
        self._seconds_of_rest = 0.0
        self._failures: list[tuple[Model, Verdict]] = []
        self._has_waited = False
        self._measured = backend.chooser.measured
        self._standing = Standing(backend.memory, backend.suspicions, self._measured, call.caller)
        self._conversation = self._conversation_of(call)
        self._headers = self._headers_of(call)
        #: What is counted for the key; None for a request without one that is counted.
        self._spending: Spending | None = spending_of(backend, call)
        #: The model that answers, once the first burst is there.
        self.model: Model | None = None
        self.tried: list[Tried] = []
        self.first_token_seconds: float | None = None
        self._candidates: tuple[Model, ...] = ()
        try:
            self._choice = self._choose()
            self._candidates = self._choice.models
        finally:
            if backend.explainer is not None:
                chosen, seen = self._candidates, call.catalog
                tell_choice(backend, call.observation, call.target, call.needs, chosen, self._standing, seen)
        self._run = self._attempts()

    def __iter__(self) -> Generator[Beat | Burst, None, None]:
        return self._run

    @property
    def complete(self) -> bool:
        """The answer has said that it is whole."""
        return self._attempt is not None and self._attempt.complete

    @property
    def chain(self) -> str:
        """Who was passed over, who was tried, and why not, in one line."""
        return chain_text(self._choice.passed_over, self.tried)

    @property
    def accepted_ns(self) -> int | None:
        """When upstream accepted the request (its headers came), on the monotonic clock; None before that."""
        return None if self._attempt is None else self._attempt.accepted_ns

    @property
    def left_headers(self) -> Mapping[str, str]:
        """What is left of the limits of the key that asks, as headers; nothing for most keys."""
        return {} if self._spending is None else self._spending.headers

    def settle(self, usage: Mapping[str, Any]) -> None:
        """Count what the request used, once it has ended in whatever way. `usage` is what upstream said of it."""
        if self._spending is not None:
            self._spending.settle(usage, complete=self.complete)

    def close(self) -> None:
        """End it: the upstream connection is given back or closed. May be called more than once."""
        if self._attempt is not None:
            self._attempt.close()
        self._run.close()

    # What the reader of the bursts reports

    def unheard(self) -> None:
        """Say that nothing was written to the client for the last burst: it does not put off the next heartbeat."""
        self._pulse.missed()

    def succeeded(self, tokens: int | None = None) -> None:
        """Say that the answer was whole, and of how many tokens: the model's earlier failures are forgotten."""
        assert self.model is not None
        now = self._clock.time()
        if not self._call.own_provider:
            self._standing.succeeded(self.model, began_at=self._attempt_began, now=now)
            if is_measured(self.model):
                self._measure(self.model, tokens or 0, now)
        if self._conversation is not None:
            self._backend.chooser.conversations.answered(self._conversation, self.model.id, now)

    def _measure(self, model: Model, tokens: int, now: float) -> None:
        timed = self._call.streamed and not self._call.needs.is_heavy
        first = self.tried[-1].first_token_seconds if timed else None
        seconds = self._seconds_of_rest
        if seconds < (self._clock.monotonic() - self._attempt_started - (first or 0.0)) * LEAST_UPSTREAM:
            seconds = 0.0  # the rest came while the client did not read: how fast it came is not known
        trial = self._choice.trial
        probe = trial is not None and trial.is_probe and trial.model is model
        self._measured.answered(model.id, now, first_token=first, tokens=tokens, seconds=seconds, probe=probe)

    def broken(self, failure: Failure) -> ProxyError:
        """Say that the answer failed after its first burst. Returns the error for the client."""
        assert self.model is not None
        verdict = self._judge(self.model, failure)
        self._remember(self.model, verdict, failure)
        return refused(verdict, now=self._clock.time())

    # Choosing

    def _conversation_of(self, call: Call) -> Conversation | None:
        target, opening = call.target, call.opening
        if opening is None or target.embeds:
            return None
        # Under another name the client wants another model: there the conversation begins anew.
        name = target.model.id if target.model is not None else target.order or ""
        if target.persona is not None:
            name = f"{name} {target.persona.name}"
        return self._backend.chooser.conversations.of(opening, call.caller, name)

    def _headers_of(self, call: Call) -> Mapping[str, str]:
        """Return the headers for upstream, with the session: the client's own, else the conversation's."""
        session = call.session or (self._conversation.session if self._conversation is not None else "")
        return {**call.headers, SESSION_HEADER: session} if session else call.headers

    def _choose(self) -> Choice:
        """Return who is tried. Raises ProxyError if nobody may be."""
        backend, target = self._backend, self._call.target
        catalog = self._call.catalog or backend.catalog()
        backend.memory.freshen()
        self._falls_back = not target.embeds and (self._settings.free_mode or target.model is None)
        now = self._clock.time()
        # Where there are several candidates, all are free.
        self._is_free = target.model is None or self._falls_back or target.model.is_free
        limit = self._limit()
        choice = backend.chooser.choose(
            target, catalog, self._call.needs, self._standing, self._conversation, now, may_try_out=limit is None
        )
        if limit is not None and not self._may_wait(limit):
            raise limited(limit, now=now)
        if not choice.models:
            raise all_cooling(choice.unavailable, now=now)
        return choice

    def _limit(self) -> LimitRow | None:
        """Return the limit of the account that holds now for this request, or None."""
        return self._backend.memory.limit(self._clock.time(), free=self._is_free)

    # Trying

    def _attempts(self) -> Generator[Beat | Burst, None, None]:
        if self._spending is not None:
            # Not before somebody iterates: who does so will settle it.
            self._spending.admit(self._candidates)
        if (limit := self._limit()) is not None and self._may_wait(limit):
            yield from self._wait_for(limit)
        left = list(self._candidates)
        while left:
            model = self._surest(left) if self._is_last_attempt() else left[0]
            left.remove(model)
            if self._failures and self._standing.unavailable(model, self._clock.time()) is not None:
                continue  # another request has found out meanwhile
            if (yield from self._answered_by(model)):
                return
        raise self._given_up()

    def _is_last_attempt(self) -> bool:
        """Whether the next attempt is a later one, and the last that MAX_ATTEMPTS allows."""
        return 0 < len(self.tried) == self._settings.max_attempts - 1

    def _surest(self, models: list[Model]) -> Model:
        """The model that answers most often of those that may be tried and nobody suspects; of equal ones the first."""
        now, standing, measured = self._clock.time(), self._standing, self._measured
        ready = [model for model in models if standing.unavailable(model, now) is None]
        return max(
            ready or models, key=lambda model: (not standing.is_suspect(model, now), measured.success(model.id, now))
        )

    def _answered_by(self, model: Model) -> Generator[Beat | Burst, None, bool]:
        """Try `model`, and once more where a change may help. False: try the next one. Raises ProxyError to stop."""
        change = Change()
        body = self._body(model, change)
        while True:
            self._check_may_try()
            try:
                yield from self._try(model, body)
                return True
            except AttemptFailed as error:
                failure = error.failure
                verdict = self._judge(model, failure)
            if (changed := change.after(verdict)) is not None and (other := self._body(model, changed)) != body:
                # Neither the model nor the account is to blame if the changed request passes. The same bytes would
                # only get the same refusal, and cost a free request.
                change, body = changed, other
                continue
            self._remember(model, verdict, failure)
            if (limit := self._limit()) is not None and verdict.blame is Blame.ACCOUNT_LIMIT and self._may_wait(limit):
                yield from self._wait_for(limit)
                continue
            if verdict.blame is Blame.NETWORK and not self._network_failed_before():
                continue
            self._stop_if_hopeless(verdict)
            return False

    def _network_failed_before(self) -> bool:
        return sum(verdict.blame is Blame.NETWORK for _, verdict in self._failures) > 1

    def _body(self, model: Model, change: Change) -> bytes:
        body = self._call.body_for(model, change.without, change.at_most)
        return body if self._spending is None else self._spending.body(body, model)

    def _try(self, model: Model, body: bytes) -> Iterator[Beat | Burst]:
        backend, call = self._backend, self._call
        patience = self._patience(model)
        if model.is_free:
            backend.free_requests.add()
        trial = self._choice.trial
        if trial is not None and not self.tried:
            backend.chooser.trying_out(trial, self._clock.time())
        tried = Tried(model.id, model.is_free)
        self.tried.append(tried)
        self._attempt_began = self._clock.time()
        started = self._attempt_started = self._clock.monotonic()
        attempt = self._attempt = Attempt(
            backend.start(call.path, body, self._headers),
            streamed=call.streamed,
            patience=patience,
            pulse=self._pulse,
            dialect=call.dialect,
            on_slow=self._slow,
            clock=self._clock,
        )
        spending = self._spending
        if spending is not None:
            spending.trying(model, attempt)
        resumed = started
        try:
            for item in attempt:
                now = self._clock.monotonic()
                if self.model is not None:
                    self._seconds_of_rest += now - resumed
                elif not isinstance(item, Beat):
                    self.model = model
                    self.first_token_seconds, tried.first_token_seconds = now - self._began, now - started
                    if backend.explainer is not None:
                        tell_attempt(backend.explainer, call.observation, tried, attempt)
                if spending is not None and not isinstance(item, Beat):
                    spending.received(item)
                yield item
                resumed = self._clock.monotonic()
        finally:
            tried.seconds = self._clock.monotonic() - started
            attempt.close()

    def _patience(self, model: Model) -> Patience:
        settings = self._settings
        first = own = settings.first_token_timeout_seconds if self._falls_back else float("inf")
        if self._falls_back and self._may_try_after(model):
            if not self._call.needs.is_heavy:
                usual = self._measured.patience(model.id, self._clock.time(), waits=self._choice.waits)
                first = own = min(first, usual)
            trial = self._choice.trial
            if trial is not None and trial.model is model:
                first = min(first, TRIAL_PATIENCE)
        if self.tried and self._falls_back:
            # A later attempt does not start the clock anew: the budget is for all of them together.
            first = max(min(first, self._budget_left()), SHORTEST_PATIENCE)
        self._first_token_given, self._is_hurried = first, first < own
        return Patience(
            first_token=first,
            silence=settings.upstream_read_timeout_seconds,
            whole=settings.whole_answer_timeout_seconds,
        )

    def _may_try_after(self, model: Model) -> bool:
        """Whether another model can be tried if `model` does not begin in time: else it has all the time there is."""
        if len(self.tried) + 1 >= self._settings.max_attempts or self._own_count_exhausted():
            return False
        if not self.tried:
            return len(self._candidates) > 1  # who cools down has just been left out
        now, tried = self._clock.time(), {one.model for one in self.tried}
        others = (other for other in self._candidates if other is not model and other.id not in tried)
        return any(self._standing.unavailable(other, now) is None for other in others)

    def _own_count_exhausted(self) -> bool:
        # After the account's own limit has reset, what was counted here before means nothing.
        return self._is_free and not self._has_waited and self._backend.free_requests.exhausted()

    def _budget_left(self) -> float:
        return self._began + self._settings.fallback_budget_seconds - self._clock.monotonic()

    def _check_may_try(self) -> None:
        """Raise ProxyError if no attempt may be made now: a limit holds, or the request has used up its attempts."""
        if (limit := self._limit()) is not None:
            raise limited(limit, now=self._clock.time())
        if self.tried and (note := self._used_up()):
            raise self._given_up(note)

    def _used_up(self) -> str:
        """Return why a request that has failed may not try again; "" if it may."""
        settings = self._settings
        if len(self.tried) >= settings.max_attempts:
            return f"no further attempt: MAX_ATTEMPTS is {settings.max_attempts}"
        if self._budget_left() <= 0:
            return f"no further attempt: FALLBACK_BUDGET_SECONDS is {settings.fallback_budget_seconds:g}"
        if self._own_count_exhausted():
            return f"no further attempt: FREE_REQUESTS_PER_MINUTE is {settings.free_requests_per_minute}"
        return ""

    # Judging

    def _judge(self, model: Model, failure: Failure) -> Verdict:
        verdict = counted(classify(failure, now=self._clock.time()), model, self._call.needs)
        self.tried[-1].reason = verdict.reason
        self._failures.append((model, verdict))
        self._backend.observe_failure(model.id, verdict)
        is_counted = verdict.blame not in _NOT_COUNTED
        if model.is_free and not is_counted:
            self._backend.free_requests.not_counted()
        if self._spending is not None:
            # A page of some other server is no answer of a model.
            is_unfinished = failure.is_unfinished and verdict.blame is Blame.MODEL_FAILING
            self._spending.failed(is_counted=is_counted, is_unfinished=is_unfinished)
        if self._backend.explainer is not None and self._attempt is not None:
            tell_attempt(self._backend.explainer, self._call.observation, self.tried[-1], self._attempt)
        return verdict

    def _waited(self, failure: Failure) -> float | None:
        """Return for how many seconds a first token was waited for in vain; None if that is not what failed."""
        return self._first_token_given if failure.kind is FailureKind.FIRST_TOKEN_TIMEOUT else None

    def _remember(self, model: Model, verdict: Verdict, failure: Failure) -> None:
        if self._call.own_provider and verdict.blame in _OF_PROVIDERS:
            return  # the client itself chose the providers: this says nothing of the model for others
        self._standing.failed(
            model,
            verdict,
            began_at=self._attempt_began,
            now=self._clock.time(),
            waited=self._waited(failure),
            hurried=self._is_hurried,
        )
        if verdict.refresh:
            self._backend.model_is_gone(model.id)

    def _stop_if_hopeless(self, verdict: Verdict) -> None:
        """Raise ProxyError where no other model can help."""
        match verdict.blame:
            case (
                Blame.ACCOUNT_LIMIT
                | Blame.UNKNOWN_LIMIT
                | Blame.ACCOUNT
                | Blame.REQUEST
                | Blame.NETWORK
                | Blame.ADDRESS
            ):
                raise refused(verdict, now=self._clock.time())
            case Blame.CAPABILITY | Blame.MODERATION:
                alike = {model.id for model, other in self._failures if other.blame is verdict.blame}
                if len(alike) >= MOST_ALIKE:
                    raise refused(verdict, now=self._clock.time())
            case Blame.MODEL_FAILING if self._falls_back and self._standing.is_the_request(self._clock.time()):
                raise refused(verdict, now=self._clock.time())

    def _given_up(self, note: str = "") -> ProxyError:
        now = self._clock.time()
        cooling = [self._standing.unavailable(model, now) for model in self._candidates]
        untils = [why.until for why in cooling if why is not None]
        back_at = min(untils) if len(untils) == len(cooling) else None
        more = any(why is None for why in cooling) if self._falls_back else False
        return given_up(self._failures, now=now, back_at=back_at, note=note if more else "")

    # Waiting for a limit to lift

    def _may_wait(self, limit: LimitRow) -> bool:
        """Return True if the request may wait for `limit`: once, if it lifts soon and an attempt may be made then."""
        left = limit.until - self._clock.time()
        if limit.scope != "free" or self._has_waited or left > self._settings.ratelimit_wait_seconds:
            return False
        return len(self.tried) < self._settings.max_attempts and (not self.tried or left < self._budget_left())

    def _wait_for(self, limit: LimitRow) -> Iterator[Beat]:
        self._has_waited = True
        left = max(limit.until - self._clock.time(), 0.0)
        end = self._clock.monotonic() + left + random.uniform(*RESET_SPREAD)
        while (left := end - self._clock.monotonic()) > 0:
            self._clock.sleep(max(min(left, self._pulse.left()), 0.001))
            if self._pulse.left() <= 0:
                yield self._pulse.beat()
        # Somebody else may have met the limit again.
        self._backend.memory.freshen()

    # For the log, while it goes on

    def _slow(self, seconds: float) -> None:
        if self._call.observation is not None:
            self._backend.observe_slow(self._call.observation, self.tried[-1].model, seconds)
