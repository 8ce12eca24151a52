"""The body of a streamed response, as WSGI wants it.

A generator that WSGI never started would never run its `finally`, which happens when a client leaves before the first
byte. This class releases what it holds in `close`, which every WSGI server calls (PEP 3333). Whatever goes wrong on
the way ends in an error line of the API that is spoken, never in a silent stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog
from gevent import GreenletExit

from ollama_proxy.errors import ProxyError, ShuttingDown
from ollama_proxy.observation import Observation
from ollama_proxy.server.disconnect import ClientGone

log = structlog.get_logger("ollama_proxy")


class StreamBody:
    """Iterates `writes`, after the first one, which was needed to know the status. Notes how the answer ended."""

    def __init__(
        self,
        first: bytes,
        writes: Iterator[bytes],
        observation: Observation,
        *,
        failed: Callable[[ProxyError], bytes],
        close: Callable[[], None],
    ) -> None:
        """`failed` renders an error as the stream's last line. `close` is called once, whatever happened."""
        self._first: bytes | None = first
        self._writes = writes
        self._observation = observation
        self._failed = failed
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
            self._ended = True
            raise
        except ClientGone:
            raise StopIteration from None  # `close` notes it
        except GreenletExit:
            return self._end(ShuttingDown())
        except ProxyError as error:
            return self._end(error)
        except Exception as error:
            noted = self._observation
            why = type(error).__name__
            log.error("the stream broke", request_id=noted.request_id, **noted.who(), error=why, exc_info=True)
            return self._end(ProxyError("internal error"))

    def _end(self, error: ProxyError) -> bytes:
        self._ended = True
        self._observation.broken, self._observation.error = True, error.reason
        return self._failed(error)

    def close(self) -> None:
        """Release everything. Idempotent. A stream that is closed before its end has lost its client."""
        close, self._close = self._close, None
        if close is None:
            return
        if not self._ended:
            self._ended = self._observation.left = True
        close()
