"""Ollama's `options`: the types of all known ones, and the translation of those that OpenRouter supports.

Plain dicts in and out (docs/contract.md, "Requests").
"""

from __future__ import annotations

from typing import Any

from ollama_proxy import limits
from ollama_proxy.bodies.sampling import MOST_STOPS, in_range, stops_of
from ollama_proxy.errors import BadRequest
from ollama_proxy.modelfile.parameters import FLOATS, INTEGERS

#: Ollama's name and OpenRouter's.
_UPSTREAM = {
    "temperature": "temperature",
    "top_p": "top_p",
    "min_p": "min_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repetition_penalty",
    "num_predict": "max_tokens",
    "top_k": "top_k",
    "seed": "seed",
}


def check_options(options: dict[str, Any]) -> None:
    """Raise BadRequest with Ollama's text for the first option of a wrong type; nulls and unknown names pass.

    An integer may be any JSON number. `stop` may be a single string: Ollama refuses it, but clients send it.
    """
    for name, value in options.items():
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in INTEGERS and not number:
            raise BadRequest(f'option "{name}" must be of type integer')
        if name in FLOATS and not number:
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

    A value out of range is left out where no value in range means nearly the same, see `bodies.sampling`. Of more than
    four stop strings the first four are sent; the answer is cut at all of them.
    """
    params: dict[str, Any] = {}
    for name, upstream in _UPSTREAM.items():
        value = options.get(name)
        # An integer may be written as any number: 0.5 predicted tokens are none.
        value = int(value) if value is not None and name in INTEGERS else value
        if value is not None and (kept := in_range(upstream, value)) is not None:
            params[upstream] = kept
    if stops := stops_of(options.get("stop")):
        params["stop"] = stops[:MOST_STOPS]
    return params
