"""Makes what the simulated model says: a deterministic reply to an `Ask`, not yet in a wire format. Pure."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from simulator.asks import Ask, Tool
from simulator.scenarios import Scenario

Json = dict[str, Any]
_call_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call; `arguments` is JSON, or the text that a custom tool gets."""

    id: str
    name: str
    arguments: str
    namespace: str = ""
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says. One item of `reasoning` or `content` is one delta and one token."""

    content: Sequence[str] = ()
    reasoning: Sequence[str] = ()
    tool_calls: Sequence[ToolCall] = ()
    refusal: Sequence[str] = ()
    images: Sequence[str] = ()
    finish_reason: str = "stop"
    native_finish_reason: str = "stop"
    prompt_tokens: int = 1

    @property
    def completion_tokens(self) -> int:
        arguments = sum(1 + len(call.arguments) // 4 for call in self.tool_calls)
        return len(self.content) + len(self.reasoning) + len(self.refusal) + arguments


def words(text: str) -> list[str]:
    """`text` in pieces of one word with the space before it; joined they are `text` again."""
    return re.findall(r"\s*\S+|\s+$", text)


@lru_cache(maxsize=64)
def numbered_tokens(count: int) -> tuple[str, ...]:
    """`count` tokens that tell their own number: "t0 t1 t2 ..."."""
    return tuple(f"t{number} " for number in range(count))


def sample(schema: Any, root: Json | None = None, depth: int = 0) -> Any:
    """Return a value that satisfies a simple JSON schema."""
    if not isinstance(schema, dict) or depth > 12:
        return {}
    root = schema if root is None else root
    if "$ref" in schema:
        return sample(_resolve(schema["$ref"], root), root, depth + 1)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return sample(schema[name][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: sample(part, root, depth + 1) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {"type": "string"}), root, depth + 1)] * max(1, schema.get("minItems", 1))
    number = schema.get("minimum", 1)
    simple = {"string": "text", "integer": int(number), "number": float(number) + 0.5, "boolean": True, "null": None}
    return simple.get(kind, "text")


def _resolve(reference: str, root: Json) -> Any:
    found: Any = root
    for name in reference.removeprefix("#/").split("/"):
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found


def _wanted_tools(ask: Ask) -> list[Tool]:
    by_name = {tool.name: tool for tool in ask.tools}
    if not ask.tools or ask.tool_choice == "none" or ask.tool_results:
        return []
    if ask.tool_choice in by_name:
        return [by_name[ask.tool_choice]]
    called = [by_name[name] for name in re.findall(r"call\s+([\w-]+)", ask.text) if name in by_name]
    if not called and "weather" in ask.text.lower():
        called = [tool for tool in ask.tools if "weather" in tool.name.lower()][:1] or [ask.tools[0]]
    if not called and ask.tool_choice == "required":
        called = [ask.tools[0]]
    return called


def _tool_calls(ask: Ask, scenario: Scenario) -> list[ToolCall]:
    if scenario.tool_calls is None:
        return [
            ToolCall(
                _call_id(),
                tool.name,
                f"input for {tool.name}" if tool.is_custom else json.dumps(sample(tool.schema)),
                tool.namespace,
                tool.is_custom,
            )
            for tool in _wanted_tools(ask)
        ]
    made = []
    for given in scenario.tool_calls:
        function = given.get("function", given)
        arguments = function.get("arguments", "{}")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        made.append(ToolCall(given.get("id") or _call_id(), function["name"], text))
    return made


def _call_id() -> str:
    return f"call_sim{next(_call_numbers):08d}"


def _content(ask: Ask, scenario: Scenario) -> Sequence[str]:
    if isinstance(scenario.text, list):
        return scenario.text
    if scenario.text is not None:
        return words(scenario.text)
    if scenario.tokens is not None:
        return numbered_tokens(scenario.tokens)
    if ask.tool_results:
        return words(f"This is {ask.model} speaking. The tool said: {'; '.join(ask.tool_results)}")
    if ask.schema is not None:
        value = sample(ask.schema) if ask.schema else {"answer": "text"}
        return words(json.dumps(value))
    return words(f"This is {ask.model} speaking. You said: {ask.text}")


def _reasoning(ask: Ask, model: Json, scenario: Scenario) -> Sequence[str]:
    if isinstance(scenario.reasoning, list):
        return scenario.reasoning
    if isinstance(scenario.reasoning, str):
        return words(scenario.reasoning)
    info = model.get("reasoning") or {}
    able = "reasoning" in model.get("supported_parameters", [])
    by_itself = bool(info.get("default_enabled") or info.get("mandatory"))
    thinks = able and (by_itself if ask.thinking is None else ask.thinking)
    if scenario.reasoning is not None:
        thinks = bool(scenario.reasoning)
    return words(f"The user wrote {len(words(ask.text))} words. I will repeat them.") if thinks else ()


def _stopped(content: Sequence[str], stop: tuple[str, ...]) -> Sequence[str]:
    if not stop:
        return content
    text = "".join(content)
    ends = [at for at in (text.find(word) for word in stop if word) if at >= 0]
    # A stop at the very beginning leaves no text, but a token that was made and counts.
    return (words(text[: min(ends)]) or ("",)) if ends else content


def make_reply(ask: Ask, model: Json, scenario: Scenario) -> Reply:
    """Return the reply of `model` (its record, {} if unknown) to `ask`, as `scenario` wants it."""
    if scenario.empty:
        return Reply(prompt_tokens=ask.prompt_tokens, finish_reason=scenario.finish_reason or "stop")
    calls = _tool_calls(ask, scenario)
    reasoning = _reasoning(ask, model, scenario)
    content: Sequence[str] = ()
    speaks = scenario.text is not None or scenario.tokens is not None
    if speaks or (not calls and scenario.refusal is None):
        # As OpenRouter does it: a parameter that a model does not list never reaches it.
        knows_stop = "stop" in model.get("supported_parameters", ["stop"])
        content = _stopped(_content(ask, scenario), ask.stop if knows_stop else ())
    finish = "tool_calls" if calls else "stop"
    budget = ask.max_tokens
    if budget is not None and not calls and len(reasoning) + len(content) > budget:
        reasoning = reasoning[:budget]
        content = content[: budget - len(reasoning)]
        finish = "length"
    finish = scenario.finish_reason or finish
    return Reply(
        content=content,
        reasoning=() if ask.hide_thinking else reasoning,
        tool_calls=calls,
        refusal=words(scenario.refusal or ""),
        images=scenario.images or (),
        finish_reason=finish,
        native_finish_reason=scenario.native_finish_reason or finish,
        prompt_tokens=ask.prompt_tokens,
    )
