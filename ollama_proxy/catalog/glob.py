"""Patterns with `*` (any run of characters) and `?` (one character), matched with a text as a whole.

Not by one regular expression: each `*` in it multiplies the ways that it tries, and a line with several of them would
hold the process for minutes. Here each piece between two stars is looked for once, from left to right, and the first
place where it is found is taken: a later one could only leave less room for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

#: A run of both signs with a star in it: it means as many characters as it has `?`, or more.
_RUN: Final = re.compile(r"[*?]*\*[*?]*")

#: (text, begin, end) -> where a piece is found first within them, or -1.
_Find = Callable[[str, int, int], int]


class Glob:
    """One pattern. `matches` takes at most the time of text times pattern."""

    __slots__ = ("_first", "_last", "_middle")

    def __init__(self, pattern: str) -> None:
        first, *rest = _RUN.sub(lambda run: "?" * run[0].count("?") + "*", pattern).split("*")
        self._first = _Piece(first)
        #: None: the pattern has no star.
        self._last = _Piece(rest[-1]) if rest else None
        self._middle = tuple(map(_Piece, rest[:-1]))

    def matches(self, text: str) -> bool:
        """Return True if the whole of `text` is as the pattern says; case counts."""
        begin, last = self._first.length, self._last
        end = len(text) - (0 if last is None else last.length)
        if begin > end or self._first.find(text, 0, begin) != 0:
            return False
        if last is None:
            return begin == end
        if last.find(text, end, len(text)) != end:
            return False
        for piece in self._middle:
            found = piece.find(text, begin, end)
            if found < 0:
                return False
            begin = found + piece.length
        return True


class Globs:
    """Several patterns. Those without signs are looked up, as most are names."""

    __slots__ = ("_globs", "_names")

    def __init__(self, patterns: Iterable[str]) -> None:
        every = frozenset(patterns)
        self._names = frozenset(one for one in every if "*" not in one and "?" not in one)
        self._globs = tuple(map(Glob, sorted(every - self._names)))

    def match(self, texts: Iterable[str]) -> bool:
        """Return True if one of the patterns matches one of `texts`."""
        return any(text in self._names or any(glob.matches(text) for glob in self._globs) for text in texts)


class _Piece:
    """What stands between two stars, and how to find it."""

    __slots__ = ("find", "length")

    def __init__(self, text: str) -> None:
        self.length = len(text)
        self.find: _Find = _finder(text)


def _finder(piece: str) -> _Find:
    if "?" not in piece:
        return lambda text, begin, end: text.find(piece, begin, end)
    # It has no quantifier, so there is nothing to go back to.
    search = re.compile("".join("." if char == "?" else re.escape(char) for char in piece), re.DOTALL).search

    def find(text: str, begin: int, end: int) -> int:
        found = search(text, begin, end)
        return -1 if found is None else found.start()

    return find
