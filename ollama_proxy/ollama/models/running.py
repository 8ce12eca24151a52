"""Tracks which models /api/ps lists as loaded: those loaded or used by this process within their keep_alive. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ollama_proxy.catalog.names import name_key, tagged
from ollama_proxy.ollama.models.tags import Listed, context_length, details, size
from ollama_proxy.ollama.timestamps import NANOSECONDS, rfc3339

DEFAULT_KEEP_ALIVE = 300.0
"""Seconds; Ollama's default."""

_FOREVER = 2**63 - 1  # nanoseconds, 292 years: Ollama adds this to the current time for "forever"


#: The names that are kept at most: clients choose them. The ones that would be unloaded first make room.
_MOST_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Loaded:
    """A name under which a model counts as loaded; `expires` is epoch nanoseconds.

    `caller` is who called it so last, "" for the model's own name.
    """

    name: str
    model: Listed
    expires: int
    caller: str = ""


def _as_it_is(loaded: Loaded) -> Listed:
    return loaded.model


class Running:
    """The models in use, by their listed name and by the names that clients called them, with the time at which each
    would be unloaded.

    `clock` gives epoch nanoseconds.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._loaded: dict[str, Loaded] = {}

    def used(self, model: Listed, keep_alive: float | None = None, *, asked: str = "", caller: str = "") -> None:
        """Note that a request to a model ended, or that it was loaded. `asked` is what `caller` called it, "" if that
        may be no name: /api/ps shows it to others.

        `keep_alive` is in seconds: None is the default, a negative number means forever, 0 unloads.
        """
        seconds = DEFAULT_KEEP_ALIVE if keep_alive is None else keep_alive
        if seconds == 0:
            self.unload(model.name)
            return
        span = _FOREVER if seconds < 0 or seconds * NANOSECONDS >= _FOREVER else int(seconds * NANOSECONDS)
        loaded = Loaded(model.name, model, self._clock() + span)
        if asked:
            key, name = _keyed(tagged(asked.strip()))
            self._loaded[key] = replace(loaded, name=name, caller=caller)
        self._loaded[_keyed(model.name)[0]] = loaded
        if len(self._loaded) > _MOST_NAMES:
            self._loaded = {name_key(one.name): one for one in self._latest_first()[:_MOST_NAMES]}

    def unload(self, name: str) -> None:
        """Remove the model that is listed as `name`, under all its names; no error if it is not loaded."""
        self._loaded = {key: one for key, one in self._loaded.items() if one.model.name != name}

    def entries(self, seen: Callable[[Loaded], Listed | None] = _as_it_is) -> list[dict[str, Any]]:
        """Return the entries of /api/ps, the last to be unloaded first, and remove those whose time is over.

        `seen` returns what its caller may see of the model under that name; None: nothing.
        """
        now = self._clock()
        self._loaded = {key: one for key, one in self._loaded.items() if one.expires > now}
        found = [(one, seen(one)) for one in self._latest_first()]
        return [_entry(one.name, model, one.expires) for one, model in found if model is not None]

    def _latest_first(self) -> list[Loaded]:
        return sorted(self._loaded.values(), key=lambda one: one.expires, reverse=True)


@lru_cache(maxsize=1024)
def _keyed(name: str) -> tuple[str, str]:
    """Return the key of a name, and the name."""
    return name_key(name), name


def _entry(name: str, model: Listed, expires: int) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "size": size(model),
        "digest": model.digest,
        "details": details(model),
        "expires_at": rfc3339(expires),
        "size_vram": size(model),
        "context_length": context_length(model),
    }
