"""OpenRouter's ranges of the sampling parameters, for all APIs: what is out of range is cut, or left out.

Pure: parameters under OpenRouter's names in and out (docs/contract.md, "Requests";
https://openrouter.ai/docs/api-reference/parameters).
"""

from __future__ import annotations

from typing import Any

from ollama_proxy import limits

#: Of more stop strings OpenRouter refuses the request; the answer is cut here at all of them.
MOST_STOPS = 4

_MOST_INT = 2**63 - 1

#: The least and the most of the numbers that may have a fraction.
_RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "top_a": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "repetition_penalty": (0.0, 2.0),
}
_MORE_THAN_ZERO = frozenset({"top_p", "repetition_penalty"})

#: The least of whole numbers; a smaller one means the default.
_LEAST = {"max_tokens": 1, "max_completion_tokens": 1, "max_output_tokens": 1, "top_k": 1, "seed": 0}
_MOST_TOP_LOGPROBS = 20

#: All parameters that `put_in_range` looks at.
RANGED = frozenset({*_RANGES, *_LEAST, "top_logprobs"})


def in_range(name: str, value: float) -> float | None:
    """Return the number as OpenRouter takes it, None where no number in range means nearly the same.

    That is `max_tokens` and `top_k` below 1, a negative `seed`, `top_p` and `repetition_penalty` of 0.
    """
    if name in _RANGES:
        least, most = _RANGES[name]
        return None if name in _MORE_THAN_ZERO and value <= 0 else min(max(value, least), most)
    if name == "top_logprobs":
        return min(max(int(value), 0), _MOST_TOP_LOGPROBS)
    return min(int(value), _MOST_INT) if value >= _LEAST[name] else None


def put_in_range(body: dict[str, Any]) -> None:
    """Cut the numbers of a body that is passed through to OpenRouter's ranges; what is no number stays as it is."""
    for name in RANGED & body.keys():
        value = body[name]
        if type(value) is int or type(value) is float:
            kept = in_range(name, value)
            if kept is None:
                del body[name]
            elif kept != value or type(kept) is not type(value):
                body[name] = kept if name in _RANGES else int(kept)


def stops_of(value: Any) -> list[str]:
    """Return the stop strings in a `stop` that is a string or a list: no empty ones, and nothing that is no string.

    Raises BadRequest for more of them than any request has.
    """
    if not value:
        return []
    given = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    stops = [text for text in given if isinstance(text, str) and text]
    limits.check_count(len(stops), limits.STOPS, "stop strings")
    limits.check_count(sum(map(len, stops)), limits.STOP_CHARACTERS, "characters in stop strings")
    return stops
