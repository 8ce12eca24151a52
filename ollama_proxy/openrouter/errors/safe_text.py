"""Upstream's words, made fit for a client's error line.

A provider may echo account ids, keys or pieces of the prompt in its error text. What looks like one of these is cut
out, on the side of too much (docs/contract.md, "Failures"). This module knows nothing of error bodies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

GAP = "…"
QUOTE_LIMIT = 300
MESSAGE_LIMIT = 590

_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+")

# A quoted name or enum value is short; a long quotation, a dump or what stands behind such a word may be the prompt.
_ECHOES = (
    re.compile(r"\b(?:input_value|input|prompt|content|text|query|value|messages)['\"]?\s*=.*", re.I),
    re.compile(r"\b(?:prompt|input|query|received|got|value|said|text|content)['\"]?\s*:(?!\s*expected\b).*", re.I),
    re.compile(r"(?<!\w)\"(?=\S)[^\"]{61,}(?:\"|$)"),
    re.compile(r"(?<!\w)'(?=\S)(?:[^']|(?<=\w)'(?=\w)){61,}(?:'|$)"),
    re.compile(r"(?<!\w)`(?=\S)[^`]{61,}(?:`|$)"),
    re.compile(r"“[^”]{61,}(?:”|$)"),
    re.compile(r"\{[^}]{61,}(?:\}|$)"),
    re.compile(r"\[[^\]]{61,}(?:\]|$)"),
)
_SECRETS = (
    re.compile(r"\bbearer\s+\S+", re.I),
    re.compile(r"\bdata:[\w/+.;=-]*,\S+", re.I),
    re.compile(r"\b(?:sk|pk|rk|gsk|hf|xai|nvapi)[-_][\w*.-]{4,}", re.I),
    re.compile(r"\bAIza[\w-]{8,}"),
    re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]+)*"),
    re.compile(r"\b(?:user|org|team|proj|acct|workspace)_\w{2,}", re.I),
    re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,5}"),
    re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.I),
    re.compile(r"(?<![A-Za-z0-9_+=])(?=[A-Za-z_+=]*\d)[A-Za-z0-9_+=]{32,}"),
)


def one_line(text: str, limit: int) -> str:
    """`text` on one line, without control, direction or surrogate characters, cut to `limit` characters."""
    line = _UNPRINTABLE.sub(" ", text[: limit * 8]).strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + GAP


def redacted(text: str, never: Iterable[str] = ()) -> str:
    """`text` without what looks like a key, an account id or an e-mail address, and without the strings in `never`."""
    for secret in never:
        text = text.replace(secret, GAP)
    for pattern in _SECRETS:
        text = pattern.sub(GAP, text)
    return text


def quotable(text: str, never: Iterable[str] = (), limit: int = QUOTE_LIMIT) -> str:
    """At most `limit` characters of an upstream error text that a client may read; "" if nothing is left of it."""
    line = redacted(one_line(text, 4 * limit), [one_line(secret, 4 * limit) for secret in never if secret.strip()])
    for pattern in _ECHOES:
        line = pattern.sub(GAP, line)
    line = one_line(line, limit)
    return line if line.strip(f"{GAP} .:,;") else ""


def name(text: str, limit: int = 40) -> str:
    """A provider's display name: letters, digits and a few signs; "" for anything else."""
    line = one_line(text, limit + 1)
    return redacted(line) if re.fullmatch(rf"[\w .&+()/-]{{1,{limit}}}", line) else ""
