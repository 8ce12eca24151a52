"""Builds NDJSON lines that Ollama clients can read, and packs them into writes.

It knows the two shapes of a line (chat and generate) and the limits that clients put on bytes, but nothing of
OpenRouter's chunks. Lines are joined from prepared bytes: building and serialising a dict for each line would cost more
than all other work for a token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ollama_proxy.ollama.timestamps import rfc3339

MAX_WRITE_BYTES = 1300
"""One TCP segment: some clients parse each network read by itself and lose a line that lies across two."""

MAX_TEXT_BYTES = 16 * 1024
"""Encoded text in one line; some clients read lines with a fixed buffer."""

_SURELY_SHORT = MAX_TEXT_BYTES // 6  # the longest escape of one ASCII character is six bytes


def json_line(value: Any) -> bytes:
    """Return compact JSON on one line, safe for readers that break lines at U+2028, U+2029 or U+0085.

    Never raises for values from a JSON parser: integers of any size are kept, adjacent halves of surrogate pairs are
    joined, single halves become U+FFFD.
    """
    try:
        encoded = orjson.dumps(value)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        encoded = whole_characters(text).encode()
    return _without_line_separators(encoded)


def whole_characters(text: str) -> str:
    """Return `text` with surrogate pairs joined, and U+FFFD for each half that is alone."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _without_line_separators(encoded: bytes) -> bytes:
    if encoded.isascii():
        return encoded
    return (
        encoded.replace(b"\xe2\x80\xa8", b"\\u2028")
        .replace(b"\xe2\x80\xa9", b"\\u2029")
        .replace(b"\xc2\x85", b"\\u0085")
    )


def pack(lines: Sequence[bytes]) -> list[bytes]:
    """Join the lines into writes of at most `MAX_WRITE_BYTES`; a longer line is a write of its own."""
    writes: list[bytes] = []
    start = size = 0
    for position, line in enumerate(lines):
        length = len(line)
        if size + length > MAX_WRITE_BYTES and size:
            writes.append(b"".join(lines[start:position]))
            start, size = position, 0
        size += length
    if size:
        writes.append(b"".join(lines[start:]))
    return writes


def error_line(message: str) -> bytes:
    """Return the line that takes the place of the last one if an answer fails after it began."""
    return b'{"error":' + json_line(message) + b"}\n"


@dataclass(frozen=True, slots=True)
class LineShape:
    """The constant bytes of a route's lines other than the last; each part stands between two variable values.

    A line is `{"model":` model `,"created_at":"` time, one of the four openings, a value, its closing, `}` and LF.
    """

    content: tuple[bytes, bytes]
    thinking: tuple[bytes, bytes]
    tool_call: tuple[bytes, bytes]
    image: tuple[bytes, bytes] | None


CHAT_LINE = LineShape(
    content=(b'","message":{"role":"assistant","content":', b'},"done":false'),
    thinking=(b'","message":{"role":"assistant","content":"","thinking":', b'},"done":false'),
    tool_call=(b'","message":{"role":"assistant","content":"","tool_calls":[', b']},"done":false'),
    image=(b'","message":{"role":"assistant","content":"","images":[', b']},"done":false'),
)
GENERATE_LINE = LineShape(
    content=(b'","response":', b',"done":false'),
    thinking=(b'","response":"","thinking":', b',"done":false'),
    tool_call=(b'","response":"","done":false,"tool_calls":[', b"]"),
    image=None,
)


class LineWriter:
    """Turns the pieces of an answer into the lines of one burst.

    `begin` starts a burst, `take` returns its writes. Half of a surrogate pair at the end of a text is held back until
    the other half comes in the next text of its kind.
    """

    def __init__(self, shape: LineShape, model: str, clock: Callable[[], int]) -> None:
        self._shape = shape
        self._clock = clock
        self._model = b'{"model":' + json_line(model) + b',"created_at":"'
        self._lines: list[bytes] = []
        self._held_content = self._held_thinking = ""
        self._content_close = shape.content[1] + b"}\n"
        self._thinking_close = shape.thinking[1] + b"}\n"

    def begin(self) -> None:
        """Start a burst: all its lines have the same `created_at`."""
        self._head = self._model + rfc3339(self._clock()).encode()
        self._content_open = self._head + self._shape.content[0]
        self._thinking_open = self._head + self._shape.thinking[0]

    def take(self) -> list[bytes]:
        """Return the writes of the burst."""
        lines, self._lines = self._lines, []
        return pack(lines)

    def content(self, text: str, logprobs: list[dict[str, Any]] | None = None) -> None:
        """Add text of the answer; `logprobs` go on the first of its lines."""
        if logprobs is None and not self._held_content and text.isascii() and len(text) < _SURELY_SHORT:
            self._lines.append(self._content_open + orjson.dumps(text) + self._content_close)
            return
        text, self._held_content = _without_last_half(self._held_content + text)
        for piece in _pieces(text) or ([b'""'] if logprobs else []):
            close = self._content_close
            if logprobs:
                close = b"".join((self._shape.content[1], b',"logprobs":', json_line(logprobs), b"}\n"))
                logprobs = None
            self._lines.append(self._content_open + piece + close)

    def plain_content(self, literal: bytes) -> None:
        """Add text of the answer that is already a JSON string of plain ASCII."""
        if self._held_content:
            self.content(literal[1:-1].decode())
        else:
            self._lines.append(self._content_open + literal + self._content_close)

    def thinking(self, text: str) -> None:
        """Add text of the thinking."""
        text, self._held_thinking = _without_last_half(self._held_thinking + text)
        self._lines += [self._thinking_open + piece + self._thinking_close for piece in _pieces(text)]

    def tool_call(self, call: Mapping[str, Any]) -> None:
        """Add one complete tool call."""
        before, after = self._shape.tool_call
        self._lines.append(b"".join((self._head, before, json_line(call), after, b"}\n")))

    def image(self, image: str) -> None:
        """Add one image, in base64; a route without images drops it."""
        if self._shape.image:
            before, after = self._shape.image
            self._lines.append(b"".join((self._head, before, json_line(image), after, b"}\n")))

    def empty(self) -> None:
        """Add a line with empty content: a heartbeat."""
        self._lines.append(self._content_open + b'""' + self._content_close)

    def end_texts(self) -> None:
        """Add what was held back, as no other half can come any more."""
        if self._held_thinking:
            self._held_thinking = ""
            self.thinking("\ufffd")
        if self._held_content:
            self._held_content = ""
            self.content("\ufffd")

    def last(self, closing: Mapping[str, Any]) -> None:
        """Add the last line; `closing` is its whole object."""
        self._lines.append(json_line(closing) + b"\n")


def _without_last_half(text: str) -> tuple[str, str]:
    """Return `text` without the half of a surrogate pair at its end, and that half or ""."""
    if text and "\ud800" <= text[-1] <= "\udbff":
        return text[:-1], text[-1]
    return text, ""


def _pieces(text: str) -> list[bytes]:
    """Return `text` as JSON strings of at most `MAX_TEXT_BYTES`; none for an empty text."""
    if not text:
        return []
    encoded = json_line(text)
    if len(encoded) <= MAX_TEXT_BYTES:
        return [encoded]
    text = whole_characters(text)  # otherwise the cut might divide a pair
    middle = len(text) // 2
    return _pieces(text[:middle]) + _pieces(text[middle:])


def joined(texts: Iterable[str]) -> str:
    """Join texts into one, with surrogate pairs joined that were split over two of them."""
    text = "".join(texts)
    return text if text.isascii() else whole_characters(text)
