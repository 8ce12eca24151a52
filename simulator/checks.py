"""Finds what OpenRouter and its providers refuse in a request: returns the name of the error, or None. Pure."""

from __future__ import annotations

import re
from typing import Any

from simulator.asks import Ask
from simulator.catalogue import is_embedding, usable_context

Json = dict[str, Any]
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def bad_key(authorization: str | None, *, all_invalid: bool) -> str | None:
    """Return the error of a key. Keys that start with `sk-or-` are good, except those that start with `sk-or-bad`."""
    if not authorization:
        return "401_missing"
    key = authorization.removeprefix("Bearer ").strip()
    if all_invalid or not key.startswith("sk-or-") or key.startswith("sk-or-bad"):
        return "401_bad_key"
    return None


def bad_chat(body: Json, ask: Ask, model: Json | None) -> str | None:
    """Return the error of a chat-like request (`body` of any dialect, `ask` read from it) to `model`, or None."""
    if not ask.model or model is None:
        return "400_not_valid_id"
    if is_embedding(model):
        return "400_embedding_model"
    if len(body.get("models") or []) > 3:
        return "400_models_array"
    if any(not TOOL_NAME.fullmatch(tool.name) for tool in ask.tools):
        return "400_tool_name"
    return _bad_history(body.get("messages") or []) or _misfit(ask, model)


def _misfit(ask: Ask, model: Json) -> str | None:
    parameters = model.get("supported_parameters", [])
    if ask.tools and "tools" not in parameters:
        return "404_tools"
    if ask.has_images and "image" not in model["architecture"]["input_modalities"]:
        return "404_image"
    if ask.thinking is False and (model.get("reasoning") or {}).get("mandatory"):
        return "400_reasoning_mandatory"
    if ask.prompt_tokens + (ask.max_tokens or 0) > usable_context(model):
        return "400_context"
    return None


def _bad_history(messages: list[Json]) -> str | None:
    """Return an error if arguments are not strings, or a tool result answers no call of the assistant message before
    it.
    """
    calls: set[str] = set()
    for message in messages:
        role = message.get("role")
        if role == "assistant":
            calls = set()
            for call in message.get("tool_calls") or []:
                if not isinstance(call.get("function", {}).get("arguments"), str):
                    return "400_tool_arguments"
                calls.add(str(call.get("id")))
        elif role == "tool":
            if message.get("tool_call_id") not in calls:
                return "400_tool_id"
        else:
            calls = set()
    return None


def bad_embedding(body: Json, texts: list[str], model: Json | None) -> str | None:
    if "input" not in body:
        return "zod"
    if model is None or not is_embedding(model):
        return "400_embedding_missing"
    if not texts or any(not text for text in texts):
        return "400_empty_input"
    return None
