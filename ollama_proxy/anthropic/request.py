"""A Messages request: the checks that Ollama makes, and the body that goes upstream for one model.

Pure. Fields are checked, not translated: OpenRouter speaks this format, and accepts fields that are unknown here
(docs/contract.md, "Requests"; https://docs.anthropic.com/en/api/messages).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ollama_proxy import limits
from ollama_proxy.anthropic.blocks import repaired
from ollama_proxy.anthropic.deferred_tools import load_at_once
from ollama_proxy.anthropic.error_form import ThreadNotFound
from ollama_proxy.bodies.fit import fit
from ollama_proxy.bodies.guard import guarded
from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import parse_body
from ollama_proxy.gojson.text import kind, wrong_type

_STRUCT = "MessagesRequest"

#: The fields that are read here, their types, and the Go types that an error names.
_TYPES: dict[str, tuple[type, str]] = {
    "model": (str, "string"),
    "max_tokens": (int, "int"),
    "messages": (list, "[]anthropic.MessageParam"),
    "stream": (bool, "bool"),
}

#: The smallest thinking budget in tokens: Anthropic refuses a smaller one.
LEAST_THINKING = 1024


def read_messages(body: bytes) -> dict[str, Any]:
    """Return the request in `body`, with all fields that the client sent, without what OpenRouter would refuse.

    A `thread` is taken out: no thread is kept here.

    Raises BadRequest in Ollama's order: the JSON and its types, then `model`, `max_tokens` and `messages`. Raises
    ThreadNotFound for messages that only continue what was sent before.
    """
    if not body.strip():
        raise BadRequest("EOF")
    value = parse_body(body)
    if value is not None and not isinstance(value, dict):
        raise BadRequest(f"json: cannot unmarshal {kind(value)} into Go value of type anthropic.{_STRUCT}")
    asked: dict[str, Any] = value or {}
    for name, (expected, go_type) in _TYPES.items():
        _check_type(asked.get(name), expected, f"{_STRUCT}.{name}", go_type)
    limits.check_name(asked.get("model") or "")
    for name, most in (("messages", limits.MESSAGES), ("tools", limits.TOOLS)):
        if isinstance(asked.get(name), list):
            limits.check_count(len(asked[name]), most, name)
    if not (asked.get("model") or "").strip():
        raise BadRequest("model is required")
    if (asked.get("max_tokens") or 0) <= 0:
        raise BadRequest("max_tokens is required and must be positive")
    messages = asked.get("messages")
    if not messages:
        raise BadRequest("messages is required")
    for message in messages:
        _check_type(message, dict, f"{_STRUCT}.messages", "anthropic.MessageParam")
    thread = asked.pop("thread", None)
    if isinstance(thread, dict) and thread.get("type") == "continue":
        raise ThreadNotFound
    return repaired(asked, has_nulls=b"null" in body)


def _check_type(value: Any, expected: type, path: str, go_type: str) -> None:
    """Raise BadRequest unless `value` is null or of the `expected` type; a boolean is not a number here."""
    if value is None or (isinstance(value, expected) and (expected is bool or not isinstance(value, bool))):
        return
    raise wrong_type(value, path, go_type)


def body_for(
    asked: Mapping[str, Any],
    model: Model,
    without: frozenset[str],
    at_most: int | None,
    *,
    free_mode: bool,
    may_defer: bool = True,
) -> dict[str, Any]:
    """Return the body for `model`, without what chooses another model or, in free mode, costs money.

    `without` (names of chat parameters) and `at_most` (output tokens) are changes learned from an earlier attempt.
    `max_tokens` is cut to what the model can write. `thinking` is adapted to it, and left out if the model cannot
    think. Tools that Claude loads only when it needs them are loaded at once for other models;
    `may_defer` says that there may be such tools.
    """
    body = guarded(asked, model, free_mode=free_mode)
    if may_defer and not model.id.removeprefix("~").startswith("anthropic/"):
        load_at_once(body)
    if at_most is not None:
        body["max_tokens"] = min(body["max_tokens"], at_most)
    body = fit(body, model)
    if not model.thinking or "reasoning" in without:
        _drop_thinking(body)
    _fit_thinking(body, model, cut=body["max_tokens"] < asked["max_tokens"])
    for name in without:
        body.pop(name, None)
    return body


def _drop_thinking(body: dict[str, Any]) -> None:
    body.pop("thinking", None)
    config = body.get("output_config")
    if isinstance(config, Mapping) and "effort" in config:
        rest = {name: value for name, value in config.items() if name != "effort"}
        body["output_config"] = rest
        if not rest:
            del body["output_config"]


def _fit_thinking(body: dict[str, Any], model: Model, *, cut: bool) -> None:
    """Remove `thinking: disabled` where thinking is mandatory; lower a budget that is not below a cut `max_tokens`."""
    thinking = body.get("thinking")
    if not isinstance(thinking, Mapping):
        return
    if thinking.get("type") == "disabled" and model.reasoning_mandatory:
        del body["thinking"]
        return
    budget = thinking.get("budget_tokens")
    if cut and isinstance(budget, int | float) and budget >= body["max_tokens"]:
        # OpenRouter's effort "high" gives four fifths to thinking; the rest is for the answer.
        smaller = body["max_tokens"] * 4 // 5
        if smaller < LEAST_THINKING:
            del body["thinking"]
        else:
            body["thinking"] = {**thinking, "budget_tokens": smaller}
