"""All keys of the database in the memory of one process, by their hash: no request makes a query for its key.

Processes learn of each other's changes by the number "keys" (`storage/revisions.py`), within a second. What is in
memory goes on while the database is away. What is not known yet is not taken for "no keys": see `KeyRegister.current`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from ollama_proxy.access.key_texts import folded
from ollama_proxy.access.keys import Key, Limits
from ollama_proxy.background import Background
from ollama_proxy.storage.database import REST_SECONDS, StorageUnavailable
from ollama_proxy.storage.key_table import KeyRow, StoredKeys

#: Seconds that a request waits for the keys of a server that has just started.
START_PATIENCE: Final = 5.0
#: The keys are read again after so many seconds even if nobody has said that they changed: a backup was put back.
READ_AGAIN: Final = 60.0


@dataclass(frozen=True, slots=True)
class Register:
    """The keys at one moment: by the digest of the key's text (`key_texts.fingerprint`).

    `required`: whoever has none of them, and none of PROXY_API_KEYS, is refused.
    """

    keys: Mapping[bytes, Key] = field(default_factory=dict)
    required: bool = False

    def find(self, digest: bytes, now: float) -> Key | None:
        """Return the key with that digest, if it may be used at `now` (UTC epoch seconds).

        One look-up in a hash table by a digest, which nobody can choose: it takes the same time for every text.
        """
        key = self.keys.get(digest)
        if key is None or key.disabled or (key.expires is not None and key.expires <= now):
            return None
        return key

    def named(self, name: str) -> Key | None:
        """Return the key of that name, without regard to case."""
        wanted = folded(name)
        return next((key for key in self.keys.values() if folded(key.name) == wanted), None)


#: Of a server without a database of keys.
NO_KEYS: Final = Register()


class KeyRegister:
    """One for each process. `current` is asked by every request."""

    def __init__(
        self,
        load: Callable[[], StoredKeys],
        *,
        freshen: Callable[[], None] = lambda: None,
        taken: Collection[str] = (),
        on_warning: Callable[[str], object] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`load` reads the table, `freshen` calls `reload` if it has changed (`Revisions.freshen`).

        `taken` are the folded names of PROXY_API_KEYS: a key of the database that has such a name counts for nothing,
        because the two would see each other's rows. `on_warning` gets one line about each such thing.
        """
        self._load, self._freshen, self._monotonic = load, freshen, monotonic
        self._taken = frozenset(taken)
        self._on_warning = on_warning
        self._warned: set[str] = set()
        self._register: Register | None = None
        self._lock = threading.Lock()
        self._loading: Background[None] | None = None
        self._rest_until = float("-inf")

    def current(self) -> Register | None:
        """Return the keys, at most a second old where the database answers.

        None while nobody knows them: the database has been away since the start. Then nobody may be served, for keys
        may be required. Waits a moment for the first answer.
        """
        self._freshen()
        if self._register is None:
            self._wait_for_first()
        return self._register

    @property
    def known(self) -> Register | None:
        """The keys as they are in memory; None while nobody knows them. Waits for nothing."""
        return self._register

    def reload(self) -> None:
        """Read the keys now. Raises StorageUnavailable."""
        self._register = self._read()

    def _read(self) -> Register:
        stored = self._load()
        earlier = self._register
        if stored.required is None and earlier is not None and earlier.required:
            # Only `keys off` ends it. A database that has lost its tables has not said that everybody may come in.
            self._warn("the database has no keys any more: those that this process knows go on; restart, or `keys off`")
            return earlier
        keys = {}
        for row in stored.rows:
            if row.folded in self._taken:
                self._warn(f"the key {row.name!r} counts for nothing: a key of PROXY_API_KEYS has the same name")
            else:
                keys[bytes.fromhex(row.sha256)] = key_of(row)
        return Register(keys, bool(stored.required))

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._on_warning(text)

    def _wait_for_first(self) -> None:
        with self._lock:
            if self._loading is None:
                if self._monotonic() < self._rest_until:
                    return
                self._loading = Background(self._first, discard=lambda _: None)
            loading = self._loading
        loading.wait(START_PATIENCE)

    def _first(self) -> None:
        try:
            found = self._read()
            if self._register is None:  # what came meanwhile is newer
                self._register = found
        except StorageUnavailable:
            self._rest_until = self._monotonic() + REST_SECONDS
        finally:
            with self._lock:
                self._loading = None


def key_of(row: KeyRow) -> Key:
    """Return what a stored key allows."""
    return Key(
        name=row.name,
        id=row.id,
        models=tuple(row.models.splitlines()),
        free_only=bool(row.free_only),
        limits=Limits(row.per_minute, row.parallel, row.free_per_day, row.microusd_per_day, row.microusd_per_month),
        expires=row.expires,
        disabled=bool(row.disabled),
        admin=bool(row.admin),
        metrics=bool(row.metrics),
    )
