"""Reads the JSON of a request body as tolerantly as Go's decoder, and refuses it in Go's words.

Bytes in, plain values out: no fields, no models, no HTTP (docs/contract.md, "Requests").
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from ollama_proxy import limits
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.syntax import syntax_error
from ollama_proxy.gojson.text import kind

_HEX = "[0-9a-fA-F]{2}"
_HIGH, _LOW = rf"\\u[dD][89abAB]{_HEX}", rf"\\u[dD][c-fC-F]{_HEX}"
_LONE_HIGH = re.compile(rf"{_HIGH}(?!{_LOW})")
_LONE_LOW = re.compile(rf"(?<!{_HIGH}){_LOW}")
_NUMBER = re.compile(r"[-+.0-9eE]{1,40}")
_TOO_DEEP = "exceeded max depth"
_INVALID = "invalid JSON"
_MOST_DEPTH = 1024  # orjson's


def parse_body(body: bytes) -> Any:
    """Parse the first JSON value in `body`; what follows it is ignored.

    A byte order mark is skipped; bad UTF-8 and lone surrogates become U+FFFD; of duplicate keys the last wins; integers
    over 64 bits become floats (orjson could not write them). Raises BadRequest with Go's text for anything else, and
    before parsing if the body has more values than any request needs.
    """
    _check_size(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    text = body.decode("utf-8", "replace").removeprefix("\ufeff").lstrip(" \t\r\n")
    if not text:
        raise BadRequest("missing request body")
    if text.count("\\") > limits.ESCAPES:
        raise BadRequest(_INVALID)
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
        raise BadRequest(
            f"json: cannot unmarshal number {number[0]} into Go value of type float64",
            reason="json: a number that is too large",
        )
    raise BadRequest(syntax_error(text))


def _check_size(body: bytes) -> None:
    """Raise BadRequest for millions of small values: to read them would keep every other client waiting."""
    if len(body) < 2 * limits.CONTAINERS:
        return  # a value takes two bytes at least: most bodies need no counting
    commas, containers = body.count(b","), body.count(b"{") + body.count(b"[")
    if commas <= limits.VALUES and containers <= limits.CONTAINERS:
        return  # those in texts included
    if commas > limits.COMMAS:
        raise _too_many(limits.VALUES, "values")
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    strings = text.count(b'"') // 2
    if strings > 3 * limits.VALUES:  # a member has at most two: its name and its value
        raise _too_many(limits.VALUES, "values")
    outside = b"".join(text.split(b'"')[::2])
    commas, containers = outside.count(b","), outside.count(b"{") + outside.count(b"[")
    if commas > limits.VALUES:
        raise _too_many(limits.VALUES, "values")
    if containers > limits.CONTAINERS and containers <= (commas + 1) * _MOST_DEPTH:
        raise _too_many(limits.CONTAINERS, "objects and lists")  # else the parser finds it too deep


def _too_many(most: int, what: str) -> BadRequest:
    return BadRequest(f"the request body holds more than {most} {what}")


def decode_object(body: bytes, *, struct: str) -> dict[str, Any]:
    """Return the fields of a JSON object: names in lower case, nulls left out, the later of two equal names wins.

    `struct` is the Go type (of package api) that an error names when the body is not an object, such as `ChatRequest`.
    """
    value = parse_body(body)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"json: cannot unmarshal {kind(value)} into Go value of type api.{struct}")
    return {name.lower(): field for name, field in value.items() if field is not None}


def encode_body(value: Any) -> bytes:
    """Return `value` as compact JSON. Raises BadRequest if it is nested too deep to be written."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise BadRequest(_TOO_DEEP) from None


def encode_part(value: Any) -> bytes:
    """Do the same as `encode_body`, for a value inside a request: the brackets stand for the levels around it."""
    return encode_body([[[[[[[[value]]]]]]]])[8:-8]


def _without_lone_surrogates(text: str) -> str:
    """Return the JSON text with U+FFFD in place of each escaped half of a surrogate pair that stands alone."""
    if ("\\ud" not in text and "\\uD" not in text) or "\0" in text:
        return text
    # A NUL, which cannot be in JSON text, takes the place of an escaped backslash: then every `\u` left is an escape.
    text = text.replace("\\\\", "\0")
    text = _LONE_LOW.sub(r"\\ufffd", _LONE_HIGH.sub(r"\\ufffd", text))
    return text.replace("\0", "\\\\")
