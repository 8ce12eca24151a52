"""Who was tried for a request and why not, in one line for a header and the log. Pure.

The line holds catalogue ids and this program's own reasons only, nothing of the request (docs/contract.md, "Attempts").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ollama_proxy.catalog.records import Model

#: The most attempts that are named, and the most characters of one entry: a header must stay small.
MOST_NAMED = 10
MOST_CHARACTERS = 160


class TriedModel(Protocol):
    """One attempt: the model's id, and why it failed (None: it did not)."""

    model: str
    reason: str | None


def chain_text(passed_over: Sequence[tuple[Model, str]], tried: Sequence[TriedModel]) -> str:
    """Return a line such as `a/a:free (cooling: rate limited upstream), b/b:free (502), c/c:free`.

    First those that were passed over and why, then those that were asked; the one without a reason answers.
    """
    if len(tried) == 1 and not passed_over:  # most requests, and each asks twice
        return _entry(tried[0].model, tried[0].reason)
    entries = [_entry(model.id, why) for model, why in passed_over]
    entries += [_entry(one.model, one.reason) for one in tried[:MOST_NAMED]]
    if len(tried) > MOST_NAMED:
        entries.append(f"and {len(tried) - MOST_NAMED} more")
    return ", ".join(entries)


def _entry(model: str, reason: str | None) -> str:
    text = f"{model} ({reason})" if reason else model
    if len(text) <= MOST_CHARACTERS and text.isascii() and text.isprintable():
        return text
    return "".join(sign if " " <= sign <= "~" else "?" for sign in text[:MOST_CHARACTERS])
