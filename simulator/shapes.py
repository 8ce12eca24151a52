"""What OpenRouter's published types refuse in a body, in our own words: for those who have no OpenAPI document at hand.

Only what clients were seen to send (`openapi.py` checks all of it against the document itself). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "repetition_penalty": (0, 2),
    "top_logprobs": (0, 20),
}
#: Members that may not be null.
_NEVER_NULL = (
    "tools",
    "tool_calls",
    "name",
    "image_url",
    "type",
    "provider",
    "function",
    "parameters",
    "cache_control",
)
_RESPONSE_TOOLS = (
    "function",
    "custom",
    "namespace",
    "local_shell",
    "shell",
    "apply_patch",
    "code_interpreter",
    "computer_use_preview",
    "file_search",
    "image_generation",
    "mcp",
)


def bad_shape(path: str, body: Json) -> str | None:
    """Return the name of the error for a body of a shape that the endpoint does not take, or None."""
    problems = {"/chat/completions": _chat, "/responses": _responses, "/messages": _messages}.get(path)
    if _out_of_range(body) or (problems is not None and any(problems(body))):
        return "400_not_responses" if path == "/responses" else "zod"
    return None


def _out_of_range(body: Json) -> bool:
    for name, (least, most) in _RANGES.items():
        value = body.get(name)
        if isinstance(value, int | float) and not least <= value <= most:
            return True
    return False


def _null(value: Json) -> bool:
    return any(name in value and value[name] is None for name in _NEVER_NULL)


def _parts(holder: Any, name: str = "content") -> list[Json]:
    given = holder.get(name) if isinstance(holder, dict) else None
    return [part for part in given if isinstance(part, dict)] if isinstance(given, list) else []


def _wrong_type(url: Any) -> bool:
    """Tell whether a data URL is of another type than those of images that are taken."""
    mime = url[5:].partition(";")[0].partition(",")[0] if isinstance(url, str) and url.startswith("data:") else None
    return mime is not None and mime not in _IMAGE_TYPES


def _chat(body: Json) -> Iterator[bool]:
    yield _null(body)
    stop = body.get("stop")
    yield isinstance(stop, list) and (len(stop) > 4 or not all(isinstance(text, str) for text in stop))
    yield stop is not None and not isinstance(stop, str | list)
    effort = (body.get("reasoning") or {}).get("effort") if isinstance(body.get("reasoning"), dict) else None
    yield None not in (effort, body.get("reasoning_effort")) and effort != body["reasoning_effort"]
    for tool in body.get("tools") or []:
        kind = tool.get("type") if isinstance(tool, dict) else None
        yield not isinstance(kind, str) or _null(tool) or (kind == "function" and _null(tool.get("function") or {}))
        yield isinstance(kind, str) and kind != "function" and not kind.startswith("openrouter:")
    for message in body.get("messages") or []:
        yield not isinstance(message, dict) or message.get("role") not in _CHAT_ROLES or _null(message)
        yield message.get("role") == "tool" and not isinstance(message.get("tool_call_id"), str)
        for part in _parts(message):
            image = part.get("image_url")
            yield _null(part) or (image is not None and not isinstance(image, dict))
            yield isinstance(image, dict) and _wrong_type(image.get("url"))


def _responses(body: Json) -> Iterator[bool]:
    yield body.get("store") not in (None, False) or body.get("previous_response_id") is not None
    tools = body.get("tools") or []
    searches = any(tool.get("type") == "openrouter:tool_search" for tool in tools if isinstance(tool, dict))
    for tool in tools:
        kind = tool.get("type") if isinstance(tool, dict) else None
        yield not isinstance(kind, str) or not (
            kind in _RESPONSE_TOOLS or kind.startswith(("openrouter:", "web_search"))
        )
        yield kind == "function" and not ("parameters" in tool and isinstance(tool.get("name"), str))
        yield isinstance(tool, dict) and bool(tool.get("defer_loading")) and not searches
    for item in body["input"] if isinstance(body.get("input"), list) else []:
        yield not isinstance(item, dict) or _null(item)
        kind = item.get("type")
        yield kind in ("tool_search_call", "tool_search_output")
        yield kind in ("function_call", "function_call_output") and not isinstance(item.get("call_id"), str)
        said = [part for part in _parts(item) if part.get("type") == "output_text"]
        yield bool(said) and not ("id" in item and "status" in item)
        yield kind == "reasoning" and not ("id" in item and "summary" in item)
        for part in (*_parts(item), *_parts(item, "output")):
            yield part.get("type") == "input_image" and _wrong_type(part.get("image_url"))


def _messages(body: Json) -> Iterator[bool]:
    for message in body.get("messages") or []:
        yield not isinstance(message, dict) or message.get("role") not in ("user", "assistant", "system")
        yield message.get("content") is None
        for block in _parts(message):
            yield block.get("type") == "tool_result" and not isinstance(block.get("tool_use_id"), str)
            for part in (block, *_parts(block)):
                source = part.get("source")
                given = source if isinstance(source, dict) else {}
                yield _null(part) or part.get("text", "") is None
                yield part.get("type") == "image" and given.get("media_type", _IMAGE_TYPES[0]) not in _IMAGE_TYPES
