"""The event stream: bytes as the network cut them in, the payloads of complete events out.

Knows the framing of Server-Sent Events and nothing of what a payload holds: no JSON, no sockets.
"""

from __future__ import annotations

DONE = b"[DONE]"
"""The payload that ends a stream."""

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Generous, as an event may carry a whole image; without a limit a stream without blank lines would fill memory."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLarge(Exception):
    """One event is larger than `MAX_EVENT_BYTES`: the stream cannot be read any further."""


class EventDecoder:
    """Decodes one event stream (WHATWG HTML, 9.2.6 "Interpreting an event stream").

    Lines end LF, CRLF or CR; a blank line ends an event; several `data:` lines are joined with a newline; comments and
    all other fields (`event:`, `id:`, `retry:`) are dropped, as are events without data. Two departures from the
    standard: an event with empty data is dropped, it is nobody's payload, and `flush` hands out an event that its
    stream ended without a blank line (docs/contract.md, "Streams").
    """

    def __init__(self) -> None:
        self._pending: list[
            bytes
        ] = []  # what follows the last blank line; a list, because joining each read is quadratic
        self._pending_bytes = 0
        self._after_cr = False
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the payloads of the events that `data` completes, in order.

        Raises `EventTooLarge` when an event passes the limit, complete or not.
        """
        if self._after_cr or b"\r" in data:
            data = self._with_line_feeds(data)
        if not data:
            return []
        end = self._end_of_last_event(data)
        if end == 0:
            self._keep(data)
            return []
        block = b"".join((*self._pending, data[:end])) if self._pending else data[:end]
        self._pending.clear()
        self._pending_bytes = 0
        if end < len(data):
            self._keep(data[end:])
        return self._payloads(block)

    def flush(self) -> list[bytes]:
        """Returns the payload of an event that no blank line ended, if any; call it at the end of the stream."""
        block = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return self._payloads(block) if block else []

    def _end_of_last_event(self, data: bytes) -> int:
        """Returns how many bytes of `data` belong to events that end in it, 0 if none does."""
        blank_line = data.rfind(b"\n\n")
        if blank_line >= 0:
            return blank_line + 2
        split_over_reads = data.startswith(b"\n") and self._pending and self._pending[-1].endswith(b"\n")
        return 1 if split_over_reads else 0

    def _keep(self, rest: bytes) -> None:
        self._pending.append(rest)
        self._pending_bytes += len(rest)
        if self._pending_bytes > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event of the stream is larger than {MAX_EVENT_BYTES} bytes")

    def _with_line_feeds(self, data: bytes) -> bytes:
        """Returns `data` with every line end as LF, also when a CRLF lies across two reads."""
        if not data:
            return data
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
            if not data:
                return data
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _payloads(self, block: bytes) -> list[bytes]:
        """Returns the payloads of the events in `block`, which ends where an event ends and has only LF line ends."""
        if not self._begun:
            self._begun = True
            block = block.removeprefix(_BYTE_ORDER_MARK)
        if block.startswith(b":"):
            block = _without_first_comments(block)
        if block.startswith(b"data: "):
            # The common burst is nothing but one-line events. The number of line feeds proves that it is, at the cost
            # of one pass in C instead of a loop over lines.
            payloads = block[6:-2].split(b"\n\ndata: ")
            if block.count(b"\n") == 2 * len(payloads) and block.endswith(b"\n\n") and all(payloads):
                return _checked(payloads)
        return _checked([payload for event in block.split(b"\n\n") if (payload := _data_of(event))])


def _without_first_comments(block: bytes) -> bytes:
    """Returns `block` without the comments at its start that are events of their own: a stream begins with one."""
    at = 0
    while block.startswith(b":", at) and (end := block.find(b"\n", at)) >= 0 and block.startswith(b"\n", end + 1):
        at = end + 2
    return block[at:]


def _data_of(event: bytes) -> bytes:
    """Returns the joined data lines of one event, empty if it has none."""
    lines = []
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines)


def _checked(payloads: list[bytes]) -> list[bytes]:
    if payloads and max(map(len, payloads)) > MAX_EVENT_BYTES:
        raise EventTooLarge(f"an event of the stream is larger than {MAX_EVENT_BYTES} bytes")
    return payloads
