"""A request body's JSON, read as leniently as Go's decoder reads it, and refused in its words.

Bytes in, plain values out: no fields, no models, no HTTP (docs/contract.md, "Requests").
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import orjson

from ..errors import BadRequest
from .go_text import kind
from .json_syntax import syntax_error

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_TOO_DEEP = "exceeded max depth"
_LONGEST_INT = 18  # digits that surely fit 64 bits, sign included


def parse(body: bytes) -> Any:
    """The first JSON value in `body`; what follows it is ignored.

    A byte order mark is skipped, bad UTF-8 and lone surrogates become U+FFFD, of duplicate keys the last wins, integers
    over 64 bits become floats (orjson could not write them). Raises BadRequest with Go's text for anything else.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    text = body.decode("utf-8", "replace").removeprefix("\ufeff").lstrip(" \t\r\n")
    if not text:
        raise BadRequest("missing request body")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as refusal:
        if "depth" in str(refusal):
            raise BadRequest(_TOO_DEEP) from None
        if "after document" in str(refusal):
            text = text[: refusal.pos]
        elif "surrogate" not in str(refusal):
            # Python's parser is slow, and would only refuse it as well: say at once what is wrong, if something is.
            broken = syntax_error(text)
            if broken:
                raise BadRequest(broken) from None
    return _parse_slowly(text)


def decode(body: bytes, *, struct: str) -> dict[str, Any]:
    """The fields of a JSON object: names in lower case, nulls left out, the later of two equal names wins.

    `struct` is the Go type named when the body is no object: `ChatRequest` (of package api) or `openai.Request`.
    """
    value = parse(body)
    if value is None:
        return {}
    if not isinstance(value, dict):
        go_type = struct if "." in struct else f"api.{struct}"
        raise BadRequest(f"json: cannot unmarshal {kind(value)} into Go value of type {go_type}")
    return {name.lower(): field for name, field in value.items() if field is not None}


def encode(value: Any) -> bytes:
    """`value` as compact JSON; raises BadRequest if it is nested deeper than can be sent on.

    The brackets around it stand for the levels of the request that it will be put into.
    """
    try:
        return orjson.dumps([[[[value]]]])[4:-4]
    except TypeError:
        raise BadRequest(_TOO_DEEP) from None


def _parse_slowly(text: str) -> Any:
    """What only the fast parser refuses: lone surrogates, infinite numbers, something behind the value."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        value, _ = _DECODER.raw_decode(text)
        return _without_surrogates(value) if "\\ud" in text or "\\uD" in text else value
    except RecursionError:
        raise BadRequest(_TOO_DEEP) from None
    except ValueError:
        raise BadRequest(syntax_error(text) or "invalid JSON") from None


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_LONE_SURROGATE.sub("\ufffd", key): _without_surrogates(item) for key, item in value.items()}
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise BadRequest(f"json: cannot unmarshal number {digits[:40]} into Go value of type float64")
    return value


def _int(digits: str) -> int | float:
    if len(digits) <= _LONGEST_INT:
        return int(digits)
    value = _float(digits)
    return int(digits) if -(2.0**63) < value < 2.0**63 else value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


_DECODER = json.JSONDecoder(parse_float=_float, parse_int=_int, parse_constant=_refuse_constant)
