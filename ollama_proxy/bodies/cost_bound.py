"""What a request can cost at most, and the body that makes sure of it: for keys with a limit in dollars.

Pure: a body, a model's record and its prices in, an amount out. Money is in millionths of a dollar, always rounded up
(docs/contract.md, "Keys: limits"; https://openrouter.ai/docs/api-reference/parameters,
https://openrouter.ai/docs/features/provider-routing#max-price).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from ollama_proxy.bodies.client_tools import tools_of
from ollama_proxy.bodies.guard import guarded
from ollama_proxy.bodies.media import media_in
from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.money import micro

#: Output tokens that are reserved, and asked for, if the client named no number.
DEFAULT_OUTPUT = 4096
#: A small window leaves at least so many of them.
LEAST_OUTPUT = 256

#: Tokens of one image: more than all but a few models count.
IMAGE_TOKENS = 16_384
#: Tokens of the texts that a chat's form adds, such as a system prompt of the provider for tools.
FORM_TOKENS = 512
#: Tokens of the prompt that a provider writes for a tool which it knows by its type, such as Anthropic's bash.
TOOL_TOKENS = 1024

_MILLION = Decimal(1_000_000)
#: The fields that limit the output, by endpoint: the first that says a number counts, else the last is set. Upstream
#: ignores the other spellings there.
_LIMITS = {"/chat/completions": ("max_completion_tokens", "max_tokens"), "/responses": ("max_output_tokens",)}
_LIMIT = ("max_tokens",)
_ALL_LIMITS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
#: Fields for several answers.
_SEVERAL = ("n", "best_of")
#: Fields that name something stored, of a size that nobody knows here, or a second prompt that is not looked at.
_STORED = frozenset({"prompt", "previous_response_id", "conversation", "container", "mcp_servers"})
#: Fields that say how much to think.
_RECKONED = frozenset({"reasoning", "thinking"})
#: What a token of the prompt may cost: some providers write it to a cache, at a higher price.
_INPUT_PRICES = ("prompt", "input_cache_write", "input_cache_write_1h")
_MEDIA_PRICES = ("audio", "input_audio_cache", "video")
_OUTPUT_PRICES = ("completion", "internal_reasoning")
#: Up to this price of an image, in dollars, it is that of a token of it: lists have both.
_MOST_FOR_A_TOKEN = Decimal("0.0001")
#: Outputs whose number `max_tokens` does not limit, and their prices.
_NOT_LIMITED = frozenset({"image", "audio", "video"})
_NOT_LIMITED_PRICES = ("image_output", "audio_output", "video_output")
#: A token stands for at least one byte of text; so many bytes are usual, for an estimate.
_BYTES_A_TOKEN = 3


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model takes, in dollars: for a token in and out, for an image, for a request.

    `input` is the highest that a token of the prompt may cost, `prompt` the price of a plain one, `seen` the highest of
    a token of an image, `media` that of a token of a file. `image` is the price of a whole image.
    """

    prompt: Decimal
    input: Decimal
    seen: Decimal
    media: Decimal
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
    _check_limited(model)
    parsed: dict[str, Any] = orjson.loads(body)
    media = media_in(parsed)
    text = max(len(body) - media.held, 0)
    tools = sum(not _is_described(tool) for tool in tools_of(parsed))
    words = text + FORM_TOKENS + tools * TOOL_TOKENS
    pixels = media.images * IMAGE_TOKENS
    prompt = words * prices.input + pixels * prices.seen
    if media.files:
        if not (window := _window(model)):
            raise _unknown_price(model)
        prompt = max(words + pixels, window) * prices.media
    output = 0 if path == "/embeddings" else _output_tokens(parsed, model, path, text)
    written = output + _thinking_besides(parsed, model, output)
    dollars = prices.request + media.images * prices.image + prompt + _answers(parsed) * written * prices.output
    return Bound(micro(dollars), output, prices)


def bounded(body: bytes, model: Model, path: str, bound: Bound) -> bytes:
    """Return `body` with what keeps its cost below `bound`, whichever provider answers.

    It is guarded as in free mode, so that it buys nothing but tokens; it asks for as many output tokens as were
    reserved, at the prices that were reckoned with, in the field that this endpoint reads. Fields whose cost is not
    known here are removed, in whatever spelling.
    """
    parsed: dict[str, Any] = orjson.loads(body)
    refused = _ALL_LIMITS.union(_SEVERAL, _STORED - {"prompt"} if path == "/completions" else _STORED)
    known = {name: value for name, value in parsed.items() if not _is_refused(name, refused)}
    safe = guarded(known, model, free_mode=True)
    safe["provider"] = {**safe["provider"], "max_price": _max_price(bound.prices, parsed)}
    if bound.output_tokens:
        name, asked = _limit(parsed, path)
        safe[name] = min(asked, bound.output_tokens) if asked else bound.output_tokens
        safe |= {several: count for several in _SEVERAL if (count := _count(parsed.get(several)))}
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
    names = (*_INPUT_PRICES, *_MEDIA_PRICES, *_OUTPUT_PRICES, "image", "request")
    highest = {name: _highest(found, name) for name in names}
    if highest["prompt"] is None or highest["completion"] is None or any(one < 0 for one in highest.values() if one):
        raise _unknown_price(model)
    known = {name: price or Decimal(0) for name, price in highest.items()}
    text = max(known[name] for name in _INPUT_PRICES)
    seen = max(text, known["image"]) if known["image"] <= _MOST_FOR_A_TOKEN else text
    return Prices(
        prompt=known["prompt"],
        input=text,
        seen=seen,
        media=max(seen, *(known[name] for name in _MEDIA_PRICES)),
        output=max(known[name] for name in _OUTPUT_PRICES),
        image=known["image"],
        request=known["request"],
    )


def _unknown_price(model: Model) -> BadRequest:
    return BadRequest(
        f'"{model.name}" has no price that is known beforehand: this key, which has a limit in dollars, cannot use it'
    )


def _check_limited(model: Model) -> None:
    """Raise BadRequest for a model that takes money for what no field limits: images, speech, searches of its own."""
    pricing, parameters = model.record["pricing"], model.supported_parameters
    writes_more = _NOT_LIMITED & model.output_modalities or any(
        _price(pricing.get(n) or 0) for n in _NOT_LIMITED_PRICES
    )
    searches = _price(pricing.get("web_search") or 0) and (
        "search" in model.id or ("web_search_options" in parameters and "tools" not in parameters)
    )
    if writes_more or searches:
        raise _unknown_price(model)


def _is_refused(name: str, refused: Set[str]) -> bool:
    """Whether a field must not go up: by its name, or as another spelling of one that is reckoned with."""
    plain = name.strip().lower()
    return plain in refused or (plain in _RECKONED and plain != name)


def _max_price(prices: Prices, body: Mapping[str, Any]) -> dict[str, str]:
    """The highest prices that a provider may take: for a million tokens, a request, and the media that there are."""
    media = media_in(body)
    allowed = {
        "prompt": _per_million(prices.prompt),
        "completion": _per_million(prices.output),
        "request": f"{prices.request:f}",
    }
    if media.images or media.files:
        allowed["image"] = f"{max(prices.seen, prices.image):f}"
    if media.files:
        allowed["audio"] = f"{prices.media:f}"
    return allowed


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


def _limit(body: Mapping[str, Any], path: str) -> tuple[str, int]:
    """The field that limits the output on this endpoint, and what the client says in it (0: nothing)."""
    names = _LIMITS.get(path, _LIMIT)
    for name in names:
        if asked := _count(body.get(name)):
            return name, asked
    return names[-1], 0


def _output_tokens(body: Mapping[str, Any], model: Model, path: str, text: int) -> int:
    """The output tokens of one answer: the client's number, else the default, within what the model can write."""
    ceiling = model.max_completion_tokens or 2**53
    if asked := _limit(body, path)[1]:
        return min(asked, ceiling)
    if model.context_length:
        ceiling = min(ceiling, max(model.context_length - text // _BYTES_A_TOKEN, LEAST_OUTPUT))
    return min(DEFAULT_OUTPUT + _thinking(body), ceiling)


def _thinking(body: Mapping[str, Any]) -> int:
    """The tokens for thinking that the client asks for: in OpenRouter's words, or in those of the Messages API."""
    fields = (("reasoning", "max_tokens"), ("thinking", "budget_tokens"))
    return max(_count(one.get(name)) if isinstance(one := body.get(field), Mapping) else 0 for field, name in fields)


def _thinking_besides(body: Mapping[str, Any], model: Model, output: int) -> int:
    """The tokens for thinking where they cannot be a part of so small an output: it may be made larger for them."""
    thinking = _thinking(body)
    return min(thinking, _window(model) or thinking) if thinking >= output > 0 else 0


def _answers(body: Mapping[str, Any]) -> int:
    """How many answers are asked for at once."""
    return max(1, *(_count(body.get(name)) for name in _SEVERAL))


def _window(model: Model) -> int:
    """The largest window that the record names, in tokens: another provider may have a larger one than the first."""
    top = model.record.get("top_provider")
    named = (model.record.get("context_length"), top.get("context_length") if isinstance(top, Mapping) else None)
    return max(model.context_length, *map(_count, named))


def _is_described(tool: Any) -> bool:
    """Whether all that a model is told of a tool is in the body."""
    return isinstance(tool, Mapping) and tool.get("type", "function") in ("function", "custom", "namespace")
