"""Ollama's `options`: the types of all known ones, and the translation of those that OpenRouter supports.

Plain dicts in and out (docs/contract.md, "Requests").
"""

from __future__ import annotations

from typing import Any

from ollama_proxy import limits
from ollama_proxy.errors import BadRequest

_INTEGERS = frozenset(
    {
        "num_keep",
        "seed",
        "num_predict",
        "top_k",
        "repeat_last_n",
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "draft_num_predict",
    }
)
_FLOATS = frozenset(
    {"top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"}
)
_MOST_STOPS = 4
_MOST_INT = 2**63 - 1

# OpenRouter's ranges (https://openrouter.ai/docs/api-reference/parameters): Ollama's name, OpenRouter's, least, most.
_RANGES = (
    ("temperature", "temperature", 0.0, 2.0),
    ("top_p", "top_p", 0.0, 1.0),
    ("min_p", "min_p", 0.0, 1.0),
    ("presence_penalty", "presence_penalty", -2.0, 2.0),
    ("frequency_penalty", "frequency_penalty", -2.0, 2.0),
    ("repeat_penalty", "repetition_penalty", 0.0, 2.0),
)
_MORE_THAN_ZERO = frozenset({"top_p", "repeat_penalty"})


def check_options(options: dict[str, Any]) -> None:
    """Raise BadRequest with Ollama's text for the first option of a wrong type; nulls and unknown names pass.

    An integer may be any JSON number. `stop` may be a single string: Ollama refuses it, but clients send it.
    """
    for name, value in options.items():
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _INTEGERS and not number:
            raise BadRequest(f'option "{name}" must be of type integer')
        if name in _FLOATS and not number:
            raise BadRequest(f'option "{name}" must be of type float32')
        if name == "use_mmap" and not isinstance(value, bool):
            raise BadRequest('option "use_mmap" must be of type boolean')
        if name == "stop" and not isinstance(value, str):
            if not isinstance(value, list):
                raise BadRequest('option "stop" must be of type array')
            limits.check_count(len(value), limits.STOPS, "stop strings")
            if not all(isinstance(item, str) for item in value):
                raise BadRequest('option "stop" must be of an array of strings')


def sampling(options: dict[str, Any]) -> dict[str, Any]:
    """Return OpenRouter's parameters for checked options: only what the client set, cut to OpenRouter's ranges.

    A value out of range is left out where no value in range means nearly the same: `num_predict` and `top_k` below 1, a
    negative `seed`, `top_p` and `repeat_penalty` of 0. Of more than four stop strings the first four are kept.
    """
    params: dict[str, Any] = {}
    for name, upstream, least, most in _RANGES:
        value = options.get(name)
        if value is None or (name in _MORE_THAN_ZERO and value <= 0):
            continue
        params[upstream] = min(max(value, least), most)
    for name, upstream, least in (("num_predict", "max_tokens", 1), ("top_k", "top_k", 1), ("seed", "seed", 0)):
        value = options.get(name)
        if value is not None and int(value) >= least:
            params[upstream] = min(int(value), _MOST_INT)
    stop = options.get("stop")
    stops = [stop] if isinstance(stop, str) else stop or []
    stops = [text for text in stops if text][:_MOST_STOPS]
    if stops:
        params["stop"] = stops
    return params
