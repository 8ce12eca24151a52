"""Joins the fragments of a stream's tool calls into complete calls in Ollama's form.

Pure; knows OpenRouter's fragments and Ollama's calls, and nothing of lines (docs/contract.md, "Tools").
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_MAX_DEPTH = 200
_ID_CHARACTERS = string.ascii_lowercase + string.digits


class BrokenToolCall(ValueError):
    """A call that no client could execute. The message says why and repeats nothing of the call."""


def new_call_id() -> str:
    """Return an id like Ollama's: `call_` and eight characters of a-z and 0-9."""
    return "call_" + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(8))


@dataclass(slots=True)
class _Call:
    key: object  # upstream's index
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    whole_arguments: dict[str, Any] | None = None  # some upstreams send an object instead of its JSON


class ToolCallAssembler:
    """Collects the fragments of an answer's tool calls.

    `add` takes the `tool_calls` of one delta, `finished` returns the calls that are complete because a later one began,
    `rest` all others. Each call is returned once, in the order in which they began. They are numbered 0, 1, 2, ...
    whatever upstream's indexes are, and each id is unique in this answer.
    """

    def __init__(self, tool_names: Mapping[str, str]) -> None:
        self._tool_names = tool_names
        self._open: list[_Call] = []
        self._returned = 0
        self._ids: set[str] = set()
        self._begun = False

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, fragments: Any) -> None:
        """Take the fragments of one delta; items that are not objects are ignored."""
        if not isinstance(fragments, list):
            return
        for fragment in fragments:
            if isinstance(fragment, dict):
                self._add(fragment)

    def finished(self) -> list[dict[str, Any]]:
        """Return the calls that are followed by another one and whose arguments are a whole object.

        A call whose arguments are still empty waits, because the fragments of parallel calls may alternate.
        """
        if not self._begun:
            return []
        self._begun = False
        calls = []
        while len(self._open) > 1:
            first = self._open[0]
            if not first.whole_arguments and not "".join(first.arguments).strip():
                break
            try:
                calls.append(self._as_ollama(first))
            except BrokenToolCall:
                break
            del self._open[0]
        return calls

    def rest(self) -> list[dict[str, Any]]:
        """Return the calls not yet returned; call it at the end of the answer.

        Raises `BrokenToolCall` for a call without a name, or with arguments that are not a JSON object.
        """
        calls = [self._as_ollama(call) for call in self._open]
        self._open.clear()
        return calls

    def _add(self, fragment: Mapping[str, Any]) -> None:
        function = fragment.get("function")
        function = function if isinstance(function, dict) else {}
        call_id, name = _text(fragment.get("id")), _text(function.get("name"))
        arguments = function.get("arguments")
        call = self._call(fragment.get("index"), call_id, name)
        if call is None:
            if not (call_id or name or arguments):
                return  # an empty fragment after a call that was already returned
            call = _Call(fragment.get("index"))
            self._open.append(call)
            self._begun = True
        call.id = call.id or call_id
        call.name = call.name or name
        if isinstance(arguments, str):
            call.arguments.append(arguments)
        elif isinstance(arguments, dict):
            call.whole_arguments = arguments

    def _call(self, key: object, call_id: str, name: str) -> _Call | None:
        """Return the call that a fragment continues, or None if it begins one.

        The index decides. But some upstreams number every call 0, or send no index: then another id together with a
        name begins another call. Another id alone does not, because some upstreams make a new id for each fragment.
        """
        for call in reversed(self._open):
            if key is None or call.key == key:
                is_another = name and call.name and call_id and call.id and call_id != call.id
                return None if is_another else call
        return None

    def _as_ollama(self, call: _Call) -> dict[str, Any]:
        if not call.name:
            raise BrokenToolCall("the model sent a tool call without a name")
        arguments = call.whole_arguments
        if arguments is None:
            arguments = _arguments("".join(call.arguments))
        call_id = call.id if call.id and call.id not in self._ids else new_call_id()
        self._ids.add(call_id)
        name = self._tool_names.get(call.name, call.name)
        index, self._returned = self._returned, self._returned + 1
        return {"id": call_id, "function": {"index": index, "name": name, "arguments": arguments}}


def _arguments(text: str) -> dict[str, Any]:
    """Return the arguments as an object: `{}` for an empty text or null.

    Two things are repaired: raw control characters inside strings, and an object that was encoded as JSON twice.
    Anything else, such as a text that ends in the middle, raises `BrokenToolCall`: guessing an argument is worse than
    failing.
    """
    if not text.strip():
        return {}
    try:
        value = _loads(text)
        if isinstance(value, str):
            value = _loads(value)
    except (ValueError, RecursionError) as error:
        raise BrokenToolCall("the model sent a tool call whose arguments are not valid JSON") from error
    if value is None:
        return {}
    if not isinstance(value, dict) or _is_too_deep(value):
        raise BrokenToolCall("the model sent a tool call whose arguments are not a usable JSON object")
    return value


def _is_too_deep(value: Any) -> bool:
    """Return True if a value is nested deeper than JSON writers can safely handle."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _loads(text: str) -> Any:
    return json.loads(text, strict=False, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
