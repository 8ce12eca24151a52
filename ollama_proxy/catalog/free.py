"""Decides which models cost nothing: a pure rule over a record's id, prices, modalities and expiry date.

It knows neither names nor filters. A price of zero is not enough (a song model is priced "0" and bills by the song),
and neither is the `:free` suffix (a prompt classifier has it); docs/contract.md, "Catalogue", has the rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

#: Words in the id of a model that judges texts and does not answer them.
_CLASSIFIERS = ("content-safety", "guard", "moderation")
#: Keys of `pricing` that do not hold a price.
_NOT_PRICES = frozenset({"overrides", "discount"})
#: Routers that choose a free model themselves. The proxy falls back by its own rules, so they are not candidates.
_FREE_ROUTERS = frozenset({"openrouter/free", "openrouter/free:free"})
_STEALTH_VENDOR = "stealth/"


def is_free(
    model_id: str,
    pricing: Mapping[str, Any],
    *,
    inputs: Set[str],
    outputs: Set[str],
    expires: date | None,
    today: date,
    answers: str = "text",
) -> bool:
    """Return True if a request to this model is certain to cost nothing.

    `answers` is the one output modality that is wanted: "text", or "embeddings" for embedding models. A model can still
    be used on the day of its expiry. Stealth models cost nothing either, but have a daily limit of their own: they do
    not count as free.
    """
    slug = model_id.lower()
    return (
        slug.endswith(":free")
        and slug not in _FREE_ROUTERS
        and not slug.startswith(_STEALTH_VENDOR)
        and outputs == {answers}
        and "text" in inputs
        and (expires is None or expires >= today)
        and not any(word in slug for word in _CLASSIFIERS)
        and costs_nothing(pricing)
    )


def is_stealth(model_id: str, pricing: Mapping[str, Any]) -> bool:
    """Return True for an unnamed model on trial: its price is zero, but it has a limit of its own."""
    return model_id.lower().startswith(_STEALTH_VENDOR) and costs_nothing(pricing)


def costs_nothing(pricing: Mapping[str, Any]) -> bool:
    """Return True if `prompt` and `completion` are zero and every other price, conditional ones included, is zero, too.

    Prices are decimal strings in USD; "-1" means that the price varies. A price that cannot be read is not zero.
    """
    if not (_is_zero(pricing.get("prompt")) and _is_zero(pricing.get("completion"))):
        return False
    others = (value for key, value in pricing.items() if key not in _NOT_PRICES and value is not None)
    return all(_is_zero(value) for value in others if not isinstance(value, list | dict)) and not _has_priced_override(
        pricing.get("overrides")
    )


def _has_priced_override(overrides: object) -> bool:
    # Prices are strings and conditions (min_prompt_tokens, utc_start, ...) are numbers: only strings are looked at.
    entries = overrides if isinstance(overrides, list) else []
    return any(
        isinstance(value, str) and not _is_zero(value)
        for entry in entries
        if isinstance(entry, dict)
        for value in entry.values()
    )


def _is_zero(price: object) -> bool:
    if isinstance(price, bool) or not isinstance(price, str | int | float):
        return False
    try:
        return Decimal(price).is_zero()
    except (InvalidOperation, ValueError):
        return False
