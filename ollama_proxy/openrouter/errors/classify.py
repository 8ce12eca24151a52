"""From a failure on the wire to who is to blame for it and what the client gets.

A pure function: no clock, no memory, no sockets, and it never raises. Rules are asked in order: account limits, other
rate limits, the account itself, errors known by their words (`known_errors`), then the status. They are those of
docs/contract.md, "Failures".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ollama_proxy.openrouter.errors import retry_times, wordings
from ollama_proxy.openrouter.errors.error_body import ErrorBody, read_error_body, text_of
from ollama_proxy.openrouter.errors.failure import Blame, Failure, FailureKind, Overflow, Verdict
from ollama_proxy.openrouter.errors.safe_text import MESSAGE_LIMIT, name, one_line, quotable
from ollama_proxy.openrouter.errors.token_budget import overflow, smaller_max_tokens
from ollama_proxy.openrouter.errors.wordings import CREDITS_PAGE, KEYS_PAGE

# Failures of the wire that carry no error of upstream: reason, client status, what the client reads.
_WIRE: dict[FailureKind, tuple[str, int, str]] = {
    FailureKind.EMPTY: ("empty answer", 502, "the model gave an empty answer"),
    FailureKind.EARLY_CLOSE: ("stream ended early", 502, "the answer broke off before its end"),
    FailureKind.FIRST_TOKEN_TIMEOUT: ("no first token", 504, "the model did not begin to answer in time"),
    FailureKind.READ_TIMEOUT: ("read timeout", 504, "the model stopped sending data"),
    FailureKind.TOTAL_TIMEOUT: ("answer took too long", 504, "the answer took too long"),
    FailureKind.MALFORMED: ("malformed answer", 502, "the answer could not be read"),
}
# What a named error type means as a status; such names come from OpenRouter and, wrapped, from providers. Missing are
# "api" and "server", which say nothing: of an error called so its words may say more.
_LABEL_STATUS = {
    "authentication": 401, "payment_required": 402, "billing": 402, "permission_denied": 403, "permission": 403,
    "not_found": 404, "payload_too_large": 413, "request_too_large": 413, "unprocessable": 422,
    "precondition_failed": 400, "invalid_request": 400, "invalid_prompt": 400, "invalid_image": 400,
    "image_too_large": 400, "image_too_small": 400, "unsupported_image_format": 400, "image_not_found": 400,
    "image_download_failed": 400, "rate_limit_exceeded": 429, "rate_limit": 429, "resource_exhausted": 429,
    "provider_unavailable": 502, "unavailable": 503,
    "provider_overloaded": 503, "overloaded": 503, "timeout": 504,
}  # fmt: skip
# Statuses that are also used for what nobody sorted: a named type says more than they do.
_VAGUE = frozenset({400, 500, 502})
_OVERLOADED = frozenset({503, 529})
_TIMED_OUT = frozenset({408, 504, 522, 524})
_BAD_REQUEST_TEXTS = re.compile(r"array must have \d+ items|input required|must have at least \d+ token")
_FREE_LIMIT = re.compile(r"(?P<exceeded>limit exceeded: )?(?P<label>free-models-per-[a-z-]{2,40})", re.I)
# What OpenRouter alone says of a key, even in a chunk that carries the name of a provider.
_OUR_KEY = re.compile(r"user not found|no (?:cookie )?auth credentials found|missing authentication header", re.I)
_FLAGGED_FOR = re.compile(r'flagged for "([\w /,.-]{1,120})"')


@dataclass(frozen=True, slots=True)
class _Case:
    """A failure with its body read: `status` is the logical one, None if nothing in it is an error status."""

    failure: Failure
    body: ErrorBody
    status: int | None
    now: float

    @property
    def provider(self) -> str:
        return name(self.body.provider)

    @property
    def has_provider(self) -> bool:
        """A provider refused, not OpenRouter."""
        named = bool(self.body.provider) or any(label.startswith("provider_") for label in self.body.labels)
        return named or self.is_wrapped

    @property
    def is_wrapped(self) -> bool:
        return self.body.message.strip().lower().rstrip(".") == "provider returned error"

    @property
    def in_answer(self) -> bool:
        return self.failure.kind is FailureKind.EVENT

    @property
    def http(self) -> str:
        return f"HTTP {self.status}" if self.status else "an error without a status"

    def said(self) -> str:
        """Upstream's own words for the client, or ""."""
        text = self.body.provider_text if self.is_wrapped or not self.body.message else self.body.message
        return quotable(text, self.body.private)

    def retry_at(self) -> float | None:
        return retry_times.retry_at(self.failure.headers, self.body, self.now)

    def reset_at(self) -> float | None:
        return self.retry_at() or retry_times.reset_at(self.failure.headers, self.body, self.now)


def classify(failure: Failure, *, now: float) -> Verdict:
    """Who is to blame for `failure`, seen at `now` (UTC epoch seconds), and what the client gets. Never raises."""
    if failure.kind is FailureKind.NETWORK:
        return _no_answer(failure)
    if failure.kind is FailureKind.OUT_OF_RESOURCES:
        return _verdict(Blame.NETWORK, 503, quotable(failure.detail, limit=120), "out of resources")
    if failure.kind is FailureKind.NOT_HTTP or _is_page(failure):
        return _wrong_address("something that is not OpenRouter's API")
    if failure.kind in _WIRE and not (failure.kind is FailureKind.MALFORMED and (failure.status or 0) >= 400):
        reason, status, said = _WIRE[failure.kind]
        if failure.kind is FailureKind.MALFORMED and failure.detail:
            said = f"{said} ({quotable(failure.detail, limit=120)})"
        return _verdict(Blame.MODEL_FAILING, status, said, reason)
    body = read_error_body(failure.body)
    case = _Case(failure, body, _logical_status(failure, body), now)
    verdicts = (rule(case) for rule in _RULES)
    return next(verdict for verdict in verdicts if verdict is not None)


def _no_answer(failure: Failure) -> Verdict:
    """The connection was not made, or ended before the answer: what was sent whole a model may have worked on."""
    detail = quotable(failure.detail, limit=120)
    why = f" ({detail})" if detail else ""
    if failure.sent:
        return _verdict(Blame.MODEL_FAILING, 502, f"the request was sent, and no answer came{why}", "no answer")
    return _verdict(Blame.NETWORK, 502, f"OpenRouter cannot be reached{why}", "network")


def _is_page(failure: Failure) -> bool:
    """A web page in place of an answer: a web site listens at that address."""
    is_answer = failure.kind is FailureKind.MALFORMED and (failure.status or 200) == 200
    return is_answer and retry_times.header(failure.headers, "content-type").lower().startswith("text/html")


def _wrong_address(what: str) -> Verdict:
    said = f"what OPENROUTER_BASE_URL names answered with {what}: is that address right?"
    return _verdict(Blame.ADDRESS, 502, said, "wrong address")


def _logical_status(failure: Failure, body: ErrorBody) -> int | None:
    """The code in the body goes before the HTTP status, a named type before a vague code."""
    http = failure.status if failure.status is not None and 300 <= failure.status <= 599 else None
    status = body.code or http
    named = next((_LABEL_STATUS[label] for label in body.labels if label in _LABEL_STATUS), None)
    if named is not None and (status is None or status in _VAGUE):
        return named
    return status


def _account_limit(case: _Case) -> Verdict | None:
    """OpenRouter's own limits on free models: per minute, per day, per day for stealth models."""
    named = _named_limit(case)
    if not named and not case.body.limit_source.startswith("openrouter_free_tier"):
        return None
    label = named["label"].lower().rstrip("-") if named else quotable(case.body.limit_source, limit=60)
    per, seconds = retry_times.period_of(label)
    headers = case.failure.headers
    retry_at = retry_times.account_reset(seconds, headers, case.body, case.now)
    stealth = "stealth" in label
    echoed = case.body.metadata.get("headers")
    ceiling = retry_times.header(echoed, "x-ratelimit-limit") or retry_times.header(headers, "x-ratelimit-limit")
    amount = f", {ceiling} a {per}" if ceiling.isdecimal() and len(ceiling) < 8 else ""
    said = (
        f"OpenRouter's free limit for {'stealth models of this' if stealth else 'this'} account is reached"
        f" ({label}{amount}):"
        f" resets at {retry_times.clock_time(retry_at)}, in {retry_times.in_words(retry_at - case.now)}"
    )
    reason = f"stealth limit per {per}" if stealth else f"free limit per {per}"
    blame = Blame.STEALTH_LIMIT if stealth else Blame.ACCOUNT_LIMIT
    return _verdict(blame, 429, said, reason, retry_at=retry_at)


def _named_limit(case: _Case) -> re.Match[str] | None:
    """Where OpenRouter names the limit. An error of another kind may only be quoting the request, or a provider."""
    wrapped = case.is_wrapped and not case.body.provider
    named = _FREE_LIMIT.search(case.body.provider_text if wrapped else case.body.message)
    return named if named and (named["exceeded"] or case.status in (None, 429)) else None


def _rate_limit(case: _Case) -> Verdict | None:
    """Every other 429: a model's if a provider or a known text is in it, else something between us and OpenRouter."""
    known = next((limit for limit in wordings.LIMITS if limit.fits(case.body, case.status)), None)
    if known is None and case.status != 429:
        return None
    retry_at = case.reset_at()
    # What came inside a good answer had passed OpenRouter's own checks, unless it says that no provider spoke.
    begun = case.in_answer and "provider_name" not in case.body.metadata
    if known is not None or case.has_provider or begun:
        wait = f": try again in {retry_times.in_words(retry_at - case.now)}" if retry_at else ": try again shortly"
        by = f" ({case.provider})" if case.provider else ""
        said = f"the model is rate limited upstream{by}{wait}"
        return _verdict(Blame.MODEL_RATE_LIMIT, 429, said, "rate limited upstream", retry_at=retry_at)
    soon = case.now + retry_times.UNKNOWN_LIMIT_SECONDS
    # What is not in OpenRouter's own form may be anybody's between us and it: it is not believed for long.
    retry_at = soon if retry_at is None or (case.body.code is None and retry_at > soon) else retry_at
    said = f"OpenRouter refuses requests for now (HTTP 429): try again in {retry_times.in_words(retry_at - case.now)}"
    return _verdict(Blame.UNKNOWN_LIMIT, 429, _joined(said, case.said()), "HTTP 429 unknown limit", retry_at=retry_at)


def _account(case: _Case) -> Verdict | None:
    """Key and credits: nothing else can answer either. A provider's own 401 or 402 is not about this account."""
    message = case.body.message.strip().rstrip(".").lower()
    ours = (
        case.body.limit_source.startswith("openrouter_")
        or "openrouter.ai/settings" in message
        or _OUR_KEY.fullmatch(message)
    )
    if (case.has_provider and not ours) or wordings.PROMPT_LIMIT.search(case.body.words):
        return None
    by_text = (case.status is None or case.status < 500) and wordings.ACCOUNT_TEXTS.search(case.body.words)
    key_limit = case.body.limit_source == "openrouter_key_limit" or "key limit exceeded" in case.body.words
    if not (case.status in (401, 402) or key_limit or by_text):
        return None
    if key_limit:
        says, page, reason = "the limit of the proxy's OpenRouter API key is used up", KEYS_PAGE, "key limit"
    elif case.status == 401 or (
        case.status != 402 and by_text and "credit" not in by_text[0] and "$" not in by_text[0]
    ):
        said = f"OpenRouter does not accept the proxy's API key: check OPENROUTER_API_KEY, keys are made at {KEYS_PAGE}"
        return _verdict(Blame.ACCOUNT, 502, said, "API key refused", retry_at=case.retry_at())
    else:
        says, page, reason = "OpenRouter asks for more credits", CREDITS_PAGE, "out of credits"
    fewer = smaller_max_tokens(case.body.message)
    said = _joined(says, case.said(), page)
    return _verdict(Blame.ACCOUNT, 502, said, reason, retry_at=case.retry_at(), smaller_max_tokens=fewer)


def _known(case: _Case) -> Verdict | None:
    """Errors known by their words and marks."""
    known = wordings.find(case.body, case.status)
    if known is None:
        return None
    said = case.said() if known.quote else _flagged_for(case.body) if known.blame is Blame.MODERATION else ""
    tokens = f"{case.body.message} {case.body.raw}" if known.blame is Blame.CAPABILITY else ""
    return _verdict(
        known.blame,
        known.status,
        _joined(known.says, said, known.page) or known.reason,
        known.reason,
        retry_at=case.retry_at() if known.blame is Blame.MODEL_FAILING else None,
        refresh=known.refresh,
        smaller_max_tokens=smaller_max_tokens(tokens),
        without=known.without,
        overflow=overflow(tokens, is_said="context_length_exceeded" in case.body.labels)
        if known.counts_tokens
        else None,
    )


def _finish_error(case: _Case) -> Verdict | None:
    """Finish reason "error" without an error object."""
    native = case.body.native_finish_reason
    if not case.in_answer or case.body.message or case.status or not re.fullmatch(r"[A-Za-z_]{1,40}", native):
        return None
    if re.search("safety|prohibited|filter|blocklist|recitation", native, re.I):
        return _verdict(
            Blame.MODERATION, 400, "the answer was stopped by the provider's content filter", "content filter"
        )
    said = f"the model ended its answer with an error ({native})"
    return _verdict(Blame.MODEL_FAILING, 502, said, f"finish reason error ({native})")


def _by_status(case: _Case) -> Verdict:
    """What no rule knows by its words."""
    status = case.status if case.status is not None else 502
    if 300 <= status < 400 or (status in (404, 405, 501) and case.body.names_no_endpoint):
        if not (case.in_answer or case.has_provider):
            return _wrong_address(f"HTTP {status}, as if there were no such endpoint")
        return _verdict(Blame.MODEL_FAILING, 502, f"the model failed (HTTP {status})", f"HTTP {status} at the provider")
    if status >= 500 or status in (408, 409, 425):
        return _model_failing(case, status)
    if status in (401, 402):
        said = _joined(f"the provider refused OpenRouter's access ({case.http})", case.said())
        return _verdict(Blame.MODEL_FAILING, 502, said, f"HTTP {status} at the provider")
    if status == 403 and not (case.has_provider or case.in_answer):
        # About the model, the prompt or the key, nobody knows: another model may be allowed to answer.
        said = _joined("OpenRouter refused the request (HTTP 403)", case.said())
        return _verdict(Blame.CAPABILITY, 502, said, "HTTP 403 refused")
    if status in (404, 410):
        said = _joined("OpenRouter no longer offers this model", case.said())
        return _verdict(Blame.MODEL_GONE, 404, said, f"HTTP {status} no such model", refresh=True)
    if status == 451:
        said = _joined("OpenRouter does not serve this model to this account", case.said())
        return _verdict(Blame.MODEL_GONE, 502, said, "HTTP 451 legal reasons")
    return _refused(case, status)


def _model_failing(case: _Case, status: int) -> Verdict:
    overloaded = status in _OVERLOADED or "overloaded" in case.body.words
    client_status = 504 if status in _TIMED_OUT else 503 if overloaded else 502
    what = "provider overloaded" if overloaded else "timed out" if status in _TIMED_OUT else "provider error"
    where = f"HTTP {status}" if case.status else "error without a status"
    said = case.said() or f"the model failed ({where}, {what})"
    return _verdict(Blame.MODEL_FAILING, client_status, said, f"{where} {what}", retry_at=case.retry_at())


def _refused(case: _Case, status: int) -> Verdict:
    """A body that was refused: by a provider, so that another model may take it, or by OpenRouter."""
    client_status = status if status in (400, 413, 422) else 400
    ours = _BAD_REQUEST_TEXTS.search(case.body.words)
    if (case.has_provider or case.in_answer) and not ours:
        by = f"the provider{f' ({case.provider})' if case.provider else ''} refused the request ({case.http})"
        return _verdict(
            Blame.CAPABILITY, client_status, _joined(by, case.said()), f"HTTP {status} refused by the provider"
        )
    said = case.said() or f"the request was refused ({case.http})"
    return _verdict(Blame.REQUEST, client_status, said, f"HTTP {status} bad request")


_RULES: tuple[Callable[[_Case], Verdict | None], ...] = (
    _account_limit, _rate_limit, _account, _known, _finish_error, _by_status,
)  # fmt: skip


def _flagged_for(body: ErrorBody) -> str:
    """The categories of a moderation, never the text that was flagged."""
    reasons = body.metadata.get("reasons")
    listed = [text for item in reasons if (text := name(text_of(item)))] if isinstance(reasons, list) else []
    found = _FLAGGED_FOR.search(body.message)
    categories = ", ".join(listed[:5]) or (found.group(1) if found else "")
    safe = quotable(categories, body.private, limit=120)
    return f'flagged for "{safe}"' if safe else ""


def _joined(says: str, said: str, page: str = "") -> str:
    """Our words, then upstream's, then the settings page to look at unless upstream named it."""
    joined = f"{says}: {said}" if says and said else says or said
    return f"{joined} (see {page})" if page and page not in joined else joined


def _verdict(
    blame: Blame,
    status: int,
    said: str,
    reason: str,
    *,
    retry_at: float | None = None,
    refresh: bool = False,
    smaller_max_tokens: int | None = None,
    without: frozenset[str] = frozenset(),
    overflow: Overflow | None = None,
) -> Verdict:
    """A verdict with a message on one line; all but a fault of the request itself is named an upstream error."""
    if blame is not Blame.REQUEST:
        said = f"u{said[1:]}" if said.startswith("Upstream error from ") else f"upstream error: {said}"
    message = one_line(said, MESSAGE_LIMIT)
    return Verdict(blame, status, message, reason, retry_at, refresh, smaller_max_tokens, without, overflow)
