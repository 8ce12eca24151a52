"""Finds where a JSON text is broken, and says it in the words of Go's scanner.

It runs only after a parser refused the text, and gives up after a fixed number of tokens: a hostile body must not cost
much processor time by a mistake at its far end (docs/contract.md, "Requests").
"""

from __future__ import annotations

import re

from ollama_proxy.gojson.text import quote

_MOST_TOKENS = 50_000
_MOST_ESCAPES = 500_000
_MOST_DEPTH = 10_000

_SPACE = re.compile(r"[ \t\n\r]*+")
# The outer repetition is not possessive: in Python 3.11.2, Debian's, such a group ends inside of what it failed on
# (https://github.com/python/cpython/issues/106052).
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?P<fraction>\.[0-9]++)?(?P<exponent>[eE][+-]?[0-9]++)?")
_EXPONENT_START = re.compile(r"[eE][+-]?")
_HEX = re.compile(r"[0-9a-fA-F]{0,4}")
_LITERALS = {"t": "true", "f": "false", "n": "null"}


class _Broken(Exception):
    """Raised with the text of the first error."""


def syntax_error(text: str) -> str:
    """Return what Go's decoder says of `text`, which a parser refused; "invalid JSON" if no mistake is found soon."""
    if text.count("\\") > _MOST_ESCAPES:
        return "invalid JSON"
    try:
        _scan(text)
    except _Broken as found:
        return str(found)
    return "invalid JSON"


def _refuse(text: str, position: int, where: str) -> _Broken:
    if position >= len(text):
        return _Broken("unexpected EOF")
    byte = text[position].encode("utf-8", "surrogatepass")[0]  # Go scans bytes, and prints one as if it were Latin-1
    return _Broken(f"invalid character {quote(chr(byte), chr(39))} {where}")


def _scan(text: str) -> None:
    """Walk over one value. Raises _Broken at the first error; text behind the value is an error, too.

    `expected` says what may come next.
    """
    position, expected = 0, "value"
    open_containers: list[str] = []
    for _ in range(_MOST_TOKENS):
        position = _space_end(text, position)
        char = text[position : position + 1]
        if expected == "colon":
            if char != ":":
                raise _refuse(text, position, "after object key")
            position, expected = position + 1, "value"
            continue
        if expected == "comma":
            position, expected = _after_element(text, position, open_containers)
        elif char == "]" and expected == "value or ]":
            open_containers.pop()
            position, expected = position + 1, "comma"
        elif expected in ("key", "key or }"):
            if char == "}" and expected == "key or }":
                open_containers.pop()
                position, expected = position + 1, "comma"
            elif char == '"':
                position, expected = _string_end(text, position), "colon"
            else:
                raise _refuse(text, position, "looking for beginning of object key string")
        elif char and char in "{[":
            open_containers.append(char)
            if len(open_containers) > _MOST_DEPTH:
                raise _Broken("exceeded max depth")
            position, expected = position + 1, "key or }" if char == "{" else "value or ]"
        else:
            position, expected = _scalar_end(text, position), "comma"
        if expected == "comma" and not open_containers:
            raise _refuse(text, _space_end(text, position), "after top-level value")


def _space_end(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _after_element(text: str, position: int, open_containers: list[str]) -> tuple[int, str]:
    in_object = open_containers[-1] == "{"
    char = text[position : position + 1]
    if char == ",":
        return position + 1, "key" if in_object else "value"
    if char == ("}" if in_object else "]"):
        open_containers.pop()
        return position + 1, "comma"
    raise _refuse(text, position, "after object key:value pair" if in_object else "after array element")


def _scalar_end(text: str, position: int) -> int:
    char = text[position : position + 1]
    if char == '"':
        return _string_end(text, position)
    if char in _LITERALS:
        return _literal_end(text, position, _LITERALS[char])
    if char and char in "-0123456789":
        return _number_end(text, position)
    raise _refuse(text, position, "looking for beginning of value")


def _literal_end(text: str, position: int, literal: str) -> int:
    for offset, wanted in enumerate(literal):
        if text[position + offset : position + offset + 1] != wanted:
            raise _refuse(text, position + offset, f"in literal {literal} (expecting {quote(wanted, chr(39))})")
    return position + len(literal)


def _string_end(text: str, position: int) -> int:
    match = _STRING.match(text, position)
    end = match.end() if match else position
    char = text[end : end + 1]
    if char == '"':
        return end + 1
    if char != "\\":
        raise _refuse(text, end, "in string literal")
    if text[end + 1 : end + 2] != "u":
        raise _refuse(text, end + 1, "in string escape code")
    digits = _HEX.match(text, end + 2)
    raise _refuse(text, digits.end() if digits else end + 2, "in \\u hexadecimal character escape")


def _number_end(text: str, position: int) -> int:
    match = _NUMBER.match(text, position)
    if not match:
        raise _refuse(text, position + 1, "in numeric literal")
    end = match.end()
    if text[end : end + 1] == "." and not match["fraction"] and not match["exponent"]:
        raise _refuse(text, end + 1, "after decimal point in numeric literal")
    started = _EXPONENT_START.match(text, end)
    if started and not match["exponent"]:
        raise _refuse(text, started.end(), "in exponent of numeric literal")
    return end
