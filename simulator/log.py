"""Records what the simulator received and how each request ended; tests can wait for entries. It knows no HTTP."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LIMIT = 20_000


@dataclass(slots=True)
class Entry:
    """One request. Times are epoch seconds; `outcome` is `open`, and at the end complete, client_gone or error.

    `invalid` says what OpenRouter's OpenAPI document has against the body, "" if nothing, or if there is no document.
    """

    n: int
    method: str
    path: str
    model: str | None
    headers: dict[str, str]
    key: str | None
    key_id: int | None
    body: Any
    connection: int
    t_start: float
    status: int | None = None
    t_first_byte: float | None = None
    t_end: float | None = None
    outcome: str = "open"
    detail: str = ""
    holding: str | None = None
    stream: bool = False
    events_sent: int = 0
    event_times: list[float] = field(default_factory=list)
    invalid: str = ""

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in Entry.__slots__}


class RequestLog:
    """The last `LIMIT` entries; `notify()` wakes those who wait for more."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=LIMIT)
        self._waiters: list[asyncio.Future[None]] = []
        self._keys: dict[str, int] = {}
        self.total = 0
        self.open = 0
        self.peak_open = 0

    def begin(self, method: str, path: str, headers: Mapping[str, str], body: Any, connection: int) -> Entry:
        """Open the entry of a request. A key is cut to its last four characters and numbered by first use."""
        self.total += 1
        shown = dict(headers)
        key, key_id = None, None
        if authorization := shown.get("authorization"):
            key = "..." + authorization[-4:]
            key_id = self._keys.setdefault(authorization, len(self._keys) + 1)
            shown["authorization"] = key
        model = body.get("model") if isinstance(body, dict) else None
        entry = Entry(self.total, method, path, model, shown, key, key_id, body, connection, time.time())
        self._entries.append(entry)
        self.open += 1
        self.peak_open = max(self.peak_open, self.open)
        self.notify()
        return entry

    def end(self, entry: Entry, outcome: str, detail: str = "") -> None:
        entry.outcome, entry.detail, entry.t_end, entry.holding = outcome, detail, time.time(), None
        self.open -= 1
        self.notify()

    def clear(self) -> None:
        self._entries.clear()
        self._keys.clear()

    def notify(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def find(self, wanted: Mapping[str, str]) -> list[Entry]:
        """Return the entries with `n` above `since` that fit model, path (its end), method, outcome, holding,
        min_events, invalid (any value: only those with an invalid body).
        """
        only_invalid = "invalid" in wanted
        since, min_events = int(wanted.get("since", "0")), int(wanted.get("min_events", "0"))
        same = [(name, wanted[name]) for name in ("model", "outcome", "holding", "method") if name in wanted]
        path = wanted.get("path", "")
        return [
            entry
            for entry in self._entries
            if entry.n > since
            and (entry.invalid or not only_invalid)
            and entry.events_sent >= min_events
            and entry.path.endswith(path)
            and all(getattr(entry, name) == value for name, value in same)
        ]

    async def wait(self, wanted: Mapping[str, str]) -> list[Entry]:
        """Wait up to `wait` seconds until `find` returns `min` (1) entries. Returns what there is then."""
        deadline = time.monotonic() + float(wanted.get("wait", "0"))
        minimum = int(wanted.get("min", "1"))
        while len(found := self.find(wanted)) < minimum and (left := deadline - time.monotonic()) > 0:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await asyncio.wait([waiter], timeout=left)
        return found
