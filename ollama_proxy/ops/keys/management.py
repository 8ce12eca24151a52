"""What may be done to the keys of the database. Each change is written with who made it, and from where.

Works on the database: this process and all others see the change within a second (docs/contract.md, "Keys").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ollama_proxy.access.caller import Caller
from ollama_proxy.access.key_texts import checked_name, fingerprint, folded, new_key, shown_prefix
from ollama_proxy.access.keys import Key
from ollama_proxy.catalog.filters import Filters
from ollama_proxy.catalog.scope import Scope
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.errors import BadRequest, ProxyError
from ollama_proxy.ledger.ledger import Ledger
from ollama_proxy.money import in_dollars
from ollama_proxy.ops.keys.wishes import FIELDS, columns_of
from ollama_proxy.ops.moments import moment, moment_or_none
from ollama_proxy.storage.key_table import MOST_KEYS, Event, KeyRow, KeyTable, NameTaken, NoSuchKey, TooManyKeys

#: Who did it, where a command was given on the machine itself.
COMMAND_LINE: Final = "command line"

#: The columns of a key of which nothing was said.
DEFAULTS: Final[Mapping[str, Any]] = {
    "models": "",
    "free_only": 0,
    "per_minute": None,
    "parallel": None,
    "free_per_day": None,
    "microusd_per_day": None,
    "microusd_per_month": None,
    "expires": None,
    "disabled": 0,
    "admin": 0,
    "metrics": 0,
    "note": "",
}


class KeyNotFound(ProxyError):
    """There is no key of that name."""

    status = 404


class KeyExists(ProxyError):
    """There is a key of that name already."""

    status = 409


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes a key: the name of an admin's key, or COMMAND_LINE; and from where, an address or a machine."""

    name: str
    address: str

    @classmethod
    def calling(cls, caller: Caller) -> Actor:
        """Whoever sends a request with a key."""
        return cls(caller.key, caller.address)


class KeyManagement:
    """The operations on keys. Methods raise ProxyError with words for the user, and StorageUnavailable."""

    def __init__(
        self,
        table: KeyTable,
        ledger: Ledger,
        *,
        taken: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`taken` are the names of PROXY_API_KEYS."""
        self._table, self._ledger, self._clock = table, ledger, clock
        self._taken = frozenset(map(folded, taken))

    # Looking

    def all(self) -> dict[str, Any]:
        """Return whether keys are required, and all keys by name."""
        stored = self._table.load()
        return {"required": bool(stored.required), "keys": [self.told(row) for row in stored.rows]}

    def one(self, name: str) -> dict[str, Any]:
        """Return what is told of one key. Raises KeyNotFound."""
        return self.told(self._row(name))

    def events(self, limit: int, *, before: int | None = None) -> dict[str, Any]:
        """Return what was done to keys, the newest first; `next` is the next page's `before`, None for no more."""
        found = self._table.events(limit, before=before)
        told = [
            {
                "at": moment(event.at),
                "by": event.actor,
                "from": event.address,
                "action": event.action,
                "key": event.key,
                "detail": event.detail,
            }
            for _, event in found
        ]
        return {"events": told, "next": found[-1][0] if len(found) == limit else None}

    # Changing

    def add(self, name: str, wishes: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
        """Make a key. Returns what is told of it and, this once, `key` itself. From now on keys are required."""
        try:
            name = checked_name(name)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        if folded(name) in self._taken:
            raise KeyExists(f"a key of PROXY_API_KEYS is called {name!r}")
        now, key = self._clock(), new_key()
        values = {**DEFAULTS, **columns_of(wishes, now), "name": name, "folded": folded(name), "created": now}
        values |= {"sha256": fingerprint(key.encode()).hex(), "prefix": shown_prefix(key)}
        try:
            row = self._table.add(values, self._event(actor, "added", name, _words(wishes)))
        except NameTaken:
            raise KeyExists(f"there is a key called {name!r} already") from None
        except TooManyKeys:
            raise BadRequest(f"there are {MOST_KEYS} keys already, which is the most") from None
        # Nothing that can fail may stand here: the key is made, and nobody else has its text.
        return {**self.told(row), "key": key}

    def change(self, name: str, wishes: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
        """Change what `wishes` name. Returns the key as it is then. What it has used counts on."""
        if not wishes:
            raise BadRequest(f"nothing is to be changed: {', '.join(FIELDS)}")
        columns, row = columns_of(wishes, self._clock()), self._row(name)
        action, words = "changed", _words(wishes)
        if columns.keys() == {"disabled"}:
            action, words = "disabled" if columns["disabled"] else "enabled", ""
        with _key_not_found():
            return self.told(self._table.change(row.folded, columns, self._event(actor, action, row.name, words)))

    def remove(self, name: str, actor: Actor) -> dict[str, Any]:
        """Remove a key, its requests in the log and its sums. Keys stay required, also if it was the last one."""
        row = self._row(name)
        # A key of PROXY_API_KEYS may have taken the name meanwhile: what is recorded is then that one's, too.
        shared = row.folded in self._taken
        # This goes first: if the second step fails, the key is still there, and removing it again ends the work. The
        # other way round a later key of that name would find the rows of this one.
        requests = 0 if shared else self._ledger.clear(row.name, usage=True)
        with _key_not_found():
            self._table.remove(row.folded, self._event(actor, "removed", row.name, ""))
        return {"removed": row.name, "requests": requests}

    def require(self, actor: Actor, *, required: bool) -> dict[str, Any]:
        """Say whether keys are required from now on; those that there are stay as they are."""
        self._table.require(self._event(actor, "required" if required else "not required", "", ""), required=required)
        return {"required": required}

    def _row(self, name: str) -> KeyRow:
        wanted = folded(name)
        row = next((row for row in self._table.load().rows if row.folded == wanted), None)
        if row is None:
            raise KeyNotFound("there is no key of that name")
        return row

    def _event(self, actor: Actor, action: str, key: str, detail: str) -> Event:
        return Event(self._clock(), actor.name, actor.address, action, key, detail)

    def told(self, row: KeyRow) -> dict[str, Any]:
        """What is told of a key: the fields of `wishes.py`, and its state. Never the key, nor its hash."""
        dollars = {
            "usd_per_day": row.microusd_per_day,
            "usd_per_month": row.microusd_per_month,
        }
        return {
            "name": row.name,
            "state": self._state(row),
            "prefix": row.prefix,
            "models": row.models.splitlines(),
            "free_only": bool(row.free_only),
            "rpm": row.per_minute,
            "parallel": row.parallel,
            "free_per_day": row.free_per_day,
            **{name: None if value is None else in_dollars(value) for name, value in dollars.items()},
            "expires": moment_or_none(row.expires),
            "disabled": bool(row.disabled),
            "admin": bool(row.admin),
            "metrics": bool(row.metrics),
            "note": row.note,
            "created": moment(row.created),
        }

    def _state(self, row: KeyRow) -> str:
        if row.folded in self._taken:
            return "name taken"
        if row.disabled:
            return "disabled"
        return "expired" if row.expires is not None and row.expires <= self._clock() else "active"


@contextmanager
def _key_not_found() -> Iterator[None]:
    """Around a change: somebody else may have removed the key meanwhile."""
    try:
        yield
    except NoSuchKey:
        raise KeyNotFound("there is no key of that name") from None


def unmatched_lines(lines: Iterable[str], catalog: Catalog, *, free_only: bool = False) -> list[str]:
    """Return the lines that match no model of the catalogue: most likely typing errors."""
    scope = Scope(tuple(lines), free_only)
    names = [(model.name, model.id) for model in catalog.known()]
    return Filters(names=scope.filter_lines).unmatched(names, free_mode=catalog.free_mode or free_only)


def limits_of(key: Key) -> dict[str, Any]:
    """Return a key's limits by the names of the fields; None: no limit."""
    limits = key.limits
    day, month = limits.microusd_per_day, limits.microusd_per_month
    return {
        "rpm": limits.per_minute,
        "parallel": limits.parallel,
        "free_per_day": limits.free_per_day,
        "usd_per_day": None if day is None else in_dollars(day),
        "usd_per_month": None if month is None else in_dollars(month),
    }


def _words(wishes: Mapping[str, Any]) -> str:
    """What was asked for, for the audit; a note is only named, as people write all sorts of things there."""
    told = {name: "…" if name == "note" else value for name, value in wishes.items()}
    return ", ".join(f"{name}: {_word(value)}" for name, value in told.items())[:500]


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
