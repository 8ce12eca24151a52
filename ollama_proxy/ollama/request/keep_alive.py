"""`keep_alive`: how long a model stays listed as loaded after a request.

Text and numbers in, seconds out; it knows nothing of models (docs/contract.md, "Requests").
"""

from __future__ import annotations

import re
from typing import Any

from ollama_proxy import limits
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.text import quote

FOREVER = -1.0
_LONGEST = (2**63 - 1) / 1e9  # Go's durations are 64-bit nanoseconds

_PART = re.compile(r"(?P<number>[0-9]*\.?[0-9]*)(?P<unit>[^0-9.]*)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GO_NAMES = {bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}


def read_keep_alive(value: Any) -> float:
    """Return a `keep_alive` in seconds; below zero means forever, zero means unload now.

    A number is seconds, a string is a Go duration (`1h30m`, `-1s`, `0`). `"-1"` without a unit means forever, too:
    Ollama refuses it, but clients send it. Raises BadRequest with Go's text for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRequest(f"Unsupported type: '{_GO_NAMES.get(type(value), '<nil>')}'")
    if value == "-1":
        return FOREVER
    seconds = parse_duration(value) if isinstance(value, str) else float(value)
    return FOREVER if seconds < 0 else min(seconds, _LONGEST)


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration.

    Grammar and error texts are those of time.ParseDuration (https://pkg.go.dev/time#ParseDuration).
    """
    if len(text) > limits.KEEP_ALIVE:
        raise BadRequest(f"time: invalid duration {quote(text)}")
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    invalid = BadRequest(f"time: invalid duration {quote(text)}")
    if not rest:
        raise invalid
    total, position = 0.0, 0
    while position < len(rest):
        part = _PART.match(rest, position)
        number = part["number"] if part else ""
        if part is None or number in ("", "."):
            raise invalid
        unit = part["unit"]
        if not unit:
            raise BadRequest(f"time: missing unit in duration {quote(text)}")
        if unit not in _SECONDS:
            raise BadRequest(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        total += float(number) * _SECONDS[unit]
        position = part.end()
    if total > _LONGEST:
        raise invalid
    return -total if text.startswith("-") else total
