"""How a request of a key is let through and settled: the protocols between who asks a model and who counts.

`fallback` asks the Gate before the first attempt of a request and tells the Allowance what was used at its end; the
ledger counts (docs/contract.md, "Keys: limits"). Values and protocols only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ollama_proxy.access.keys import Key


class Spent(NamedTuple):  # quicker to make than a frozen dataclass: one is made for each request
    """What a request used. `microusd` is millionths of a dollar, rounded up; `estimated` is the part that is a guess.

    `free_requests` counts the attempts with free models that OpenRouter counts. `generation` is OpenRouter's id of the
    answer whose cost was guessed, "" for none: its true cost can be asked for later, and takes the place of the guess.
    """

    microusd: int = 0
    free_requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: int = 0
    generation: str = ""


class Allowance(Protocol):
    """What one request has reserved. `settle` it whatever happens: else it counts as under way for some minutes."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What is left of the key's limits, for the answer's headers; nothing for a key without such limits."""

    def settle(self, spent: Spent) -> None:
        """Say that the request has ended, and what it used. Only the first call counts; it never waits or raises."""


class Gate(Protocol):
    """Lets requests of keys through as far as their limits allow."""

    def admit(self, key: Key, *, microusd: int, free: bool) -> Allowance:
        """Reserve for one request of `key` the most that it can cost (0: nothing), and one `free` request.

        Raises KeyLimitReached, or Unavailable if it may cost money and nobody can count it.
        """
