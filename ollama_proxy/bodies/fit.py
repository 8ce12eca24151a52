"""Fits an OpenRouter body to the model that will answer it.

Pure: it returns a new body, and the old one stays unchanged for the next candidate. Knows none of our APIs
(docs/contract.md, "Requests"; https://openrouter.ai/docs/api-reference/parameters).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ollama_proxy.catalog.records import Model

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_OPTIONAL = (
    "temperature",
    "top_p",
    "top_k",
    "top_a",
    "min_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "logprobs",
    "top_logprobs",
)
_FORMAT = frozenset({"response_format", "structured_outputs"})
_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")


def fit(body: Mapping[str, Any], model: Model, *, drop_unsupported: bool = False) -> dict[str, Any]:
    """Return `body` with `model` set, in the form that this model accepts.

    Always: `max_tokens` and its other spellings are cut to what the model can write, `reasoning` is left out if the
    model cannot think, an effort is replaced by the nearest one that it has, and where thinking cannot be switched off
    the lowest effort is used. With `drop_unsupported` (for a request that was translated, not passed through) also:
    parameters that the model does not list are left out, and tool-call ids get the form that Mistral demands.
    """
    fitted = {"model": model.id, **body}
    fitted["model"] = model.id
    _cut_output(fitted, model)
    _fit_reasoning(fitted, model)
    if drop_unsupported:
        if model.supported_parameters:  # an empty list says nothing about the model
            _drop_unsupported(fitted, model.supported_parameters)
        if model.id.startswith("mistralai/"):
            fitted["messages"] = _with_mistral_ids(fitted.get("messages", []))
    return fitted


def _cut_output(fitted: dict[str, Any], model: Model) -> None:
    most = model.max_completion_tokens
    if not most:
        return
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        asked = fitted.get(name)
        if isinstance(asked, int | float) and not isinstance(asked, bool) and asked > most:
            fitted[name] = most


def _fit_reasoning(fitted: dict[str, Any], model: Model) -> None:
    """Change `reasoning`, and OpenAI's spelling of its effort, to what this model can do."""
    reasoning = fitted.get("reasoning")
    if isinstance(reasoning, Mapping):
        fitted["reasoning"] = _reasoning_for(reasoning, model)
        if not fitted["reasoning"]:
            del fitted["reasoning"]
    effort = fitted.get("reasoning_effort")
    if isinstance(effort, str):
        fitted["reasoning_effort"] = _reasoning_for({"effort": effort}, model).get("effort")
        if fitted["reasoning_effort"] is None:
            del fitted["reasoning_effort"]


def _reasoning_for(reasoning: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """Return the `reasoning` object for the model; an empty one means that it must be left out."""
    if not model.thinking:
        return {}
    effort, efforts = reasoning.get("effort"), model.supported_efforts
    rest = {key: value for key, value in reasoning.items() if key not in ("effort", "enabled")}
    if effort == "none" or reasoning.get("enabled") is False:
        if model.reasoning_mandatory:
            least = _nearest("none", efforts)
            return rest | ({"effort": least} if least else {})
        return rest | ({"enabled": False} if efforts and "none" not in efforts else {"effort": "none"})
    if isinstance(effort, str) and efforts and effort not in efforts:
        nearest = _nearest(effort, efforts)
        return {**reasoning, "effort": nearest} if nearest else rest | {"enabled": True}
    return dict(reasoning)


def _nearest(effort: str, efforts: Sequence[str]) -> str | None:
    """Return the effort closest to the asked one, the lower of two; None if the model lists no effort that we know."""
    known = [candidate for candidate in efforts if candidate in _EFFORTS and candidate != "none"]
    if effort not in _EFFORTS:
        return None
    wanted = _EFFORTS.index(effort)
    return min(known, key=lambda one: (abs(_EFFORTS.index(one) - wanted), _EFFORTS.index(one)), default=None)


def _drop_unsupported(fitted: dict[str, Any], supported: frozenset[str]) -> None:
    for name in _OPTIONAL:
        if name in fitted and name not in supported:
            del fitted[name]
    if supported.isdisjoint(_FORMAT):
        fitted.pop("response_format", None)
    if "tool_choice" not in supported or "tools" not in supported:
        choice = fitted.pop("tool_choice", None)
        if choice == "none":  # these tools only explain the history: without the choice the model might call them
            fitted.pop("tools", None)


def _with_mistral_ids(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return messages whose tool-call ids are nine letters and digits, as Mistral demands.

    Source: https://docs.mistral.ai/capabilities/function_calling
    """
    ids: dict[str, str] = {}
    numbers = itertools.count(1)
    taken = {call["id"] for message in messages for call in message.get("tool_calls", ())}

    def short(call_id: str) -> str:
        if _MISTRAL_ID.fullmatch(call_id):
            return call_id
        if call_id not in ids:
            ids[call_id] = next(made for number in numbers if (made := f"m{number:08d}") not in taken)
        return ids[call_id]

    fixed: list[Mapping[str, Any]] = []
    for message in messages:
        if message.get("tool_calls"):
            calls = [{**call, "id": short(call["id"])} for call in message["tool_calls"]]
            message = {**message, "tool_calls": calls}
        elif message.get("tool_call_id"):
            message = {**message, "tool_call_id": short(message["tool_call_id"])}
        fixed.append(message)
    return fixed
