"""What a field can be stuffed with: JSON texts of about a given size, and how they get into a body.

A body is stuffed at every place that it has, and at one that nobody knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any


def _list(item: str, size: int) -> str:
    return "[" + ",".join([item] * (size // (len(item) + 1))) + "]"


def _numbered(pattern: str, size: int) -> str:
    """A list of items that differ by a number, for which `%d` stands."""
    items = (pattern.replace("%d", f"{number:08d}") for number in range(size // (len(pattern) + 8)))
    return "[" + ",".join(items) + "]"


#: Texts of which a string is made: what somebody here looks for, splits at, or replaces.
TEXTS = ("a", ":", "/", "a:", "a/", "-", " ", ".", "=", "_", "{{", "{{}}", "1m", "1h", "A===", "é", "😀", "{", "[", ";")
TEXTS += ("a, ", "http://", "data:;base64,", "<think>")
#: The same as JSON escapes.
ESCAPES = (r"\n", r"\\", r"\"", r"\t ", r"\u0000", r"\u2028", r"\udc00", r"\ud800", r"\ud800\\", r"\ud83d\ude00")
ITEMS = (
    "0",
    "null",
    "true",
    "1e999",
    '""',
    '"a"',
    '"a,b"',
    r'"\\"',
    r'"\udc00"',
    "[]",
    "[0]",
    "[[]]",
    "{}",
    '{"type":[]}',
)

STUFFING: dict[str, Callable[[int], str]] = {
    **{f"a string of {text!r}": lambda size, text=text: '"' + text * (size // len(text)) + '"' for text in TEXTS},
    **{f"a string of {text}": lambda size, text=text: '"' + text * (size // len(text)) + '"' for text in ESCAPES},
    **{f"many times {item}": lambda size, item=item: _list(item, size) for item in ITEMS},
    "many texts": lambda size: _numbered('"text %d"', size),
    "many members": lambda size: "{" + ",".join(f'"k{number}":0' for number in range(size // 10)) + "}",
    "many equal members": lambda size: "{" + ",".join(['"k":0'] * (size // 6)) + "}",
    "a member of a long name": lambda size: '{"' + "k" * size + '":0}',
    "a member of a long escaped name": lambda size: '{"' + r"\ud800" * (size // 6) + '":0}',
    "a number of many digits": lambda size: "1" * size,
    "a float of many digits": lambda size: "0." + "1" * size,
    "nested lists": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "nested objects": lambda size: '{"a":' * (size // 6) + "1" + "}" * (size // 6),
    "lists as deep as parsers allow": lambda size: _list("[" * 1000 + "]" * 1000, size),
    "choices as deep as parsers allow": lambda size: '{"type":"allowed_tools","tools":[' * 500 + "]}" * 500,
    "contents as deep as parsers allow": lambda size: '{"type":"text","content":[' * 500 + "]}" * 500,
    "an open list": lambda size: "[" * size,
    "a broken string": lambda size: '"' + "a" * size,
}

#: Items of lists that mean something: calls and ids that have to be told apart, paired, replaced.
NUMBERED = {
    "ids": '{"role":"assistant","tool_calls":[{"id":"call %d","function":{"name":"f","arguments":{}}}]}',
    "mistral's ids beside others": '{"role":"assistant","tool_calls":[{"id":"m%d","function":{"name":"f"}},'
    '{"id":"call-%d","function":{"name":"f"}}]}',
    "names to be replaced": '{"role":"assistant","tool_calls":[{"function":{"name":"a b %d","arguments":{}}}]}',
    "results without a call": '{"role":"tool","content":"a","tool_call_id":"c%d"}',
    "turns": '{"role":"user","content":"text %d"}',
    "images": '{"role":"user","content":"text %d","images":["iVBORw0KGgo="]}',
    "messages with parts": '{"role":"user","content":[{"type":"text","text":"%d"},{"type":"text","text":"b"}]}',
    "uses": '{"role":"assistant","content":[{"type":"tool_use","id":"%d","name":"f","input":{"a":1}}]}',
    "tools": '{"type":"function","function":{"name":"tool %d","parameters":{"type":"object"}}}',
    "flat tools": '{"type":"function","name":"tool %d","parameters":{"type":"object"}}',
    "unknown tools": '{"type":"odd %d","name":"a"}',
    "calls": '{"id":"call %d","type":"function","function":{"name":"f g","arguments":{}}}',
    "calls with mistral's ids": '{"id":"m%d","type":"function","function":{"name":"f g","arguments":{}}},'
    '{"id":"call-%d","type":"function","function":{"name":"f"}}',
    "calls of many names": '{"id":"m1","type":"function","function":{"name":"f %d","arguments":"{}"}}',
}
STUFFING |= {f"many {name}": lambda size, item=item: _numbered(item, size) for name, item in NUMBERED.items()}

_MARK = "\x00stuffed\x00"


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a body, and of one member beside them that is unknown."""
    if path:
        yield path
    if isinstance(body, dict):
        for name, value in body.items():
            yield from places(value, (*path, name))
        yield (*path, "unknown")
    elif isinstance(body, list):
        for index, value in enumerate(body):
            yield from places(value, (*path, index))


def stuffed(body: Any, path: tuple[Any, ...], stuffing: str) -> bytes:
    """The body as JSON with the JSON text `stuffing` in place of the value at `path`."""
    copy = json.loads(json.dumps(body))
    at = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = _MARK
    return json.dumps(copy).replace(json.dumps(_MARK), stuffing).encode()


def place_takes(body: Any, path: tuple[Any, ...], stuffing: str) -> bool:
    """False for strings of all kinds where none is taken: one kind is enough to see that it is refused."""
    value = body
    for step in path:
        value = value.get(step, "") if isinstance(value, dict) else value[step]
    return isinstance(value, str) or stuffing[0] != '"' or stuffing[1:3] == "aa"
