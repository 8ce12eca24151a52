"""What a request can cost at most, and the body that makes sure of it: for keys with a limit in dollars.

Pure: a body, a model's record and its prices in, an amount out. Money is in millionths of a dollar, always rounded up
(docs/contract.md, "Keys: limits"; https://openrouter.ai/docs/api-reference/parameters,
https://openrouter.ai/docs/features/provider-routing#max-price).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

import orjson

from ollama_proxy.bodies.guard import guarded
from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import encode_body

#: Output tokens that are reserved, and asked for, if the client named no number.
DEFAULT_OUTPUT = 4096
#: A small window leaves at least so many of them.
LEAST_OUTPUT = 256

#: Tokens of one image: more than all but a few models count.
IMAGE_TOKENS = 16_384
#: Tokens of the texts that a chat's form adds, such as a system prompt of the provider for tools.
FORM_TOKENS = 512

_MILLION = Decimal(1_000_000)
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
#: What a token of the prompt may cost: some providers write it to a cache, at a higher price.
_INPUT_PRICES = ("prompt", "input_cache_write", "input_cache_write_1h")
_OUTPUT_PRICES = ("completion", "internal_reasoning")
#: A token stands for at least one byte of text; so many bytes are usual, for an estimate.
_BYTES_A_TOKEN = 3

#: What shows in an encoded body that a part of it is no text. Within a text its quotation marks would be escaped.
_MEDIA = (b'"image_url"', b'"input_image"', b'"image"', b'"file"', b'"input_file"', b'"document"', b'"input_audio"')
_IMAGES = frozenset({"image_url", "input_image", "image"})
_FILES = frozenset({"file", "input_file", "document", "input_audio", "audio", "video_url"})
#: Members that hold a medium itself, as base64 or as an address, and not a text.
_HOLD_MEDIA = frozenset({"data", "url", "image_url", "file_data", "file_url"})


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model takes, in dollars: for a token in and out, for an image, for a request.

    `input` is the highest that a token of the prompt may cost, `prompt` the price of a plain one.
    """

    prompt: Decimal
    input: Decimal
    output: Decimal
    image: Decimal
    request: Decimal


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that a request can cost at one model, and the output tokens that this allows (0: it writes none)."""

    microusd: int
    output_tokens: int
    prices: Prices


def bound_of(body: bytes, model: Model, path: str) -> Bound:
    """Return the most that `body` can cost at `model`, as `bounded` sends it to `path`.

    `body` is what `encode_body` has written. Raises BadRequest for a model whose price is not known beforehand.
    """
    prices = prices_of(model)
    parsed: dict[str, Any] = orjson.loads(body)
    text, images, files = _measured(body, parsed)
    prompt = text + FORM_TOKENS + images * IMAGE_TOKENS
    if files:
        prompt = max(prompt, model.context_length) if model.context_length else prompt + len(body)
    output = 0 if path == "/embeddings" else _output_tokens(parsed, model, text)
    dollars = prices.request + images * prices.image + prompt * prices.input + _answers(parsed) * output * prices.output
    return Bound(micro(dollars), output, prices)


def bounded(body: bytes, model: Model, path: str, bound: Bound) -> bytes:
    """Return `body` with what keeps its cost below `bound`, whichever provider answers.

    It is guarded as in free mode, so that it buys nothing but tokens; it asks for as many output tokens as were
    reserved, at the prices that were reckoned with.
    """
    safe = guarded(orjson.loads(body), model, free_mode=True)
    prices = {"prompt": _per_million(bound.prices.prompt), "completion": _per_million(bound.prices.output)}
    safe["provider"] = {**safe["provider"], "max_price": prices}
    if bound.output_tokens:
        given = [name for name in _LIMITS if name in safe]
        for name in given or ["max_output_tokens" if path == "/responses" else "max_tokens"]:
            asked = _count(safe.get(name))
            safe[name] = min(asked, bound.output_tokens) if asked else bound.output_tokens
    return encode_body(safe)


def costing_nothing(body: bytes, model: Model) -> bytes:
    """Return `body` for a free model, without what would cost something there too: as in free mode."""
    return encode_body(guarded(orjson.loads(body), model, free_mode=True))


def cost_of_tokens(model: Model, tokens_in: int, tokens_out: int) -> int:
    """Return what so many tokens cost by the list price; 0 if there is none."""
    try:
        prices = prices_of(model)
    except BadRequest:
        return 0
    return micro(prices.request + tokens_in * prices.prompt + tokens_out * prices.output)


def prices_of(model: Model) -> Prices:
    """Return the highest prices in the model's record. Raises BadRequest if one that is needed is not there."""
    pricing = model.record.get("pricing")
    found = [pricing] if isinstance(pricing, Mapping) else []
    overrides = found[0].get("overrides") if found else None
    found += [one for one in overrides if isinstance(one, Mapping)] if isinstance(overrides, list) else []
    highest = {name: _highest(found, name) for name in (*_INPUT_PRICES, *_OUTPUT_PRICES, "image", "request")}
    if highest["prompt"] is None or highest["completion"] is None or any(one < 0 for one in highest.values() if one):
        raise BadRequest(
            f'"{model.name}" has no price that is known beforehand: this key, which has a limit in dollars, '
            "cannot use it"
        )
    known = {name: price or Decimal(0) for name, price in highest.items()}
    return Prices(
        known["prompt"],
        max(known[name] for name in _INPUT_PRICES),
        max(known[name] for name in _OUTPUT_PRICES),
        known["image"],
        known["request"],
    )


def micro(dollars: Decimal | float) -> int:
    """Return an amount in dollars as millionths, rounded up."""
    amount = dollars if isinstance(dollars, Decimal) else Decimal(repr(dollars))
    return int((amount * _MILLION).to_integral_value(rounding=ROUND_CEILING))


def _highest(pricings: list[Mapping[str, Any]], name: str) -> Decimal | None:
    """The highest price of that name; None if there is none, -1 if one of them cannot be read or is not fixed."""
    prices = [_price(one[name]) for one in pricings if one.get(name) is not None]
    return None if not prices else Decimal(-1) if min(prices) < 0 else max(prices)


def _price(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return Decimal(-1)
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return Decimal(-1)
    return price if price.is_finite() else Decimal(-1)


def _per_million(price: Decimal) -> str:
    return f"{price * _MILLION:f}"


def _count(value: Any) -> int:
    """A number of tokens as an int; 0 for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 < value < 2**53 else 0


def _output_tokens(body: Mapping[str, Any], model: Model, text: int) -> int:
    """The output tokens of one answer: the client's number, else the default, within what the model can write."""
    ceiling = model.max_completion_tokens or 2**53
    if asked := max(_count(body.get(name)) for name in _LIMITS):
        return min(asked, ceiling)
    reasoning = body.get("reasoning")
    thinking = _count(reasoning.get("max_tokens")) if isinstance(reasoning, Mapping) else 0
    if model.context_length:
        ceiling = min(ceiling, max(model.context_length - text // _BYTES_A_TOKEN, LEAST_OUTPUT))
    return min(DEFAULT_OUTPUT + thinking, ceiling)


def _answers(body: Mapping[str, Any]) -> int:
    """How many answers are asked for at once."""
    return max(_count(body.get("n")), _count(body.get("best_of")), 1)


def _measured(body: bytes, parsed: Mapping[str, Any]) -> tuple[int, int, int]:
    """The bytes of all that is text, and the number of images and of files."""
    if not any(mark in body for mark in _MEDIA):
        return len(body), 0, 0
    kinds = [kind for kind, _ in _media(parsed)]
    media = sum(size for _, size in _media(parsed))
    images = sum(kind in _IMAGES for kind in kinds)
    return max(len(body) - media, 0), images, len(kinds) - images


def _media(parsed: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Each part of the body that is no text: its type, and the bytes of what it holds.

    It is a loop and not a recursion, because the client decides how deep a body is nested.
    """
    left: list[Any] = [parsed]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            kind = one.get("type")
            if isinstance(kind, str) and (kind in _IMAGES or kind in _FILES) and _held(one) is not None:
                yield kind, _held(one) or 0
            left += one.values()


def _held(part: Mapping[str, Any]) -> int | None:
    """The bytes that a part with a medium holds of it, directly or one object below; None if it holds only text."""
    found: int | None = None
    for one in (part, *(value for value in part.values() if isinstance(value, dict))):
        if one.get("type") == "text":
            continue  # a document that is a text
        for name in _HOLD_MEDIA & one.keys():
            if isinstance(one[name], str):
                found = (found or 0) + len(one[name])
    return found
