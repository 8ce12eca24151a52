"""The types of images, told by their bytes: what clients say is often wrong (`image/jpg`, nothing at all).

Pure. Of an image only as much is decoded as its type needs (docs/contract.md, "Requests"). The types that OpenRouter
takes: https://openrouter.ai/docs/features/multimodal/images
"""

from __future__ import annotations

import binascii
import re

_DATA_URL = re.compile(r"data:(?P<mime>[^;,]*)(?:;[^,]*)?;base64,", re.IGNORECASE)
#: What stands in front of a data URL's data has a type, and perhaps a character set.
_LONGEST_PREFIX = 200
#: Of so many characters of base64, line ends included, the type is told.
_ENOUGH = 24


def data_url(url: str) -> re.Match[str] | None:
    """Return the match of what stands before the data of a base64 data URL, with its `mime`; None for other URLs."""
    return _DATA_URL.match(url, 0, _LONGEST_PREFIX)


def image_type(base64_text: str) -> str | None:
    """Return the media type of an image in base64, None for one that OpenRouter does not take."""
    head_text = base64_text[:_ENOUGH].replace("\n", "").replace("\r", "")
    try:
        head = binascii.a2b_base64(head_text[:16])
    except ValueError:  # binascii.Error, or a character that is not ASCII
        return None
    if head.startswith(b"\x89PNG"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"GIF8"):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def with_true_type(url: str) -> str:
    """Return a data URL with the type that its bytes have; any other URL as it is."""
    found = data_url(url)
    if found is None:
        return url
    mime = image_type(url[found.end() : found.end() + _ENOUGH])
    if mime is None or found["mime"].lower() == mime:
        return url
    return f"data:{mime};base64,{url[found.end() :]}"
