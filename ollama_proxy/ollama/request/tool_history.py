"""Repairs the tool turns of a conversation, so that every provider accepts it.

Upstream, each call needs an id of its own and exactly one result, directly after the calling message. Most Ollama
clients keep no ids, some keep them only in calls or only in results, some send results as user text (docs/contract.md,
"Tools"). Messages in, messages out; knows no JSON.
"""

from __future__ import annotations

import re
from collections import deque

from ollama_proxy.ollama.request.messages import Message, ToolCall

_USABLE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESULT_FOLLOWS = "(the result is in the next message)"
_NO_RESULT = "(no result was recorded)"


class _Ids:
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


def repair(messages: list[Message]) -> list[Message]:
    """Return the same conversation, in which each call is followed by its result, with equal, unique ids.

    Results are looked for between the call and the next assistant message, and paired by id, then by tool name, then by
    order. A call without a result gets a placeholder; a result without a call becomes user text.
    """
    if not any(message.calls or message.role == "tool" for message in messages):
        return messages
    ids = _Ids()
    repaired: list[Message] = []
    position = 0
    while position < len(messages):
        message, start = messages[position], position
        position += 1
        if not message.calls:
            repaired.append(_as_user(message) if message.role == "tool" else message)
            continue
        while position < len(messages) and messages[position].calls:
            position += 1
        message = _joined(messages[start:position])
        end = position
        while end < len(messages) and messages[end].role != "assistant":
            end += 1
        repaired += _turn(message, messages[position:end], ids)
        position = end
    return repaired


def _joined(callers: list[Message]) -> Message:
    """Join calls that a client sends as separate messages, one after the other, into one parallel turn."""
    if len(callers) == 1:
        return callers[0]
    return callers[0]._replace(
        text="\n".join(caller.text for caller in callers if caller.text),
        thinking="\n".join(caller.thinking for caller in callers if caller.thinking),
        calls=tuple(call for caller in callers for call in caller.calls),
    )


def _turn(caller: Message, following: list[Message], ids: _Ids) -> list[Message]:
    """Return the calling message, its results in the order of the calls, then all other messages before the next
    answer.
    """
    results = [message for message in following if message.role == "tool"]
    others = [message for message in following if message.role != "tool"]
    paired, orphans = _pair(caller.calls, results)
    missing = _RESULT_FOLLOWS if any(message.role == "user" for message in others) else _NO_RESULT
    calls, answers = [], []
    for index, call in enumerate(caller.calls):
        result = paired.get(index) or Message("tool", missing)
        call_id = ids.take(call.id or result.tool_call_id)
        calls.append(ToolCall(call_id, call.name, call.arguments))
        answers.append(Message("tool", result.text, result.images, tool_name=call.name, tool_call_id=call_id))
    answered = Message(caller.role, caller.text, caller.images, tuple(calls), caller.thinking)
    return [answered, *answers, *map(_as_user, orphans), *others]


def _pair(calls: tuple[ToolCall, ...], results: list[Message]) -> tuple[dict[int, Message], list[Message]]:
    """Return the results by the index of their call, and the results without a call."""
    if len(calls) == 1 and len(results) == 1:
        return {0: results[0]}, []
    paired: dict[int, Message] = {}
    results = _match(paired, [call.id for call in calls], [(message.tool_call_id, message) for message in results])
    results = _match(paired, [call.name for call in calls], [(message.tool_name, message) for message in results])
    free = iter([index for index in range(len(calls)) if index not in paired])
    orphans = []
    for message in results:
        index = next(free, None)
        if index is None:
            orphans.append(message)
        else:
            paired[index] = message
    return paired, orphans


def _match(paired: dict[int, Message], wanted: list[str], offered: list[tuple[str, Message]]) -> list[Message]:
    """Pair each offer with the first free call that wants its key. Returns the offers that are left, in order."""
    waiting: dict[str, deque[int]] = {}
    for index, key in enumerate(wanted):
        if key and index not in paired:
            waiting.setdefault(key, deque()).append(index)
    left = []
    for key, message in offered:
        indexes = waiting.get(key)
        if indexes:
            paired[indexes.popleft()] = message
        else:
            left.append(message)
    return left


def _as_user(result: Message) -> Message:
    name = f" of {result.tool_name}" if result.tool_name else ""
    return Message("user", f"Tool result{name}:\n{result.text}", result.images)
