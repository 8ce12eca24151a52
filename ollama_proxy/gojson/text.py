"""Go's error texts for a wrong value, exactly as Ollama's clients know them.

Texts only: this module knows neither requests nor schemas (docs/contract.md, "Errors").
"""

from __future__ import annotations

from typing import Any

from ollama_proxy.errors import BadRequest

_NAMED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}
_LONGEST_QUOTE = 200


def quote(text: str, mark: str = '"', *, longest: int = _LONGEST_QUOTE) -> str:
    """Return `text` as Go's %q prints it; a long one is cut, so that an error never repeats a whole body."""
    if len(text) > longest:
        text = text[:longest] + "..."
    return mark + "".join(_escaped(char, mark) for char in text) + mark


def _escaped(char: str, mark: str) -> str:
    if char == mark:
        return "\\" + mark
    if char in _NAMED:
        return _NAMED[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def kind(value: Any) -> str:
    """Return the JSON type of a parsed value, in the words of Go's decoder."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "null" if value is None else "object"


def wrong_type(value: Any, path: str, go_type: str) -> BadRequest:
    """Return the error for a field of a wrong type.

    `path` is the Go struct and the dotted JSON path, such as `ChatRequest.messages.content`.
    """
    into = f"into Go struct field {path} of type {go_type}"
    reason = f"json: cannot unmarshal {kind(value)} {into}"
    if go_type == "int" and isinstance(value, float):
        return BadRequest(f"json: cannot unmarshal number {value!r} {into}", reason=reason)
    return BadRequest(reason)
