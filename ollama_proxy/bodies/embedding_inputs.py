"""The inputs of an embedding request, cut to a model's window. Pure.

How many tokens a text has, only the model's own tokenizer knows. So a text is cut by an estimate first, and then by the
numbers in upstream's refusal (docs/contract.md, "Endpoints").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ollama_proxy.errors import BadRequest, PromptTooLong

#: How often the inputs of one request are cut after a refusal: the last time so short that they must fit.
MOST_CUTS = 3

_BYTES_PER_TOKEN = 4
_SAFE_BYTES_PER_TOKEN = 3  # a text that must be cut is cut so that it fits even if its tokens are short

_MARGIN = 0.95  # the rest of a text may be denser in tokens than the part that is cut off
_WORDS = re.compile(r"[A-Za-z ]+")
_BLANK = " "


def fitting(texts: list[str], window: int, *, truncate: bool) -> list[str]:
    """Return the texts, cut where they are too long for a window of `window` tokens (0: unknown).

    Without `truncate` a text that is too long raises BadRequest, in Ollama's words. Tokens are estimated.
    """
    if window <= 0:
        return texts
    most = window * _BYTES_PER_TOKEN
    fitted = []
    for text in texts:
        if len(text) * 4 > most and len(data := text.encode()) > most:
            if not truncate:
                raise too_long()
            text = data[: window * _SAFE_BYTES_PER_TOKEN].decode(errors="ignore")
        fitted.append(text)
    return fitted


def too_long() -> BadRequest:
    """Return Ollama's own refusal of an input that may not be cut."""
    return BadRequest("the input length exceeds the context length")


def not_empty(inputs: Sequence[Any]) -> list[Any]:
    """Return the inputs with a blank for an empty text: Ollama embeds one, and OpenRouter refuses it."""
    return [one if one != "" else _BLANK for one in inputs]


def cut(inputs: Sequence[Any], refusal: PromptTooLong, *, last: bool) -> list[Any] | None:
    """Return the inputs cut as `refusal` demands; None if there is nothing to cut.

    An input is a text or a list of tokens; others stay as they are. Upstream does not say which of several inputs is
    too long: it is taken to be the one with the most tokens by estimate, and the others are measured by it. With
    `last`, or if the numbers are not upstream's own, each is cut to one byte a token, which is never too long.
    """
    room = max(int(refusal.maximum * _MARGIN), 1)
    weights = [_weight(one) for one in inputs]
    a_token = max(weights, default=0) / refusal.tokens
    made = []
    for one, weight in zip(inputs, weights, strict=True):
        if last or refusal.estimated:
            made.append(_first_bytes(one, room))
        elif weight > refusal.maximum * a_token:
            made.append(one[: max(int(len(one) * room * a_token / weight), 1)])
        else:
            made.append(one)
    return made if made != list(inputs) else None


def _weight(one: Any) -> float:
    """Return about how many tokens an input has: four letters are one, and so is every other character."""
    if isinstance(one, str):
        rest = len(_WORDS.sub("", one))
        return (len(one) - rest) / 4 + rest
    return len(one) if isinstance(one, list) else 0


def _first_bytes(one: Any, most: int) -> Any:
    if isinstance(one, str):
        return one.encode("utf-8", "replace")[:most].decode(errors="ignore") or one[:1]
    return one[:most] if isinstance(one, list) else one
