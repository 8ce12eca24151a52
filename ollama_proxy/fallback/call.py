"""What a route wants of OpenRouter, and what comes of it: the attempts, and the change that a refusal asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ollama_proxy.access.keys import Key
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Target
from ollama_proxy.fallback.conversations import Opening
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.observation import Observation
from ollama_proxy.openrouter.answers.chat_dialect import CHAT
from ollama_proxy.openrouter.answers.dialect import Dialect
from ollama_proxy.openrouter.errors.failure import Verdict


@dataclass(frozen=True, slots=True)
class Call:
    """What a route wants of OpenRouter.

    `target` is what the client's model name means, `path` the endpoint. `body_for` makes the body for a model, without
    the fields named in its second argument and with at most so many max_tokens as its third says (None: as asked).
    `own_provider` says that the client itself chose providers: a model that they rule out is not to blame.
    `caller` is the name of who asks, `key` what its key allows (None: it has none), `observation` the request that it
    is, for those who are told of attempts.
    `catalog` is what its caller may see, from which `target` comes; None: all that there is.
    `opening` is how the conversation began (None: a request that is no part of one), `session` the client's own name
    for it, as it may go upstream.
    """

    target: Target
    needs: Needs
    body_for: Callable[[Model, frozenset[str], int | None], bytes]
    streamed: bool = True
    path: str = "/chat/completions"
    dialect: Dialect = CHAT
    headers: Mapping[str, str] = field(default_factory=dict)
    own_provider: bool = False
    caller: str = ""
    key: Key | None = None
    observation: Observation | None = None
    opening: Opening | None = None
    session: str = ""
    catalog: Catalog | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What an earlier refusal asks for: request fields to leave out, and a smaller max_tokens."""

    without: frozenset[str] = frozenset()
    at_most: int | None = None

    def after(self, verdict: Verdict) -> Change | None:
        """Return the change with which the same model may accept the request; None if nothing is left to change."""
        if verdict.without - self.without:
            return replace(self, without=self.without | verdict.without)
        if verdict.smaller_max_tokens is not None and self.at_most is None:
            return replace(self, at_most=verdict.smaller_max_tokens)
        return None


@dataclass(slots=True)
class Tried:
    """One attempt, for observers: the model's id, whether it is free, why it failed (None: it did not), how many
    seconds it took.

    `first_token_seconds` is from its own start to its first useful delta; None if that never came.
    """

    model: str
    is_free: bool
    reason: str | None = None
    seconds: float = 0.0
    first_token_seconds: float | None = None
