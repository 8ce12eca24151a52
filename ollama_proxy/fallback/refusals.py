"""What a client is told when nobody could answer its request. Pure: verdicts and times in, a ProxyError out.

The texts hold model names and a classifier's words, never anything of the request (docs/contract.md, "Failures").
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from http import HTTPStatus

from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import PromptTooLong, ProxyError, Unavailable, UpstreamFailed
from ollama_proxy.fallback.memory import Cooling
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.openrouter.errors.failure import Blame, Overflow, Verdict
from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.openrouter.errors.wordings import PRIVACY_PAGE
from ollama_proxy.storage.failure_table import LimitRow

#: Seconds, for Retry-After of a model's rate limit that does not say when it lifts.
SHORTLY = 10

#: The end of the text that `classify` writes for a limit.
_HOLDS = re.compile(r", in \d+ (?:s|min|h)(?: \d+ min)?$")

#: Where every model tried says one of these, what the last one said is the answer.
_ONE_SAYS_IT_FOR_ALL = (Blame.PRIVACY, Blame.CAPABILITY, Blame.MODERATION)


def refused(verdict: Verdict, *, now: float, note: str = "") -> ProxyError:
    """One failure, told as it was."""
    wait = None if verdict.retry_at is None else whole_seconds(verdict.retry_at - now)
    if wait is None and verdict.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = SHORTLY
    message = verdict.message + (f" ({note})" if note else "")
    if (overflow := verdict.overflow) is not None and overflow.given and overflow.most:
        return PromptTooLong(
            overflow.given, overflow.most, said=message, reason=verdict.reason, estimated=overflow.estimated
        )
    return ProxyError(message, status=verdict.status, retry_after=wait, reason=verdict.reason)


def counted(verdict: Verdict, model: Model, needs: Needs) -> Verdict:
    """`verdict` with both numbers of a prompt that is too long.

    What upstream does not name comes from the model's record and from the estimate, which was too low if it fits.
    """
    overflow = verdict.overflow
    if overflow is None or (overflow.given and overflow.most):
        return verdict
    most = overflow.most or model.context_length
    given = overflow.given or needs.prompt_tokens + needs.output_tokens
    return replace(verdict, overflow=Overflow(max(given, most + 1), most, estimated=True))


def limited(limit: LimitRow, *, now: float) -> ProxyError:
    """An account limit that holds, told as when it was met, but for how long it holds yet."""
    left = limit.until - now
    message = _HOLDS.sub(f", in {in_words(left)}", limit.message)
    return ProxyError(message, status=limit.status, retry_after=whole_seconds(left), reason=limit.reason)


def all_cooling(cooling: Iterable[tuple[Model, Cooling]], *, now: float) -> ProxyError:
    """Every model that could serve the request is left out for now: the soonest one back, and when."""
    pairs = list(cooling)
    model, first = min(pairs, key=lambda pair: pair[1].until)
    if all(one.blame == Blame.PRIVACY for _, one in pairs):
        return UpstreamFailed(
            "upstream error: the privacy or provider settings of the OpenRouter account rule out every model that "
            f"could serve this request (see {PRIVACY_PAGE}; after a change: ollama-proxy failures clear)"
        )
    left = first.until - now
    return Unavailable(
        f"upstream error: every model that could serve this request is cooling down; the first back is "
        f"{model.name} in {in_words(left)} ({first.reason})",
        retry_after=whole_seconds(left),
    )


def given_up(
    failures: Sequence[tuple[Model, Verdict]], *, now: float, back_at: float | None, note: str = ""
) -> ProxyError:
    """Nobody answered. One failure is told as it was; of several, who was tried and why each failed.

    `back_at` is when the first of the models is back, None if one could be tried at once. `note` says why no further
    model was tried.
    """
    model, verdict = failures[-1]
    blames = {other.blame for _, other in failures}
    if all(other is model for other, _ in failures) or (len(blames) == 1 and verdict.blame in _ONE_SAYS_IT_FOR_ALL):
        return refused(verdict, now=now, note=note)
    chain = "; ".join(f"{model.name}: {verdict.reason}" for model, verdict in failures)
    return Unavailable(
        f"upstream error: none of the models tried answered ({chain})" + (f"; {note}" if note else ""),
        retry_after=None if back_at is None else whole_seconds(back_at - now),
    )


def whole_seconds(seconds: float) -> int:
    """For Retry-After: rounded up, at least 1."""
    return max(math.ceil(seconds), 1)
