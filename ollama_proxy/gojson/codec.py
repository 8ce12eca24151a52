"""A request body's JSON, read as leniently as Go's decoder reads it, and refused in its words.

Bytes in, plain values out: no fields, no models, no HTTP (docs/contract.md, "Requests").
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.syntax import syntax_error
from ollama_proxy.gojson.text import kind

_HEX = "[0-9a-fA-F]{2}"
_HIGH, _LOW = rf"\\u[dD][89abAB]{_HEX}", rf"\\u[dD][c-fC-F]{_HEX}"
_LONE_HIGH = re.compile(rf"{_HIGH}(?!{_LOW})")
_LONE_LOW = re.compile(rf"(?<!{_HIGH}){_LOW}")
_NUMBER = re.compile(r"[-+.0-9eE]{1,40}")
_TOO_DEEP = "exceeded max depth"

#: Members and elements in a body. Each costs microseconds on its way through; requests have some thousands.
MOST_VALUES = 100_000
#: Commas in a body, those of its texts included: no model's window has so many tokens.
_MOST_COMMAS = 2_000_000


def parse_body(body: bytes) -> Any:
    """The first JSON value in `body`; what follows it is ignored.

    A byte order mark is skipped, bad UTF-8 and lone surrogates become U+FFFD, of duplicate keys the last wins, integers
    over 64 bits become floats (orjson could not write them). Raises BadRequest with Go's text for anything else, and,
    before it parses, for more values than any request needs.
    """
    _check_count(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    text = body.decode("utf-8", "replace").removeprefix("\ufeff").lstrip(" \t\r\n")
    if not text:
        raise BadRequest("missing request body")
    text = _without_lone_surrogates(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as refusal:
        reason, position = str(refusal), refusal.pos
    if "after document" in reason:
        return orjson.loads(text[:position])
    if "depth" in reason:
        raise BadRequest(_TOO_DEEP)
    number = _NUMBER.match(text, position)
    if "infinity" in reason and number:
        raise BadRequest(f"json: cannot unmarshal number {number[0]} into Go value of type float64")
    raise BadRequest(syntax_error(text))


def _check_count(body: bytes) -> None:
    """Raise BadRequest for millions of small values: to read them would keep every other client waiting."""
    commas = body.count(b",")
    if commas > MOST_VALUES and (commas > _MOST_COMMAS or _values(body) > MOST_VALUES):
        raise BadRequest(f"the request body holds more than {MOST_VALUES} values")


def _values(body: bytes) -> int:
    """About how many values a JSON text holds: the commas outside its strings; half its strings, if they are many."""
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    strings = text.count(b'"') // 2
    if strings > 3 * MOST_VALUES:  # a member has at most two: its name and its value
        return strings // 2
    return sum(part.count(b",") for part in text.split(b'"')[::2])


def decode_object(body: bytes, *, struct: str) -> dict[str, Any]:
    """The fields of a JSON object: names in lower case, nulls left out, the later of two equal names wins.

    `struct` is the Go type (of package api) named when the body is no object, such as `ChatRequest`.
    """
    value = parse_body(body)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"json: cannot unmarshal {kind(value)} into Go value of type api.{struct}")
    return {name.lower(): field for name, field in value.items() if field is not None}


def encode_body(value: Any) -> bytes:
    """`value` as compact JSON. Raises BadRequest if it is nested too deep to be written."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise BadRequest(_TOO_DEEP) from None


def encode_part(value: Any) -> bytes:
    """As `encode_body`, for a value that will be sent inside a request: the brackets stand for the levels around it."""
    return encode_body([[[[[[[[value]]]]]]]])[8:-8]


def _without_lone_surrogates(text: str) -> str:
    """The JSON text with U+FFFD for each escaped half of a surrogate pair."""
    if ("\\ud" not in text and "\\uD" not in text) or "\0" in text:
        return text
    # A NUL, which JSON text cannot hold, stands for an escaped backslash: what is left of `\u` are escapes.
    text = text.replace("\\\\", "\0")
    text = _LONE_LOW.sub(r"\\ufffd", _LONE_HIGH.sub(r"\\ufffd", text))
    return text.replace("\0", "\\\\")
