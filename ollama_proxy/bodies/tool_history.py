"""Repairs the tool turns of a conversation, so that every provider accepts it.

Upstream, each call needs an id of its own and exactly one result, directly after the calling message. Most Ollama
clients keep no ids, some keep them only in calls or only in results, some send results as user text (docs/contract.md,
"Tools"). It knows no API: a `Form` tells what a message is. Pure.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

M = TypeVar("M")

_USABLE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESULT_FOLLOWS = "(the result is in the next message)"
_NO_RESULT = "(no result was recorded)"


class Named(NamedTuple):
    """What a call or a result says of itself: an id and a tool's name, each "" if it has none."""

    id: str
    name: str


class Form(Protocol[M]):
    """How the messages of one API hold calls and results."""

    def calls(self, message: M) -> Sequence[Named]:
        """The calls that the message makes; only an assistant's message has any."""

    def result(self, message: M) -> Named | None:
        """What the message says of itself, if it is a tool's result; else None."""

    def is_assistant(self, message: M) -> bool: ...

    def is_user(self, message: M) -> bool: ...

    def joined(self, callers: Sequence[M]) -> M:
        """One message with the texts and the calls of several."""

    def with_ids(self, caller: M, ids: Sequence[str]) -> M:
        """The message with these ids for its calls."""

    def answering(self, result: M, call: Named) -> M:
        """The result as that of `call`."""

    def placeholder(self, text: str) -> M:
        """A result that says `text`."""

    def as_user(self, result: M) -> M:
        """A result as the user's words."""


class CallIds:
    """Gives ids to calls: the client's where possible, else an id that depends only on the place in the history.

    Such an id is nine letters and digits, the strictest form that a provider demands (Mistral). It is the same in every
    turn, so that prompt caches keep working.
    """

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._count = 0

    def take(self, wanted: str) -> str:
        if wanted and wanted not in self._used and _USABLE_ID.fullmatch(wanted):
            self._used.add(wanted)
            return wanted
        while True:
            self._count += 1
            made = f"call{self._count:05d}"
            if made not in self._used:
                self._used.add(made)
                return made


class ToolHistory(Generic[M]):
    """The repair for the messages of one form."""

    def __init__(self, form: Form[M]) -> None:
        self._form = form

    def repair(self, messages: list[M]) -> list[M]:
        """Return the same conversation, in which each call is followed by its result, with equal, unique ids.

        Results are looked for between the call and the next assistant message, and paired by id, then by tool name,
        then by order. A call without a result gets a placeholder; a result without a call becomes user text.
        """
        form = self._form
        ids = CallIds()
        repaired: list[M] = []
        position = 0
        while position < len(messages):
            message, start = messages[position], position
            position += 1
            if not form.calls(message):
                repaired.append(message if form.result(message) is None else form.as_user(message))
                continue
            while position < len(messages) and form.calls(messages[position]):
                position += 1
            # Calls that a client sends as separate messages, one after the other, are one parallel turn.
            message = message if position == start + 1 else form.joined(messages[start:position])
            end = position
            while end < len(messages) and not form.is_assistant(messages[end]):
                end += 1
            repaired += self._turn(message, messages[position:end], ids)
            position = end
        return repaired

    def _turn(self, caller: M, following: list[M], ids: CallIds) -> list[M]:
        """Return the calling message, its results in the order of the calls, then all other messages before the next
        answer.
        """
        form = self._form
        others = [message for message in following if form.result(message) is None]
        offered = [(said, message) for message in following if (said := form.result(message)) is not None]
        calls = form.calls(caller)
        paired, orphans = pair(calls, [said for said, _ in offered])
        missing = _RESULT_FOLLOWS if any(map(form.is_user, others)) else _NO_RESULT
        given, answers = [], []
        for index, call in enumerate(calls):
            said, result = offered[paired[index]] if index in paired else (Named("", ""), form.placeholder(missing))
            given.append(ids.take(call.id or said.id))
            answers.append(form.answering(result, Named(given[-1], call.name)))
        return [form.with_ids(caller, given), *answers, *(form.as_user(offered[at][1]) for at in orphans), *others]


def pair(calls: Sequence[Named], results: Sequence[Named]) -> tuple[dict[int, int], list[int]]:
    """Return the place of the result for the places of the calls that have one, and the results without a call.

    By id, then by name, then by order; one result of one call is its result, whatever they say.
    """
    if len(calls) == 1 and len(results) == 1:
        return {0: 0}, []
    paired: dict[int, int] = {}
    left = list(range(len(results)))
    left = _match(paired, [call.id for call in calls], [(results[at].id, at) for at in left])
    left = _match(paired, [call.name for call in calls], [(results[at].name, at) for at in left])
    free = iter([index for index in range(len(calls)) if index not in paired])
    orphans = []
    for at in left:
        index = next(free, None)
        if index is None:
            orphans.append(at)
        else:
            paired[index] = at
    return paired, orphans


def _match(paired: dict[int, int], wanted: list[str], offered: list[tuple[str, int]]) -> list[int]:
    """Pair each offer with the first free call that wants its key. Returns the offers that are left, in order."""
    waiting: dict[str, deque[int]] = {}
    for index, key in enumerate(wanted):
        if key and index not in paired:
            waiting.setdefault(key, deque()).append(index)
    left = []
    for key, at in offered:
        indexes = waiting.get(key)
        if indexes:
            paired[indexes.popleft()] = at
        else:
            left.append(at)
    return left
