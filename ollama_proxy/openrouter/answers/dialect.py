"""How the answers of one OpenRouter endpoint are read: where an error, useful output and the end are.

A dialect is a record of pure functions over parsed payloads, so that failover works alike for every endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dialect:
    """The functions take one payload of a stream, or a whole body.

    `error` gives the error object in it or None; `useful` says that it brings something for the client; `ending` gives
    the reason for which the answer ends, or None; `tokens` the output tokens it reports, 0 if none; `from_whole` makes
    the one payload of a stream out of a whole body (a streamed call may be answered by one). `last` tells that an
    unparsed payload ends the stream, for an endpoint that has more than `[DONE]` to say so.
    """

    error: Callable[[Payload], Mapping[str, Any] | None]
    useful: Callable[[Payload], bool]
    ending: Callable[[Payload], str | None]
    tokens: Callable[[Payload], int]
    from_whole: Callable[[Payload], Payload]
    last: Callable[[bytes], bool] | None = None
