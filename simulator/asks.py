"""Reads a request of any of the four dialects (chat, completions, responses, messages) into one form. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of a request: its name, the JSON schema of its arguments, its namespace and whether it takes a text."""

    name: str
    schema: Json
    namespace: str = ""
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `schema`: the wanted JSON ({} = any object); `thinking`: on, off, or None if the request did not
    say.
    """

    model: str
    stream: bool = False
    text: str = ""
    tool_results: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    schema: Json | None = None
    thinking: bool | None = None
    hide_thinking: bool = False
    top_logprobs: int | None = None
    prompt_tokens: int = 1
    has_images: bool = False


def text_of(content: Any) -> str:
    """Return the text of a content that is a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in content)
    return ""


def _parts(messages: list[Json]) -> Iterator[Json]:
    for message in messages:
        if isinstance(message.get("content"), list):
            yield from (part for part in message["content"] if isinstance(part, dict))


def _tokens(text: str) -> int:
    return max(1, len(text.encode("utf-8", "surrogatepass")) // 4)


def _choice(choice: Any) -> str:
    if isinstance(choice, dict):
        named = choice.get("function", choice).get("name")
        kinds = {"any": "required", "auto": "auto", "none": "none"}
        return named or kinds.get(choice.get("type", ""), "auto")
    return choice or "auto"


def _stop(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _schema(wanted: Json | None) -> Json | None:
    kind = (wanted or {}).get("type")
    if wanted is None or kind not in ("json_object", "json_schema"):
        return None
    found: Json = wanted.get("schema") or (wanted.get("json_schema") or {}).get("schema") or {}
    return found


def _thinking(body: Json) -> tuple[bool | None, bool]:
    """Return (asked, hidden) from `reasoning`, `reasoning_effort`, `include_reasoning`."""
    reasoning = body.get("reasoning")
    effort = body.get("reasoning_effort")
    asked: bool | None = None
    if isinstance(reasoning, dict):
        effort = reasoning.get("effort", effort)
        asked = reasoning.get("enabled", True) is not False
    if effort is not None:
        asked = effort != "none"
    hidden = bool((reasoning or {}).get("exclude")) or body.get("include_reasoning") is False
    if body.get("include_reasoning") is True and asked is None:
        asked = True
    return asked, hidden


def from_chat(body: Json) -> Ask:
    messages: list[Json] = body.get("messages") or []
    results: list[str] = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        results.insert(0, text_of(message.get("content")))
    users = [message for message in messages if message.get("role") == "user"]
    asked, hidden = _thinking(body)
    return Ask(
        model=body.get("model", ""),
        stream=bool(body.get("stream")),
        text=text_of(users[-1].get("content")) if users else "",
        tool_results=tuple(results),
        tools=tuple(
            Tool(tool["function"]["name"], tool["function"].get("parameters") or {})
            for tool in body.get("tools") or []
            if "function" in tool
        ),
        tool_choice=_choice(body.get("tool_choice")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=_stop(body.get("stop")),
        schema=_schema(body.get("response_format")),
        thinking=asked,
        hide_thinking=hidden,
        top_logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        prompt_tokens=_tokens("".join(text_of(message.get("content")) for message in messages)),
        has_images=any(part.get("type") == "image_url" for part in _parts(messages)),
    )


def from_completion(body: Json) -> Ask:
    prompt = text_of(body.get("prompt"))
    return Ask(
        model=body.get("model", ""),
        stream=bool(body.get("stream")),
        text=prompt,
        max_tokens=body.get("max_tokens"),
        stop=_stop(body.get("stop")),
        thinking=False,
        prompt_tokens=_tokens(prompt),
    )


def _response_tools(tools: list[Json], namespace: str = "") -> Iterator[Tool]:
    for tool in tools:
        if tool.get("type") == "namespace":
            yield from _response_tools(tool["tools"], tool["name"])
        elif "name" in tool:
            yield Tool(tool["name"], tool.get("parameters") or {}, namespace, tool.get("type") == "custom")


def from_responses(body: Json) -> Ask:
    given = body.get("input")
    items: list[Json] = given if isinstance(given, list) else [{"role": "user", "content": given or ""}]
    results: list[str] = []
    for item in reversed(items):
        if item.get("type") not in ("function_call_output", "custom_tool_call_output"):
            break
        results.insert(0, text_of(item.get("output")))
    users = [item for item in items if item.get("role") == "user"]
    asked, hidden = _thinking(body)
    return Ask(
        model=body.get("model", ""),
        stream=bool(body.get("stream")),
        text=text_of(users[-1].get("content")) if users else "",
        tool_results=tuple(results),
        tools=tuple(_response_tools(body.get("tools") or [])),
        tool_choice=_choice(body.get("tool_choice")),
        max_tokens=body.get("max_output_tokens"),
        schema=_schema((body.get("text") or {}).get("format")),
        thinking=asked,
        hide_thinking=hidden,
        prompt_tokens=_tokens("".join(text_of(item.get("content")) for item in items)),
        has_images=any(part.get("type") == "input_image" for part in _parts(items)),
    )


def from_messages(body: Json) -> Ask:
    messages: list[Json] = body.get("messages") or []
    last = messages[-1].get("content") if messages else ""
    results = [
        text_of(part.get("content"))
        for part in (last if isinstance(last, list) else [])
        if part.get("type") == "tool_result"
    ]
    users = [message for message in messages if message.get("role") == "user"]
    thinking = body.get("thinking") or {}
    return Ask(
        model=body.get("model", ""),
        stream=bool(body.get("stream")),
        text=text_of(users[-1].get("content")) if users else "",
        tool_results=tuple(results),
        tools=tuple(
            Tool(tool["name"], tool.get("input_schema") or {}) for tool in body.get("tools") or [] if "name" in tool
        ),
        tool_choice=_choice(body.get("tool_choice")),
        max_tokens=body.get("max_tokens"),
        stop=_stop(body.get("stop_sequences")),
        thinking=None if not thinking else thinking.get("type") != "disabled",
        prompt_tokens=_tokens("".join(text_of(message.get("content")) for message in messages)),
        has_images=any(part.get("type") == "image" for part in _parts(messages)),
    )
