"""The body of a streamed response, as WSGI wants it.

If a client leaves before the first byte, WSGI never starts a generator, and so its `finally` would never run. This
class releases what it holds in `close`, which every WSGI server calls (PEP 3333). A failure on the way ends in an error
line of the API that was called, never in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog
from gevent import GreenletExit

from ollama_proxy.errors import ProxyError
from ollama_proxy.server.disconnect import ClientGone

log = structlog.get_logger("ollama_proxy")

SHUTTING_DOWN = "the server is shutting down: please send the request again"


class StreamBody:
    """Iterates over `first`, the write that was needed to know the status, and then over `writes`."""

    def __init__(
        self,
        first: bytes,
        writes: Iterator[bytes],
        *,
        error_line: Callable[[ProxyError], bytes],
        close: Callable[[], None],
    ) -> None:
        """`error_line` renders an error as the stream's last line. `close` is called once, however the stream ends."""
        self._first: bytes | None = first
        self._writes = writes
        self._error_line = error_line
        self._close: Callable[[], None] | None = close
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._ended:
            raise StopIteration
        if (first := self._first) is not None:
            self._first = None
            return first
        try:
            return next(self._writes)
        except StopIteration:
            raise
        except ClientGone:
            self._ended = True
            raise StopIteration from None
        except GreenletExit:
            return self._end(ProxyError(SHUTTING_DOWN, status=503))
        except ProxyError as error:
            return self._end(error)
        except Exception as error:
            log.error("the stream broke", error=type(error).__name__, exc_info=True)
            return self._end(ProxyError("internal error"))

    def _end(self, error: ProxyError) -> bytes:
        self._ended = True
        return self._error_line(error)

    def close(self) -> None:
        """Release everything. Idempotent."""
        close, self._close = self._close, None
        if close is not None:
            close()
