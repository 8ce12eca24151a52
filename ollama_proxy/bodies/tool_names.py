"""Names of tools that every provider accepts. Pure (docs/contract.md, "Tools")."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ALLOWED = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST = 64


class ToolNames:
    """Maps the client's tool names to names that every provider accepts (letters, digits, `_`, `-`, at most 64).

    `renamed` maps the upstream name back to the client's, for those that were changed.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.renamed: dict[str, str] = {}
        self._upstream: dict[str, str] = {}
        self._taken: dict[str, int] = {}  # how often each name was wanted: finding a free one stays cheap
        # Names that need no change come first, so that no changed name takes one of them.
        for name in sorted(set(known), key=lambda name: not _ALLOWED.fullmatch(name)):
            self.upstream(name)

    def upstream(self, name: str) -> str:
        """Return the name sent to OpenRouter for the client's `name`; it is the same every time."""
        found = self._upstream.get(name)
        if found is not None:
            return found
        chosen = self._upstream[name] = self.another(name)
        if chosen != name:
            self.renamed[chosen] = name
        return chosen

    def another(self, name: str) -> str:
        """Return a name near `name` that nothing else has: another one each time."""
        stem = _NOT_ALLOWED.sub("_", name[:_LONGEST]) or "tool"
        chosen = stem
        while chosen in self._taken:
            self._taken[stem] = self._taken.get(stem, 1) + 1
            ending = f"_{self._taken[stem]}"
            chosen = stem[: _LONGEST - len(ending)] + ending
        self._taken[chosen] = 1
        return chosen
