"""How many output tokens upstream would have accepted, read from its refusal.

Works on the text alone. Wordings of OpenRouter and of the common inference servers (docs/contract.md, "Failures").
"""

from __future__ import annotations

import re

_N = r"(\d[\d,]{0,14})"
_AFFORD = re.compile(rf"can only afford {_N}", re.I)
_OUTPUT_CEILING = re.compile(
    rf"(?:max_(?:completion_|output_)?tokens\S{{0,2}} \d+ > {_N}|supports at most {_N} (?:completion|output) tokens"
    rf"|less than or equal to {_N}.{{0,60}}max_tokens)",
    re.I,
)
_WINDOW = re.compile(rf"context (?:length|window|size)(?: limit)? (?:is|of) (?:only )?{_N}", re.I)
_TOTAL = re.compile(rf"requested (?:about |a total of |up to )?{_N} tokens", re.I)
_OUTPUT = re.compile(
    rf"{_N} (?:(?:tokens )?(?:in|for|of) the (?:output|completion)|output tokens|completion tokens)", re.I
)
_INPUT = re.compile(rf"{_N} (?:input tokens|prompt tokens|tokens from the input)", re.I)


def smaller_max_tokens(text: str) -> int | None:
    """The largest `max_tokens` that `text` says would pass; None if it says none, or the input alone is too large."""
    afford, ceiling = _number(_AFFORD, text), _number(_OUTPUT_CEILING, text)
    allowed = afford if afford is not None else ceiling
    if allowed is None:
        allowed = _left_of_window(text)
    return allowed if allowed is not None and allowed > 0 else None


def _left_of_window(text: str) -> int | None:
    window, total = _number(_WINDOW, text), _number(_TOTAL, text)
    output, given = _number(_OUTPUT, text), _number(_INPUT, text)
    if given is None and total is not None and output is not None:
        given = total - output
    return window - given if window is not None and given is not None else None


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    digits = next((group for group in match.groups() if group), "") if match else ""
    return int(digits.replace(",", "")) if digits else None
