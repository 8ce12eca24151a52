"""Repairs the input items of /responses: what Ollama takes there and OpenRouter refuses.

JSON in, JSON out; what needs no repair comes out as the same object. The items are those of OpenRouter's published
types (https://openrouter.ai/openapi.json; docs/contract.md, "Bodies that are passed through").
"""

from __future__ import annotations

from collections.abc import Callable
from operator import is_not
from typing import Any

from ollama_proxy.bodies.image_types import with_true_type
from ollama_proxy.bodies.nulls import without_nulls
from ollama_proxy.bodies.tool_history import CallIds, Named, pair
from ollama_proxy.gojson.codec import encode_body

Json = dict[str, Any]

_PLAIN_ROLES = ("user", "developer", "system")
_ROLES = (*_PLAIN_ROLES, "assistant")
_TEXTS = ("input_text", "output_text")


def repaired_items(items: list[Any], *, has_nulls: bool) -> list[Any]:
    """Return the items as OpenRouter accepts them.

    Roles are in small letters, assistant messages and thinking have an id, images have the type of
    their bytes, nulls are gone, and each result has the id of a call. `has_nulls` says that there may be any.
    """
    if not has_nulls and all(map(_fits, items)):
        return items
    repaired = [_item(item, place) for place, item in enumerate(items) if item is not None]
    return _with_ids(repaired) if any(map(_lacks_id, repaired)) else repaired


def _fits(item: Any) -> bool:
    """Tell whether an item without nulls needs no repair, as most that agents send do not."""
    if type(item) is not dict:
        return False
    kind = item.get("type")
    if kind == "message":
        role, content = item.get("role"), item.get("content")
        if role not in _PLAIN_ROLES and not (role == "assistant" and "id" in item and "status" in item):
            return False
        if type(content) is list:
            return all([type(part) is dict and part.get("type") in _TEXTS for part in content])  # noqa: C419 - faster
        return type(content) is str
    if kind == "function_call":
        return type(item.get("arguments")) is str and bool(_named(item).id)
    return kind == "function_call_output" and type(item.get("output")) is str and bool(_named(item).id)


def _item(item: Any, place: int) -> Any:
    if not isinstance(item, dict):
        return item
    if None in item.values():
        item = {name: value for name, value in item.items() if value is not None}
    kind = item.get("type")
    if kind is None or kind == "message":
        return _message(item, place) if kind or "role" in item else item
    repair = _REPAIRS.get(kind) if isinstance(kind, str) else None
    return repair(item, place) if repair is not None else item


def _message(item: Json, place: int) -> Json:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        lower = role.lower() if isinstance(role, str) else ""
        item = {**item, "role": lower if lower in _ROLES else "user"}
    content = item.get("content")
    if isinstance(content, list):
        item = _with_parts(item, "content", content)
    elif content is None:
        item = {**item, "content": ""}
    if item["role"] == "assistant" and not ("id" in item and "status" in item and "type" in item):
        return {"type": "message", "id": f"msg_{place}", "status": "completed", **item}
    return item


def _with_parts(item: Json, name: str, parts: list[Any]) -> Json:
    fixed = [_part(part) for part in parts if part is not None]
    return {**item, name: fixed} if len(fixed) != len(parts) or any(map(is_not, fixed, parts)) else item


def _part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    part = without_nulls(part)
    if part.get("type") != "input_image":
        return part
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        return part
    true = with_true_type(url)
    return part if true is image and "detail" in part else {"detail": "auto", **part, "image_url": true}


def _reasoning(item: Json, place: int) -> Json:
    if "id" in item and "summary" in item:
        return item
    return {"id": f"rs_{place}", "summary": [], **item}


def _call(item: Json, _: int) -> Json:
    arguments = item.get("arguments")
    text = arguments if isinstance(arguments, str) else encode_body(arguments or {}).decode()
    return item if text is arguments else {**item, "arguments": text}


def _output(item: Json, _: int) -> Json:
    output = item.get("output")
    if isinstance(output, str):
        return item
    if isinstance(output, list):
        return _with_parts(item, "output", output)
    return {**item, "output": "" if output is None else encode_body(output).decode()}


def _with_status(item: Json, place: int) -> Json:
    return item if "id" in item and "status" in item else {"id": f"item_{place}", "status": "completed", **item}


_REPAIRS: dict[str, Callable[[Json, int], Json]] = {
    "reasoning": _reasoning,
    "function_call": _call,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
    "local_shell_call": _with_status,
    "web_search_call": _with_status,
}


# Calls and results without ids


def _is_call(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "function_call"


def _is_result(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "function_call_output"


def _lacks_id(item: Any) -> bool:
    return (_is_call(item) or _is_result(item)) and not _text(item.get("call_id"))


def _with_ids(items: list[Any]) -> list[Any]:
    """Give each call an id, and each result that of its call: by id, then by name, then by order in the whole input.

    A result without a call is the user's text.
    """
    ids = CallIds()
    calls = [place for place, item in enumerate(items) if _is_call(item)]
    results = [place for place, item in enumerate(items) if _is_result(item)]
    paired, orphans = pair([_named(items[place]) for place in calls], [_named(items[place]) for place in results])
    fixed = list(items)
    for number, place in enumerate(calls):
        result = results[paired[number]] if number in paired else None
        wanted = _named(items[place]).id or (_named(items[result]).id if result is not None else "")
        fixed[place] = {**items[place], "call_id": (call_id := ids.take(wanted))}
        if result is not None:
            fixed[result] = {**items[result], "call_id": call_id}
    for number in orphans:
        place = results[number]
        output = items[place].get("output")
        text, parts = (output, []) if isinstance(output, str) else ("", output if isinstance(output, list) else [])
        said = {"type": "input_text", "text": f"Tool result:\n{text}"}
        fixed[place] = {"type": "message", "role": "user", "content": [said, *parts]}
    return fixed


def _named(item: Json) -> Named:
    return Named(_text(item.get("call_id")), _text(item.get("name")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
