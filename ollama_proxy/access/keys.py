"""What a client's key allows: its scope, its limits, and what it may do besides (docs/contract.md, "Keys").

Values only. Where they are stored, how a request's key is found, and how its use is counted is said elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use; None: no limit. Money is in millionths of a dollar, days and months are UTC's."""

    per_minute: int | None = None
    parallel: int | None = None
    free_per_day: int | None = None
    microusd_per_day: int | None = None
    microusd_per_month: int | None = None

    @property
    def caps_money(self) -> bool:
        """Whether the key has a cap in dollars."""
        return self.microusd_per_day is not None or self.microusd_per_month is not None


@dataclass(frozen=True, slots=True)
class Key:
    """A key as its holder's requests meet it; it holds no secret.

    `id` is its number in the database, None for a key of PROXY_API_KEYS, which is an admin's and has no limits.
    `models` are lines as in a filter file; none: all models. `expires` is in UTC epoch seconds, None: never.
    """

    name: str
    id: int | None = None
    models: tuple[str, ...] = ()
    free_only: bool = False
    limits: Limits = Limits()
    expires: float | None = None
    disabled: bool = False
    admin: bool = False
    metrics: bool = False
