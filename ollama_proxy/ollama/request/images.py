"""Images of a message: Ollama's plain base64, and the URLs that other APIs use.

Text in, content parts out (docs/contract.md, "Requests").
"""

from __future__ import annotations

import re
from typing import Any

from ollama_proxy.bodies.image_types import data_url, image_type, with_true_type
from ollama_proxy.errors import BadRequest

_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDINGS = (b"", b"=", b"==")
_LINE_ENDS = re.compile(rb"[\r\n]*+")
_URL = re.compile(r"(?:data:|https?://)", re.IGNORECASE)


def check_image(text: str) -> str:
    """Return the image as it will be sent on: base64 without line ends, or a URL unchanged.

    Raises BadRequest with Go's text if it is neither.
    """
    if _URL.match(text, 0, 8):
        if found := data_url(text):
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
    if _URL.match(image, 0, 8):
        url = with_true_type(image)
    elif (mime := image_type(image)) is not None:
        url = f"data:{mime};base64,{image}"
    else:
        raise BadRequest("unsupported image type: only PNG, JPEG, GIF and WEBP images can be sent")
    return {"type": "image_url", "image_url": {"url": url}}


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
