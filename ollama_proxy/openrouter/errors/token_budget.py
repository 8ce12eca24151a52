"""How many tokens upstream would have accepted, and how many the prompt has, read from its refusal.

Works on the text alone. Wordings of OpenRouter and of the common inference servers (docs/contract.md, "Failures").
"""

from __future__ import annotations

import re

from ollama_proxy.openrouter.errors.failure import Overflow

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
_ALLOWED = re.compile(rf"number of tokens allowed \(?{_N}", re.I)
_RESULT = re.compile(rf"(?:resulted in|total of at least) {_N} tokens", re.I)

# Texts that name both numbers next to each other: Anthropic and OpenRouter, Google, Mistral, llama.cpp, TEI.
_GIVEN, _MOST = r"(?P<given>\d[\d,]{0,14})", r"(?P<most>\d[\d,]{0,14})"
_BOTH = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"(?:too long|tokens limit exceeded): {_GIVEN}(?: tokens)? > {_MOST}",
        rf"token count \(?{_GIVEN}\)? exceeds .{{0,60}}?\b{_MOST}",
        rf"\b(?:contains|length) {_GIVEN}(?: tokens)?,? .{{0,30}}?(?:exceeds|too large for) .{{0,60}}?\b{_MOST}",
        rf"\({_GIVEN} tokens\) .{{0,20}}?(?:longer than|exceeds) .{{0,60}}?\({_MOST}",
        rf"less than {_MOST} tokens\.? given:? {_GIVEN}",
    )
)
_TOO_LONG = re.compile(
    r"(?:prompt|input|messages?)\b.{0,20}too (?:long|large)|too many (?:input )?tokens|input token count"
    r"|context[ _](?:length|window|limit|size).{0,30}(?:exceed|too (?:long|large|small))"
    r"|exceed\w* .{0,40}context|maximum context|longer than the (?:\S+ ){0,2}context",
    re.I,
)
_ABOUT_OUTPUT = re.compile(r"max(?:imum)?[_ ](?:completion[_ ]|output[_ ])?tokens", re.I)


def overflow(text: str, *, is_said: bool = False) -> Overflow | None:
    """The tokens of a prompt that is too long and those that fit, as far as `text` names them.

    None if `text` is about something else, such as the length of the answer. `is_said`: it is known by other marks that
    the prompt is too long.
    """
    for pattern in _BOTH:
        if match := pattern.search(text):
            return _overflow(_digits(match["given"]), _digits(match["most"]))
    given = next((n for pattern in (_TOTAL, _RESULT, _INPUT) if (n := _number(pattern, text)) is not None), None)
    most = next((n for pattern in (_WINDOW, _ALLOWED) if (n := _number(pattern, text)) is not None), None)
    if given is not None and most is not None:
        return _overflow(given, most)
    if is_said or (_TOO_LONG.search(text) and not _ABOUT_OUTPUT.search(text)):
        return Overflow(given, most)
    return None


def _overflow(given: int, most: int) -> Overflow | None:
    return Overflow(given, most) if given > most > 0 else None


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
    return _digits(digits) if digits else None


def _digits(text: str) -> int:
    return int(text.replace(",", ""))
