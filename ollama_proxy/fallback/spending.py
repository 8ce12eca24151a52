"""What one request of a key spends: reserved before its first attempt, counted on the way, settled at its end.

The exchange tells it what happens; who counts is behind the protocols of `access/allowance.py`. It knows no table and
no limit (docs/contract.md, "Keys: limits").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ollama_proxy.access.allowance import Allowance, Gate, Spent
from ollama_proxy.access.keys import Key
from ollama_proxy.bodies.cost_bound import Bound, bound_of, bounded, cost_of_tokens, costing_nothing
from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import KeyLimitReached
from ollama_proxy.fallback.attempt import Attempt, Burst
from ollama_proxy.fallback.backend import Backend
from ollama_proxy.fallback.call import Call
from ollama_proxy.money import micro
from ollama_proxy.openrouter.answers.chunks import cost_of, count_of

#: Bytes of text in one token, for an estimate.
_BYTES_A_TOKEN = 4

_NO_CHANGE: frozenset[str] = frozenset()


def spending_of(backend: Backend, call: Call) -> Spending | None:
    """Return what counts for the key of `call`; None if there is none, or one of the settings, which has no limits."""
    key, gate = call.key, backend.gate
    if key is None or key.id is None or gate is None:
        return None
    return Spending(gate, key, call, free_mode=backend.settings.free_mode)


class Spending:
    """One per request of a key whose use is counted. `admit`, and `settle` whatever happens."""

    __slots__ = (
        "_allowance",
        "_attempt",
        "_bound",
        "_bounds",
        "_bytes",
        "_call",
        "_failed_microusd",
        "_free_attempts",
        "_gate",
        "_key",
        "_payloads",
        "_shortest",
        "_trying",
        "headers",
    )

    def __init__(self, gate: Gate, key: Key, call: Call, *, free_mode: bool) -> None:
        self._gate, self._key, self._call = gate, key, call
        # There the guard sees to it that nothing can cost anything.
        self._bounds = key.limits.caps_money and not (free_mode or key.free_only)
        self._bound: dict[str, Bound] = {}
        self._allowance: Allowance | None = None
        self._attempt: Attempt | None = None
        #: The model that is being tried, until its attempt has failed.
        self._trying: Model | None = None
        self._free_attempts = 0
        self._failed_microusd = 0
        #: Of the bursts that came: payloads, their bytes, the fewest bytes of one.
        self._payloads = self._bytes = 0
        self._shortest = 0
        #: What is left of the key's limits, for the answer's headers.
        self.headers: Mapping[str, str] = {}

    def admit(self, candidates: Sequence[Model]) -> None:
        """Reserve the most that the dearest of the candidates can cost. Raises ProxyError if the key may not."""
        for model in candidates if self._bounds else ():
            if not model.is_free:
                body = self._call.body_for(model, _NO_CHANGE, None)
                self._bound[model.id] = bound_of(body, model, self._call.path)
        most = max((bound.microusd for bound in self._bound.values()), default=0)
        free = candidates[0].is_free  # where there are several, all are free
        try:
            self._allowance = self._gate.admit(self._key, microusd=most, free=free)
        except KeyLimitReached as error:
            self.headers = error.left
            raise
        self.headers = self._allowance.headers

    def body(self, body: bytes, model: Model) -> bytes:
        """Return the body as it may be sent to `model`: it cannot cost more than was reserved."""
        if not self._bounds:
            return body
        if model.is_free:
            return costing_nothing(body, model)
        return bounded(body, model, self._call.path, self._bound[model.id])

    def trying(self, model: Model, attempt: Attempt) -> None:
        """An attempt begins."""
        self._attempt, self._trying = attempt, model
        self._free_attempts += model.is_free
        self._payloads = self._bytes = self._shortest = 0

    def failed(self, *, is_counted: bool, is_unfinished: bool) -> None:
        """The attempt failed. It costs nothing, unless it said what it used, or `is_unfinished`: a model may go on with
        it. Not every free one is counted upstream.
        """
        if self._trying is None or self._attempt is None:
            return
        self._free_attempts -= self._trying.is_free and not is_counted
        if self._payloads:
            return  # the client got a part of the answer, which is paid for
        cost = cost_of(self._attempt.usage)
        if is_unfinished and not cost:
            return  # its cost is estimated at the end: no other model is tried behind one that costs
        self._failed_microusd += micro(cost or 0.0)
        self._trying = None

    def received(self, burst: Burst) -> None:
        """A part of the answer came."""
        sizes = list(map(len, burst))
        shortest = min(sizes, default=0)
        self._shortest = min(self._shortest, shortest) if self._payloads else shortest
        self._payloads += len(sizes)
        self._bytes += sum(sizes)

    def settle(self, usage: Mapping[str, Any], *, complete: bool) -> None:
        """The request has ended. `usage` is what upstream said of it, as far as that came."""
        if self._allowance is not None:
            self._allowance.settle(self._spent(usage, complete=complete))

    def _spent(self, usage: Mapping[str, Any], *, complete: bool) -> Spent:
        model, attempt = self._trying, self._attempt
        tokens_in = count_of(usage, "prompt_tokens", "input_tokens")
        tokens_out = count_of(usage, "completion_tokens", "output_tokens")
        cost = cost_of(usage)
        microusd, estimated, generation = 0, 0, ""
        # An answer may begin with what it has cost until then: nothing. That is not its cost if it breaks off.
        if cost is not None and (complete or cost > 0):
            microusd = micro(cost)
        elif model is not None and not model.is_free:
            microusd = estimated = self._estimate(model, tokens_in, tokens_out if complete else None)
            generation = attempt.generation if attempt is not None else ""
        return Spent(
            microusd + self._failed_microusd,
            self._free_attempts,
            tokens_in or 0,
            tokens_out or 0,
            estimated,
            generation,
        )

    def _estimate(self, model: Model, tokens_in: int | None, tokens_out: int | None) -> int:
        """What an answer cost that did not say so: by the tokens that it told, or that came (`tokens_out` None)."""
        bound = self._bound.get(model.id)
        if not self._call.streamed and tokens_in is None and bound is not None:
            return bound.microusd  # nothing came, but upstream goes on writing, and takes its price
        if tokens_out is None:
            # What the payloads have in common is their form, and no text.
            text = self._bytes - self._payloads * max(self._shortest - 1, 0)
            tokens_out = max(self._payloads, text // _BYTES_A_TOKEN)
        # An image's tokens are not known here.
        tokens_in = self._call.needs.prompt_tokens if tokens_in is None else tokens_in
        estimate = cost_of_tokens(model, tokens_in, tokens_out)
        return estimate if bound is None else min(estimate, bound.microusd)
