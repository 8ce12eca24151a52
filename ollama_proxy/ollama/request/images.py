"""Images of a message: Ollama's plain base64, and the URLs that other APIs use.

Text in, content parts out. Of an image only as much is decoded as its type needs (docs/contract.md, "Requests").
"""

from __future__ import annotations

import binascii
import re
from typing import Any

from ollama_proxy.errors import BadRequest

_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDINGS = (b"", b"=", b"==")
_LINE_ENDS = re.compile(rb"[\r\n]*+")
_URL = re.compile(r"(?:data:|https?://)", re.IGNORECASE)
_DATA_URL = re.compile(r"data:(?P<mime>[^;,]*)(?:;[^,]*)?;base64,", re.IGNORECASE)
#: What stands in front of a data URL's data has a type, and perhaps a character set.
_LONGEST_PREFIX = 200


def check_image(text: str) -> str:
    """Return the image as it will be sent on: base64 without line ends, or a URL unchanged.

    Raises BadRequest with Go's text if it is neither.
    """
    if _URL.match(text, 0, 8):
        found = _DATA_URL.match(text, 0, _LONGEST_PREFIX)
        if found:
            _check_base64(text[found.end() :])
        elif text[:5].lower() == "data:":  # a data URL without base64, which no provider accepts
            _check_base64(text)
        return text
    _check_base64(text)
    return _without_line_ends(text)


def image_part(image: str) -> dict[str, Any]:
    """Return a content part for a checked image. Raises BadRequest if OpenRouter accepts no images of its type.

    Types and part: https://openrouter.ai/docs/features/multimodal/images
    """
    url = image
    if not _URL.match(image, 0, 8):
        mime = _sniff(image)
        if mime is None:
            raise BadRequest("unsupported image type: only PNG, JPEG, GIF and WEBP images can be sent")
        url = f"data:{mime};base64,{image}"
    else:
        found = _DATA_URL.match(image, 0, _LONGEST_PREFIX)
        # The type is read from the bytes, because the client's is often wrong: "image/jpg" and "" are common.
        mime = _sniff(image[found.end() : found.end() + 24]) if found else None
        if found and mime and found["mime"].lower() != mime:
            url = f"data:{mime};base64,{image[found.end() :]}"
    return {"type": "image_url", "image_url": {"url": url}}


def _sniff(base64_text: str) -> str | None:
    try:
        head = binascii.a2b_base64(_without_line_ends(base64_text[:24])[:16])
    except binascii.Error:
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


def _without_line_ends(text: str) -> str:
    return text.replace("\n", "").replace("\r", "")


def _check_base64(text: str) -> None:
    data = text.encode()
    # What is left without the digits tells nearly all there is: a tenth of the time of a regular expression.
    rest = data.translate(None, _DIGITS)
    if len(data) % 4 == 0 and rest in _PADDINGS and data.endswith(rest):
        return
    position = _corrupt_at(data)
    if position is not None:
        raise BadRequest(f"illegal base64 data at input byte {position}")


def _corrupt_at(data: bytes) -> int | None:
    """Return the byte at which Go's base64.StdEncoding stops, or None (https://pkg.go.dev/encoding/base64#Encoding).

    Line ends are skipped anywhere; padding is required, and nothing may follow it.
    """
    digits = re.match(rb"[A-Za-z0-9+/\r\n]*+", data)
    end = digits.end() if digits else 0
    count = end - data.count(b"\n", 0, end) - data.count(b"\r", 0, end)
    in_quantum = count % 4
    if end == len(data):
        return None if in_quantum == 0 else end - in_quantum
    if data[end] != ord("=") or in_quantum < 2:
        return end
    position = _line_ends_end(data, end + 1)
    if in_quantum == 2:
        if position == len(data):
            return position
        if data[position] != ord("="):
            return position - 1
        position = _line_ends_end(data, position + 1)
    return None if position == len(data) else position


def _line_ends_end(data: bytes, position: int) -> int:
    match = _LINE_ENDS.match(data, position)
    return match.end() if match else position
