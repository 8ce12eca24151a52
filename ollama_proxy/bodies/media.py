"""What of a body is no text: the images and files in the contents of messages, input items and tool results.

Pure, and the same for every endpoint. Media are looked for only where upstream takes them for media: what a tool's
schema or a call's arguments hold is text, whatever it looks like. What is not known as a text or an image counts as a
file (https://openrouter.ai/openapi.json; docs/contract.md, "Keys: limits").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_IMAGES = frozenset({"image_url", "input_image", "image", "computer_screenshot"})
#: Types of files, of audio and video, and of references to what a server has stored.
_FILES = frozenset(
    {
        "file",
        "input_file",
        "document",
        "input_audio",
        "audio",
        "video_url",
        "input_video",
        "video",
        "container_upload",
        "item_reference",
    }
)
#: Types of parts that hold only text, or contents of their own.
_TEXTS = frozenset(
    {
        "text",
        "input_text",
        "output_text",
        "refusal",
        "summary_text",
        "reasoning_text",
        "thinking",
        "redacted_thinking",
        "search_result",
        "tool_reference",
        "compaction",
    }
)
#: How the types of calls and results end: a result has a content, a call only its arguments.
_CALLS = "tool_use"
_RESULTS = "tool_result"

#: Members that hold other contents: of a message or block, of a result, images of an answer that is sent back.
_CONTENTS = ("content", "output", "images")
#: Members that hold a medium as base64.
_BASE64 = frozenset({"data", "file_data"})


@dataclass(slots=True)
class Media:
    """The number of images and of files in a body, and how many of its bytes are theirs."""

    images: int = 0
    files: int = 0
    held: int = 0


def media_in(body: Mapping[str, Any]) -> Media:
    """Return what of `body` is no text. A part that is counted is not looked into any further."""
    found = Media()
    # It is a loop and not a recursion, because the client decides how deep a body is nested. An item is a message or
    # an input item, all else is a part of a content.
    left = [(one, True) for name in ("messages", "input") for one in _listed(body.get(name))]
    left += [(one, False) for one in _listed(body.get("system"))]
    while left:
        one, is_item = left.pop()
        if not isinstance(one, dict):
            continue
        inner = _inner(one, is_item=is_item)
        if inner is None:
            _count(one, found)
        else:
            left += [(part, False) for part in inner]
        found.files += isinstance(one.get("audio"), dict) and is_item  # an earlier answer, by its id
    return found


def _inner(one: dict[str, Any], *, is_item: bool) -> list[Any] | None:
    """The parts that a text holds; None for a medium."""
    kind = one.get("type")
    if kind == "document" and isinstance(source := one.get("source"), dict):
        if source.get("type") == "text":
            return []
        if source.get("type") == "content":
            return _listed(source.get("content"))
    if kind is None:
        return _contents(one) if is_item or one.keys() <= {"text", "content"} else None
    if not isinstance(kind, str):
        return None
    if kind in _IMAGES or kind in _FILES:
        return None
    if kind.endswith(_CALLS):
        return []
    return _contents(one) if is_item or kind in _TEXTS or kind.endswith(_RESULTS) else None


def _contents(one: dict[str, Any]) -> list[Any]:
    return [part for name in _CONTENTS for part in _listed(one.get(name))]


def _count(part: dict[str, Any], found: Media) -> None:
    """Count a medium. An image whose bytes do not say that they are one is a file: nobody knows what it becomes."""
    kind = part.get("type")
    is_image = isinstance(kind, str) and kind in _IMAGES
    for holder in (part, *(value for value in part.values() if isinstance(value, dict))):
        for name, value in holder.items():
            if not isinstance(value, str):
                continue
            if value.startswith("data:"):
                is_image = is_image and value.startswith("data:image/")
            elif name in _BASE64:
                is_image = is_image and str(holder.get("media_type")).startswith("image/")
            else:
                continue  # an address, or a text: it counts as a text
            found.held += len(value)
    found.images += is_image
    found.files += not is_image


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else []
