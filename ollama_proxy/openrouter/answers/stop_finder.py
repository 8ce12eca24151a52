"""Finds the first of several stop strings in a text that comes in pieces, in one pass over its characters.

Pure. An automaton of Aho and Corasick ("Efficient string matching", 1975): how many stop strings there are does not
matter, and its state says how much of the end of the text may be the beginning of one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


class StopFinder:
    """The state of one text. Made once per request; `restart` begins another text."""

    def __init__(self, stops: Sequence[str], echoed: str = "") -> None:
        """`stops` are not empty, and none of them is. `echoed` is not searched where each text begins with it."""
        self._echoed = echoed
        self._echo_at = 0  # so much of it has come
        self._next: list[dict[str, int]] = [{}]
        self._depth = [0]
        self._ends: list[str] = [""]  # the longest stop that ends at a node
        for stop in stops:
            node = 0
            for character in stop:
                node = self._child(node, character)
            self._ends[node] = stop
        self._fail = self._failures()
        self._first = re.compile(f"[{re.escape(''.join(sorted({stop[0] for stop in stops})))}]")
        self._node = 0

    def _child(self, node: int, character: str) -> int:
        children = self._next[node]
        if character not in children:
            children[character] = len(self._next)
            self._next.append({})
            self._depth.append(self._depth[node] + 1)
            self._ends.append("")
        return children[character]

    def _failures(self) -> list[int]:
        """For each node the node of its longest proper suffix, level by level."""
        fail = [0] * len(self._next)
        level = list(self._next[0].values())
        while level:
            following = []
            for node in level:
                for character, child in self._next[node].items():
                    other = fail[node]
                    while other and character not in self._next[other]:
                        other = fail[other]
                    fail[child] = self._next[other].get(character, 0)
                    self._ends[child] = self._ends[child] or self._ends[fail[child]]
                    following.append(child)
            level = following
        return fail

    @property
    def held(self) -> int:
        """How many characters at the end of the text so far may be the beginning of a stop string."""
        return self._depth[self._node]

    def restart(self) -> None:
        """What comes next is another text."""
        self._node = 0
        self._echo_at = 0

    def find(self, piece: str) -> tuple[int, str] | None:
        """Read on. Return the place behind the first stop string that ends in `piece`, and that string; else None.

        Of two that end at the same place the longer one counts. After a find only `restart` makes sense.
        """
        following, fail, ends, node = self._next, self._fail, self._ends, self._node
        at = self._echo_in(piece) if self._echo_at < len(self._echoed) else 0
        while at < len(piece):
            if not node:
                # Most of a text is nowhere near a stop string: that is skipped at once.
                begin = self._first.search(piece, at)
                if begin is None:
                    break
                at = begin.start()
            character = piece[at]
            while node and character not in following[node]:
                node = fail[node]
            node = following[node].get(character, 0)
            at += 1
            if ends[node]:
                self._node = node
                return at, ends[node]
        self._node = node
        return None

    def _echo_in(self, piece: str) -> int:
        """Return how many characters of `piece` go on with the echo. Once the text differs from it there is none."""
        came = self._echo_at
        part = piece[: len(self._echoed) - came]
        if self._echoed.startswith(part, came):
            self._echo_at += len(part)
            return len(part)
        self._echo_at = len(self._echoed)
        return 0
