"""What can go wrong with one call to OpenRouter, and what a failure means.

Plain values that `classify` turns into each other. This module knows no wire format, no clock and no client API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FailureKind(StrEnum):
    """Where the failure was seen (docs/contract.md, "Failures")."""

    STATUS = "status"  # an HTTP error status, with or without a body
    EVENT = "event"  # an error object, or finish reason "error", inside a 200 body or stream
    EMPTY = "empty"  # an answer that ended without content, reasoning, refusal or tool call
    EARLY_CLOSE = "early close"  # the stream ended without a finish reason and without [DONE]
    FIRST_TOKEN_TIMEOUT = "first token timeout"
    READ_TIMEOUT = "read timeout"
    TOTAL_TIMEOUT = "total timeout"
    MALFORMED = "malformed"  # an HTML page, broken JSON: nothing this protocol knows
    NETWORK = "network"  # DNS, TLS, a connection refused, or closed before the end of the answer's head
    OUT_OF_RESOURCES = "out of resources"  # no connection, because this machine has no descriptors or memory left
    NOT_HTTP = "not HTTP"  # what listens at the address speaks something else


_UNFINISHED = frozenset(
    {
        FailureKind.EARLY_CLOSE,
        FailureKind.FIRST_TOKEN_TIMEOUT,
        FailureKind.READ_TIMEOUT,
        FailureKind.TOTAL_TIMEOUT,
        FailureKind.MALFORMED,
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt as it was seen on the wire.

    `status` is the HTTP status (200 for what came inside a good answer), `headers` those of the answer in any case,
    `body` the raw bytes or the parsed object or chunk, `detail` a few words from the transport (an exception's name).
    `sent` says that the request may have been handed over whole: a model may have worked on it, and been paid for it.
    """

    kind: FailureKind
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Mapping[str, Any] | None = None
    detail: str = ""
    sent: bool = True

    @property
    def is_unfinished(self) -> bool:
        """Nobody refused the request, and its answer's end was not seen: a model may go on with it, and be paid."""
        return self.kind in _UNFINISHED or (self.kind is FailureKind.NETWORK and self.sent)


class Blame(StrEnum):
    """Who or what is at fault; decides what is tried next and what is remembered (docs/contract.md, "Failures")."""

    MODEL_RATE_LIMIT = "model rate limit"
    MODEL_FAILING = "model failing"
    MODEL_GONE = "model gone"
    CAPABILITY = "capability"
    MODERATION = "moderation"
    REQUEST = "request"
    ACCOUNT_LIMIT = "account limit"
    STEALTH_LIMIT = "stealth limit"
    UNKNOWN_LIMIT = "unknown limit"
    ACCOUNT = "account"
    PRIVACY = "privacy"
    NETWORK = "network"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Overflow:
    """The prompt is larger than the window: the tokens `given` and the `most` that fit, None where no number is known.

    `most` is always smaller than `given` where both are known. `estimated`: upstream did not name both.
    """

    given: int | None = None
    most: int | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one failure means.

    `status` and `message` are what the client gets if nothing else answers. `message` is one line, safe to send: no
    account ids, no keys, no flagged text; as it may hold a provider's own words it is for the client, not for a log.
    `reason` is the short text for logs and the command line, and holds only this program's own words.
    `retry_at` is UTC epoch seconds: always set for the three limits of the account, for models only if upstream named a
    time; at most 24 h ahead. `refresh` says that the model list is stale.
    `smaller_max_tokens` and `without` (request fields) ask for one more try on the same model. `overflow` is set if the
    prompt was too long.
    """

    blame: Blame
    status: int
    message: str
    reason: str
    retry_at: float | None = None
    refresh: bool = False
    smaller_max_tokens: int | None = None
    without: frozenset[str] = frozenset()
    overflow: Overflow | None = None
