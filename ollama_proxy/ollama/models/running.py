"""Tracks which models /api/ps lists as loaded: those loaded or used by this process within their keep_alive. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ollama_proxy.ollama.models.tags import STUB_BYTES, Listed, context_length, details
from ollama_proxy.ollama.timestamps import NANOSECONDS, rfc3339

DEFAULT_KEEP_ALIVE = 300.0
"""Seconds; Ollama's default."""

_FOREVER = 2**63 - 1  # nanoseconds, 292 years: Ollama adds this to the current time for "forever"


class Running:
    """The models in use, by their listed name, with the time at which each would be unloaded.

    `clock` gives epoch nanoseconds.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._models: dict[str, tuple[int, Listed]] = {}

    def used(self, name: str, model: Listed, keep_alive: float | None = None) -> None:
        """Note that a request to a model ended, or that it was loaded.

        `keep_alive` is in seconds: None is the default, a negative number means forever, 0 unloads.
        """
        seconds = DEFAULT_KEEP_ALIVE if keep_alive is None else keep_alive
        if seconds == 0:
            self.unload(name)
            return
        span = _FOREVER if seconds < 0 or seconds * NANOSECONDS >= _FOREVER else int(seconds * NANOSECONDS)
        self._models[name] = (self._clock() + span, model)

    def unload(self, name: str) -> None:
        """Remove a model; no error if it is not loaded."""
        self._models.pop(name, None)

    def entries(self, now: int | None = None) -> list[dict[str, Any]]:
        """Return the entries of /api/ps, the last to be unloaded first, and remove those whose time is over.

        `now` is epoch nanoseconds, by default the clock's.
        """
        now = self._clock() if now is None else now
        self._models = {name: known for name, known in self._models.items() if known[0] > now}
        latest_first = sorted(self._models.items(), key=lambda item: item[1][0], reverse=True)
        return [_entry(name, model, expires) for name, (expires, model) in latest_first]


def _entry(name: str, model: Listed, expires: int) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "size": STUB_BYTES,
        "digest": model.digest,
        "details": details(model),
        "expires_at": rfc3339(expires),
        "size_vram": STUB_BYTES,
        "context_length": context_length(model),
    }
