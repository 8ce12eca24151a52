"""The parameters of a Modelfile: their names and types, and how their values are written as text.

The names are those of Ollama's options. Pure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from ollama_proxy.gojson.text import quote
from ollama_proxy.modelfile.modelfile import ModelfileError

INTEGERS = frozenset(
    [
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "draft_num_predict",
        "num_keep",
        "seed",
        "num_predict",
        "top_k",
        "repeat_last_n",
    ]
)
FLOATS = frozenset(
    ["top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"]
)
_BOOLEANS = frozenset({"use_mmap"})
_LISTS = frozenset({"stop"})
KNOWN = INTEGERS | FLOATS | _BOOLEANS | _LISTS

#: Names that older Modelfiles have: they are dropped, with a warning.
DEPRECATED = frozenset(
    [
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
    ]
)

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,4})?")
_BOOLEAN = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)
#: How wide the names are in the field `parameters` of /api/show.
_WIDTH = 30


def parameter_value(name: str, text: str) -> Any:
    """Return the value of `PARAMETER name text`: a number, a boolean, or a list of one text.

    Raises ModelfileError for an unknown name or a value of another type.
    """
    if name in _LISTS:
        return [text]
    if name in INTEGERS:
        if _INTEGER.fullmatch(text) is None or not -(2**63) <= int(text) < 2**63:
            raise ModelfileError(f"invalid int value [{text}]")
        return int(text)
    if name in FLOATS:
        value = float(text) if _FLOAT.fullmatch(text) else math.inf
        if math.isinf(value):
            raise ModelfileError(f"invalid float value [{text}]")
        return plain(value)
    if name in _BOOLEANS:
        if text not in _BOOLEAN:
            raise ModelfileError(f"invalid bool value [{text}]")
        return _BOOLEAN[text]
    raise ModelfileError(f"unknown parameter {quote(name, chr(39))}")


def plain(value: Any) -> Any:
    """Return `value`, a whole number as an integer: JSON and Modelfiles do not tell 1 and 1.0 apart."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def parameter_texts(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names and values of the PARAMETER commands for `parameters`, sorted by name.

    What a Modelfile cannot say is left out: names that it does not know, and values of another type.
    """
    for name in sorted(KNOWN & parameters.keys()):
        value = plain(parameters[name])
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _LISTS:
            texts = [value] if isinstance(value, str) else value
            if isinstance(texts, list):
                yield from ((name, text) for text in texts if isinstance(text, str))
        elif name in INTEGERS and isinstance(value, int) and is_number:
            yield name, str(value)
        elif name in FLOATS and is_number:
            yield name, repr(value)
        elif name in _BOOLEANS and isinstance(value, bool):
            yield name, _go(value)


def shown(parameters: Mapping[str, Any]) -> str:
    """The field `parameters` of /api/show: a line for each value, those of a list one by one, sorted by name."""
    lines = []
    for name in sorted(parameters):
        value = plain(parameters[name])
        for item in value if isinstance(value, list) else [value]:
            # Programs read num_ctx with parseInt, which makes 1 of Go's `1e+06`: whole numbers stay as they are there.
            whole = name in INTEGERS and isinstance(item, int) and not isinstance(item, bool)
            lines.append(f"{name:<{_WIDTH}} {item if whole else _go(item)}")
    return "\n".join(lines)


def _go(value: Any) -> str:
    """A value of JSON as Go's %#v prints it, but texts with JSON's escapes: Continue parses stop strings as JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    if value is None:
        return "<nil>"
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _number(value: float) -> str:
    """A number as Go prints a float64: the fewest digits that mean it, from a million on with an exponent.

    Source: https://pkg.go.dev/fmt, which prints it as %g, and `fmt.Println(1000000.0)`: `1e+06`.
    """
    number = Decimal(repr(float(value))).normalize()
    exponent = number.adjusted()
    if not number or -4 <= exponent < 6:
        return f"{number:f}"
    digits = "".join(map(str, number.as_tuple().digits))
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{'-' if value < 0 else ''}{digits[0]}{fraction}e{exponent:+03d}"
