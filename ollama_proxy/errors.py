"""The errors that reach a client, whatever API it uses.

Each API renders them in its own JSON; this module knows neither HTTP frameworks nor JSON shapes. A message is written
for the client's user: it never holds a key, a prompt or an answer (docs/contract.md, "Errors").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_QUOTATION = re.compile(r"(?<!\w)[\"'`].*[\"'`](?!\w)", re.DOTALL)


class ProxyError(Exception):
    """A request that cannot be answered.

    `status` is the HTTP status, `message` one line of text, `retry_after` whole seconds for a Retry-After header.
    `reason` is what a log may say of it: by default the message without what it quotes, because a client's own words
    may hold a key or a prompt, and a provider may quote the prompt.
    """

    status = 500

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: int | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self._reason = reason
        self.retry_after = retry_after
        if status is not None:
            self.status = status

    @property
    def reason(self) -> str:
        """The text for logs, worked out when asked for: some errors are made for every request and never raised."""
        return without_quotations(self.message) if self._reason is None else self._reason


def without_quotations(text: str) -> str:
    """`text` with everything from its first quotation mark to its last one left out.

    Texts for clients quote names and values in marks; what is quoted may hold marks as well, so that only the outermost
    ones can be relied on. An apostrophe inside a word is no mark.
    """
    return _QUOTATION.sub("…", text)


class BadRequest(ProxyError):
    """The request itself is wrong: sending it again unchanged cannot help."""

    status = 400


class PromptTooLong(BadRequest):
    """The prompt does not fit the window of any model that could answer.

    `tokens` is what the prompt needs, `maximum` what fits. Agents look for these very words and numbers, in either
    wording, and shorten the conversation (docs/contract.md, "Errors").
    """

    def __init__(
        self, tokens: int, maximum: int, *, said: str, reason: str | None = None, estimated: bool = True
    ) -> None:
        """`said` is what else there is to say, such as upstream's own words, `estimated` that the numbers are ours."""
        self.tokens = tokens
        self.maximum = maximum
        self.estimated = estimated
        message = (
            f"prompt is too long: {tokens} tokens > {maximum} maximum. This model's maximum context length is "
            f"{maximum} tokens ({said})"
        )
        super().__init__(message, reason=reason)


class Unauthorized(ProxyError):
    """A key is demanded, and the client sent none or a wrong one."""

    status = 401


class Forbidden(ProxyError):
    """This client, host or origin may not call."""

    status = 403


class NeedsAdmin(Forbidden):
    """The key of this caller may ask models, but not change what all callers share, or see what is theirs."""

    def __init__(self) -> None:
        super().__init__("forbidden: this needs an admin key")


class ModelNotFound(ProxyError):
    """There is no model of that name that may be used."""

    status = 404


class BodyTimeout(ProxyError):
    """The request body did not arrive in time."""

    status = 408


class BodyTooLarge(ProxyError):
    """The request body is over the limit."""

    status = 413


class NotImplementedHere(ProxyError):
    """Ollama can do this, but a proxy to cloud models cannot."""

    status = 501


class KeyLimitReached(ProxyError):
    """The client's key may use no more for now. Says nothing of the account or of a model.

    `ever`: the request is more than the key may ever use, so waiting cannot help. `left` are headers that tell what is
    left of the key's limits.
    """

    status = 429

    def __init__(
        self,
        message: str,
        *,
        retry_after: int | None = None,
        ever: bool = False,
        left: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after, status=BadRequest.status if ever else None)
        self.left = left or {}


class UpstreamFailed(ProxyError):
    """OpenRouter, or the model behind it, failed."""

    status = 502


class Unavailable(ProxyError):
    """Nothing can serve this request now, but a later request may succeed."""

    status = 503


class DatabaseAway(Unavailable):
    """What was asked for has to be read from or written to the database, and that does not answer."""

    def __init__(self) -> None:
        super().__init__("the database does not answer now: try again", retry_after=5)


class ShuttingDown(Unavailable):
    """The server ends while the request is under way.

    An "upstream error" to its client: without these words an error ends Ollama's interactive command line.
    """

    def __init__(self) -> None:
        super().__init__("upstream error: the server is shutting down, please send the request again", retry_after=1)
