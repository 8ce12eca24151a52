"""How much memory the requests of this process hold for their bodies, and what there is to hold at most.

A body counts from its announcement to the end of its request: until then it may have to be sent to another model. Knows
bytes only (docs/contract.md, "Request bodies").
"""

from __future__ import annotations

from ollama_proxy.errors import Unavailable

#: The key of a request's HeldBody in its WSGI environment. The worker releases it when the request has ended.
HELD_BODY = "ollama_proxy.held_body"

SMALL_BYTES = 1 << 20
#: An eighth is kept for small bodies: some large uploads, or promises of them, shut nobody out who only wants to chat.
_KEPT_SHARE = 8
#: Seconds after which a refused client may try again: most bodies are there, and answered, in less.
RETRY_AFTER = 5

_held = _most_held = 0


def held_bytes() -> int:
    """What all requests of this process hold now."""
    return _held


def most_held_bytes() -> int:
    """The most that they held at any time since this was last asked."""
    global _most_held
    most, _most_held = _most_held, _held
    return most


def largest_body(total_bytes: int) -> int:
    """The largest body that ever finds room in `total_bytes`."""
    return max(total_bytes - total_bytes // _KEPT_SHARE, min(total_bytes, SMALL_BYTES))


class HeldBody:
    """The share of one request. Released with `release`, or with the last reference to it."""

    def __init__(self, total_bytes: int, size: int = 0) -> None:
        """`total_bytes` are for all requests, `size` is this one's share to begin with. Raises Unavailable."""
        self._total = total_bytes
        self._size = 0
        self.grow(size)

    def grow(self, size: int) -> None:
        """Hold `size` bytes more. Raises Unavailable, with this request's share as it was, where there is no room."""
        global _held, _most_held
        room = self._total if self._size + size <= SMALL_BYTES else largest_body(self._total)
        if _held + size > room:
            raise Unavailable("the server is busy with large requests, try again soon", retry_after=RETRY_AFTER)
        _held += size
        _most_held = max(_most_held, _held)
        self._size += size

    def release(self) -> None:
        """Hold nothing any more. May be called any number of times."""
        global _held
        _held -= self._size
        self._size = 0

    __del__ = release
