"""Counts what keys use, and lets their requests through as far as their limits allow: one for each process.

A request of a key with limits makes one transaction before it is sent, which reserves the most that it can use, and one
behind its end, which nobody waits for. A key without limits makes none: what it uses is written with the ledger's
records. The limits themselves come with the key (docs/contract.md, "Keys: limits").
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from ollama_proxy.access.allowance import Spent
from ollama_proxy.access.keys import Key, Limits
from ollama_proxy.errors import KeyLimitReached, Unavailable
from ollama_proxy.ledger.key_limits import Refused, left_headers, refusal
from ollama_proxy.ledger.key_windows import windows_at
from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.database import REST_SECONDS, StorageUnavailable
from ollama_proxy.storage.key_usage_table import Counts, KeyUsageTable, Settlement, Standing, Windows
from ollama_proxy.storage.write_behind import Write

#: Seconds, for Retry-After while the database is away.
BACK_SHORTLY = 5

#: Seconds that a reservation counts if nobody renews it: what a killed process has reserved is free again then.
LEASE = 180.0
#: Reservations older than this are renewed, so that a long request does not outlive its own.
RENEW_AFTER = 60.0
#: And no longer than so many seconds: no answer takes that long, so whoever should settle it never will.
LONGEST_RENEWED = 6 * 3600.0

#: Seconds in which settlements are collected: one transaction for many costs each of them a fiftieth.
SETTLE_WITHIN = 0.05

#: What is in the way may just be ending, such as this client's last request: so many seconds are waited for that.
SETTLING = (0.06, 0.2)

#: Settlements that wait for the database. More can hardly be: without it, nothing that costs money is let through.
MOST_WAITING = 10_000

#: Seconds after its end until the cost of an answer that did not end by itself is asked for.
ASK_AFTER = 300.0

_UNLIMITED = Limits()


class Clock(Protocol):
    """The module `time`, or what stands in for it."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class Held:
    """The Allowance of one request: what it has reserved, until it is settled."""

    __slots__ = ("_counting", "began_at", "headers", "id", "is_reserved", "key_id", "renewed_at", "windows")

    def __init__(self, counting: KeyCounting, key_id: int, request_id: str, windows: Windows, now: float) -> None:
        self._counting: KeyCounting | None = counting
        self.key_id, self.id, self.windows = key_id, request_id, windows
        self.is_reserved = False
        self.began_at = self.renewed_at = now
        self.headers: Mapping[str, str] = {}

    def settle(self, spent: Spent) -> None:
        counting, self._counting = self._counting, None
        if counting is not None:
            counting.settle(self, spent)


class WaitingSettlements:
    """Settlements that are to be written: a part of a `Batches`."""

    def __init__(self, table: KeyUsageTable, on_lost: Callable[[int], object]) -> None:
        self._table, self._on_lost = table, on_lost
        self._waiting: deque[Settlement] = deque()
        self._being_made = 0

    def add(self, settlement: Settlement) -> None:
        """Have it written. If too many wait, it is lost: its reservation counts until that ends."""
        if len(self._waiting) >= MOST_WAITING:
            self._on_lost(1)
        else:
            self._waiting.append(settlement)

    def take(self) -> Write | None:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]  # more may come meanwhile
        self._being_made = len(taken)
        return self._table.settle(taken) if taken else None

    def settled(self, *, made: bool) -> None:
        if not made and self._being_made:
            self._on_lost(self._being_made)
        self._being_made = 0

    @property
    def waits(self) -> bool:
        return bool(self._waiting)


class AllUsed(NamedTuple):
    """What a key has used in the day and the month that run, and the day (UTC) in which it was used last."""

    day: Counts
    month: Counts
    last_day: str


class KeyCounting:
    """The Gate of a process."""

    def __init__(
        self,
        table: KeyUsageTable,
        *,
        soon: Batches,
        with_ledger: Batches,
        on_lost: Callable[[int], object],
        on_awaited: Callable[[float], object],
        clock: Clock = time,
    ) -> None:
        """`soon` writes what keys with limits used, `with_ledger` what the others did. `on_lost` is told how many
        settlements could not be kept, `on_awaited` when a cost is to be asked for.
        """
        self._table, self._clock = table, clock
        self._soon, self._with_ledger = soon, with_ledger
        self._on_awaited = on_awaited
        self.limited = WaitingSettlements(table, on_lost)
        self.unlimited = WaitingSettlements(table, on_lost)
        #: Requests under way of keys with limits, by the reservation's id.
        self._open: dict[str, Held] = {}
        self._rest_until = float("-inf")

    # The Gate

    def admit(self, key: Key, *, microusd: int, free: bool) -> Held:
        """Reserve for one request of `key` the most that it can cost, and one `free` request: see `Gate`."""
        assert key.id is not None
        now, limits = self._clock.time(), key.limits
        if limits == _UNLIMITED:
            return Held(self, key.id, "", windows_at(now), now)
        held = Held(self, key.id, uuid.uuid4().hex, windows_at(now), now)
        is_paid = limits.caps_money and microusd > 0
        try:
            self._reserve(held, limits, microusd=microusd if is_paid else 0, free=free)
        except StorageUnavailable:
            self._go_on_without(held, limits, is_paid=is_paid)
        except KeyLimitReached:
            raise
        except BaseException:
            # Nobody knows whether it was committed, such as when the process ends now.
            held.is_reserved = True
            self._put(held, Counts())
            raise
        self._open[held.id] = held
        return held

    def _reserve(self, held: Held, limits: Limits, *, microusd: int, free: bool) -> None:
        """Raises KeyLimitReached, StorageUnavailable."""
        if self._clock.monotonic() < self._rest_until:
            raise StorageUnavailable("the database was away a moment ago")
        for pause in (*SETTLING, None):
            try:
                standing, refused = self._asked(held, limits, microusd, free)
            except StorageUnavailable:
                self._rest_until = self._clock.monotonic() + REST_SECONDS
                raise
            if refused is None:
                held.is_reserved = True
                held.headers = left_headers(limits, standing, microusd=microusd, free=free)
                return
            if pause is None or not refused.settling:
                refused.error.left = left_headers(limits, standing)
                raise refused.error
            self._clock.sleep(pause)

    def _asked(self, held: Held, limits: Limits, microusd: int, free: bool) -> tuple[Standing, Refused | None]:
        now = self._clock.time()

        def decide(standing: Standing) -> Refused | None:
            return refusal(limits, standing, microusd=microusd, free=free, now=now)

        return self._table.reserve(
            held.key_id,
            held.id,
            held.windows,
            microusd=microusd,
            free=free,
            now=now,
            until=now + LEASE,
            counts_minute=limits.per_minute is not None,
            decide=decide,
        )

    def _go_on_without(self, held: Held, limits: Limits, *, is_paid: bool) -> None:
        """The database is away: what costs money is refused, of the rest only what is under way here is limited."""
        if is_paid:
            raise Unavailable(
                "this key has a limit in dollars, and the database that counts what it spends is away: models that "
                "cost nothing can still be asked",
                retry_after=BACK_SHORTLY,
            )
        if limits.parallel is not None:
            here = sum(1 for other in self._open.values() if other.key_id == held.key_id)
            refused = refusal(Limits(parallel=limits.parallel), Standing(under_way=here), microusd=0, free=False, now=0)
            if refused is not None:
                raise refused.error

    # Settling

    def settle(self, held: Held, spent: Spent) -> None:
        """The request of `held` has ended: called by its Allowance, once."""
        self._open.pop(held.id, None)
        counts = Counts(
            1,
            spent.free_requests,
            spent.tokens_in,
            spent.tokens_out,
            spent.microusd,
            spent.estimated,
        )
        self._put(held, counts, spent.generation)

    def _put(self, held: Held, counts: Counts, generation: str = "") -> None:
        now = self._clock.time()
        due = now + ASK_AFTER if generation else 0.0
        # One without limits has no id of its own: most of them need none.
        awaited_id = (held.id or uuid.uuid4().hex) if generation else ""
        settlement = Settlement(
            held.id, held.key_id, held.windows, held.is_reserved, counts, now, generation, due, awaited_id
        )
        if held.id:
            self.limited.add(settlement)
            self._soon.wanted()
        else:
            self.unlimited.add(settlement)
            self._with_ledger.wanted()
        if generation:
            self._on_awaited(due)

    def renew_if_due(self) -> None:
        """Renew the reservations of long requests, until they are `LONGEST_RENEWED` old. Raises StorageUnavailable."""
        now = self._clock.time()
        for held in [held for held in self._open.values() if now - held.began_at >= LONGEST_RENEWED]:
            del self._open[held.id]
        old = [held for held in self._open.values() if held.is_reserved and now - held.renewed_at >= RENEW_AFTER]
        if old:
            self._table.renew([held.id for held in old], now + LEASE)
            for held in old:
                held.renewed_at = now

    # For reports

    def used(self, keys: Iterable[int], windows: Windows) -> dict[int, dict[str, Counts]]:
        """Return what these keys used in the day and the month: by the key's id, then "day" and "month".

        Raises StorageUnavailable.
        """
        ids = list(keys)
        found = self._table.counts(ids, [windows.day, windows.month])
        names = {"day": windows.day, "month": windows.month}
        return {key: {name: found.get((key, period), Counts()) for name, period in names.items()} for key in ids}

    def used_by_all(self, windows: Windows) -> dict[int, AllUsed]:
        """Return what each key used in the day and the month, and when it was used last; by the key's id.

        A key that was never used is left out. Raises StorageUnavailable.
        """
        found = self._table.counts_of_all([windows.day, windows.month])
        last: dict[int, str] = {}
        for key_id, period in found:
            if period[0] == windows.day[0]:
                last[key_id] = max(last.get(key_id, ""), period)
        return {
            key_id: AllUsed(
                found.get((key_id, windows.day), Counts()), found.get((key_id, windows.month), Counts()), day[1:]
            )
            for key_id, day in last.items()
        }

    def standing(self, key_id: int) -> Standing:
        """Return how a key stands now, with what is reserved. Raises StorageUnavailable."""
        now = self._clock.time()
        return self._table.standing(key_id, windows_at(now), now)
