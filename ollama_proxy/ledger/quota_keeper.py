"""Keeps what is known of the account in one process, and shares it with the others through SQL.

Requests read it from memory. What is learned here is written with the ledger's batches, what others learn comes in
through `storage/revisions.py`. `GET /key` is asked by one process at a time (docs/contract.md, "Quota").
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from ollama_proxy.ledger.key_check import KeyCheck, KeyState, state_in
from ollama_proxy.ledger.quota import (
    STILL_YESTERDAY,
    Quota,
    day_of,
    document_of,
    free_counts,
    free_left,
    joined,
    key_state_of,
    may_be_yesterdays,
)
from ollama_proxy.openrouter.errors.failure import Verdict
from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.failure_table import LimitRow
from ollama_proxy.storage.leases import CLOCKS_DIFFER, Leases
from ollama_proxy.storage.quota_table import DAY, MINUTE, NAME, AccountRow, QuotaTable, Window
from ollama_proxy.storage.revisions import Revisions
from ollama_proxy.storage.write_behind import Write

#: Seconds between two questions to OpenRouter, while somebody looks.
ASK_EVERY = 60.0
#: Seconds after the last look for which somebody counts as looking, and how often the look is noted for all processes.
WATCHED = 60.0
_NOTE_EVERY = 15.0

#: What the failure memory says of the account's limit for a day (`openrouter.errors.classify`).
DAILY_LIMIT = "free limit per day"


class QuotaKeeper:
    """One for each process."""

    def __init__(
        self,
        table: QuotaTable,
        *,
        batches: Batches,
        revisions: Revisions,
        leases: Leases,
        check: Callable[[], KeyCheck],
        limits: Callable[[], Sequence[LimitRow]],
        minute_limit: int,
        holder: Callable[[], str],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`check` asks OpenRouter about the key. `limits` returns what is remembered of the account's limits.
        `minute_limit` is FREE_REQUESTS_PER_MINUTE, `holder` names this process for leases.
        """
        self._table, self._batches, self._revisions, self._leases = table, batches, revisions, leases
        self._check, self._limits, self._minute_limit = check, limits, minute_limit
        self._holder, self._clock, self._monotonic = holder, clock, monotonic
        self._row, self._document = AccountRow(), dict[str, Any]()
        #: What all had sent when the table was read, and what was sent here and may be missing there.
        self._stored: Mapping[Window, int] = {}
        self._unwritten: dict[Window, int] = {}
        #: For each attempt the minute in which it was sent, and 1; for each that does not count, the day, and -1.
        self._sent: deque[tuple[int, int]] = deque()
        self._changes: deque[Mapping[str, object]] = deque()
        self._taken: tuple[Counter[Window], dict[str, object]] = (Counter(), {})
        #: What of our own count waited to be written when OpenRouter told its count.
        self._waited_then = 0
        self._reloads = self._reloads_at_take = 0
        self._ask_at = float("-inf")  # by the monotonic clock
        self._doubts = False
        self._at_start: tuple[KeyState, float] | None = None
        revisions.subscribe(NAME, self._reload)

    # What requests call. None of it waits or raises.

    def now(self) -> Quota:
        """Return what is left of the account, as well as it is known now."""
        now = self._clock()
        return joined(
            self._row,
            self._document,
            sent=self._count((DAY, day_of(now))),
            minute=self._count((MINUTE, _minute_of(now))),
            minute_limit=self._minute_limit,
            limited=self._is_limited(now),
            now=now,
        )

    def free_left(self) -> int | None:
        """Return how many free requests are left of this UTC day, None if nobody knows."""
        now = self._clock()
        return free_left(self._row, self._count((DAY, day_of(now))), now, limited=self._is_limited(now))

    def has_plenty(self) -> bool:
        """Return True unless less than a fifth of the day's free requests is known to be left."""
        left, limit = self.free_left(), self._row.free_limit
        return left is None or not limit or left >= limit / 5

    def sent(self) -> None:
        """A free attempt is being sent."""
        minute = int(self._clock()) // MINUTE * MINUTE
        in_day, in_minute = (DAY, minute // DAY * DAY), (MINUTE, minute)
        self._unwritten[in_day] = self._unwritten.get(in_day, 0) + 1
        self._unwritten[in_minute] = self._unwritten.get(in_minute, 0) + 1
        self._sent.append((minute, 1))
        self._batches.wanted()

    def not_counted(self) -> None:
        """A free attempt turns out to be one that OpenRouter does not count against the day."""
        # Whether it counts for the minute nobody knows.
        day = day_of(self._clock())
        self._unwritten[DAY, day] = self._unwritten.get((DAY, day), 0) - 1
        self._sent.append((day, -1))
        self._batches.wanted()

    def failed(self, verdict: Verdict) -> None:
        """An attempt has failed: perhaps it says something of the key."""
        if (state := state_in(verdict)) is not None:
            self._found(state)

    def answered(self) -> None:
        """A model has answered: the key is valid."""
        if self._row.key_state != KeyState.VALID:
            self._found(KeyState.VALID)

    @property
    def key_state(self) -> KeyState:
        """What is known of the key."""
        return key_state_of(self._row)

    def found_at_start(self, state: KeyState, at: float) -> None:
        """Take over what the start found out about the key at `at` (UTC epoch seconds), before any worker was there.

        A worker may begin days after it: what was learned meanwhile counts.
        """
        self._at_start = state, at
        self._row = replace(self._row, key_state=state.value)

    def _found(self, state: KeyState, at: float | None = None) -> None:
        if state != self._row.key_state:
            self._change(key_state=state.value, key_state_at=self._clock() if at is None else at)

    def _is_limited(self, now: float) -> bool:
        limits = self._limits()
        return bool(limits) and any(
            row.until > now and row.scope == "free" and row.reason == DAILY_LIMIT for row in limits
        )

    def _count(self, window: Window) -> int:
        return max(self._stored.get(window, 0) + self._unwritten.get(window, 0), 0)

    def _change(self, **columns: object) -> None:
        self._row = replace(self._row, **columns)  # type: ignore[arg-type]
        self._changes.append(columns)
        self._batches.wanted()

    # What reports call

    def looked(self) -> None:
        """Somebody looks at a report: for a minute OpenRouter is asked now and then, and processes tell what they do.

        Also brings in what other processes have learned, so call it before `now`. Waits a quarter of a second at most.
        """
        self._revisions.freshen()
        if not self._has_looked_within(_NOTE_EVERY):
            self._change(looked_at=self._clock())

    def is_watched(self) -> bool:
        """Return True if somebody has looked within the last minute."""
        return self._has_looked_within(WATCHED)

    def _has_looked_within(self, seconds: float) -> bool:
        # The look may be another machine's, whose clock is ahead.
        return -CLOCKS_DIFFER <= self._clock() - self._row.looked_at < seconds

    def load(self) -> None:
        """Take over what is stored, for a report where no server runs. Raises StorageUnavailable."""
        self._reload()

    # In the background

    def ask_if_due(self) -> bool:
        """Ask OpenRouter, if the time has come and no other process does. Returns True if it was asked.

        It is asked at the start, again while it has never answered, and every minute while somebody looks; once more
        if it may have told yesterday's count for today's.
        """
        now, monotonic = self._clock(), self._monotonic()
        is_wanted = self.is_watched() or not self._row.counted_at or self._ask_at < 0 or self._doubts
        if monotonic < self._ask_at or not is_wanted:
            return False
        self._ask_at, self._doubts = monotonic + ASK_EVERY, False
        try:
            # It is not given back: for so long the others need not ask.
            if not self._leases.acquire("key check", self._holder(), now=now, seconds=ASK_EVERY * 0.9):
                return False
            if not self._reloads:
                # Else all that was sent before this process began would look like sent after OpenRouter's answer.
                self._reload()
        except StorageUnavailable:
            pass  # then each process asks for itself
        # The time before the question: an answer that comes after midnight may have been given before it.
        self._told(self._check(), now)
        return True

    def _told(self, checked: KeyCheck, asked_at: float) -> None:
        if checked.state is not KeyState.VALID:
            if checked.state is KeyState.REFUSED:
                self._found(checked.state)
            return
        document = document_of(checked.limits)
        if self.key_state is not KeyState.NO_CREDITS and not (
            self.key_state is KeyState.KEY_LIMIT and document.get("credits_left", 1) <= 0
        ):
            # The answer says nothing of the account's credits.
            self._found(KeyState.VALID)
        used, limit = free_counts(checked.limits)
        self._document = document
        told: dict[str, object] = {"free_limit": limit, "document": orjson.dumps(document).decode()}
        day = day_of(asked_at)
        if may_be_yesterdays(self._row, used, asked_at):
            # Until then our own count is all there is, as on a day on which OpenRouter was not asked.
            self._ask_at, self._doubts = self._monotonic() + day + STILL_YESTERDAY - asked_at, True
        else:
            self._waited_then = sum([count for when, count in list(self._sent) if day_of(when) == day])
            told |= {"counted_at": asked_at, "free_used": used, "sent_then": self._count((DAY, day))}
        self._change(**told)

    def _reload(self) -> None:
        """Take over what is stored, but keep what was learned here and may be missing there. Raises StorageUnavailable.

        What is committed between the reading of the revision and this is read with the next look again.
        """
        now = self._clock()
        row, counts = self._table.load([(DAY, day_of(now)), (MINUTE, _minute_of(now))])
        _, taken = self._taken
        is_ours = False
        for changes in (taken, *self._changes):
            row = _changed(row, changes)
            is_ours = is_ours or "sent_then" in changes
        if is_ours and day_of(row.counted_at) == day_of(now):
            # As the write will do: this process may not have known of all that others had sent.
            row = replace(row, sent_then=max(row.sent_then, counts.get((DAY, day_of(now)), 0)))
        self._row, self._stored, self._document = row, counts, _parsed(row.document)
        self._reloads += 1
        at_start, self._at_start = self._at_start, None
        if at_start is None or row.key_state_at > at_start[1]:
            return
        # A valid key may still have no credits, of which an earlier request has told.
        said_before = (KeyState.UNKNOWN, KeyState.REFUSED)
        if at_start[0] is KeyState.REFUSED or (at_start[0] is KeyState.VALID and row.key_state in said_before):
            self._found(*at_start)

    # Writing (a `batches.Source`)

    @property
    def waits(self) -> bool:
        return bool(self._sent or self._changes)

    def take(self) -> Write | None:
        counts: Counter[Window] = Counter()
        changes: dict[str, object] = {}
        for _ in range(len(self._sent)):
            when, count = self._sent.popleft()
            counts[DAY, day_of(when)] += count
            if count > 0:
                counts[MINUTE, when] += count
        for _ in range(len(self._changes)):
            changes |= self._changes.popleft()
        self._taken, self._reloads_at_take = (counts, changes), self._reloads
        return self._table.write(changes, counts, waited_then=self._waited_then) if counts or changes else None

    def settled(self, *, made: bool) -> None:
        (counts, _), self._taken = self._taken, (Counter(), {})
        for window, count in counts.items():
            self._unwritten[window] = self._unwritten.get(window, 0) - count
        if made and self._reloads == self._reloads_at_take:
            stored = {window: self._stored.get(window, 0) + count for window, count in counts.items()}
            self._stored = {**self._stored, **stored}
        now = self._clock()
        # A copy: requests add windows meanwhile.
        for window in [one for one in list(self._unwritten) if one[1] + 2 * one[0] < now]:
            del self._unwritten[window]


def _changed(row: AccountRow, changes: Mapping[str, Any]) -> AccountRow:
    """Return the row with `changes`, but with the later one of what is known of the key."""
    if changes.get("key_state_at", row.key_state_at) < row.key_state_at:
        changes = {name: value for name, value in changes.items() if not name.startswith("key_state")}
    return replace(row, **changes)


def _minute_of(now: float) -> int:
    return int(now // MINUTE) * MINUTE


def _parsed(document: str) -> dict[str, Any]:
    try:
        found = orjson.loads(document)
    except orjson.JSONDecodeError:
        return {}
    return {name: value for name, value in found.items() if name in Quota.__dataclass_fields__}
