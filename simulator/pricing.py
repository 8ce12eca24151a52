"""The most that OpenRouter could take for a body that it was sent: the dearest reading of each part of it.

A scenario with `"cost": "most"` charges this. It is written apart from whatever reckons bounds in the proxy, from
OpenRouter's published types (https://openrouter.ai/openapi.json): which field limits the output of which endpoint, what
a part of a content is, what buys more than tokens. Money is in dollars. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

#: The fields that limit the output, by endpoint. All others are ignored there.
LIMITS = {
    "/chat/completions": ("max_completion_tokens", "max_tokens"),
    "/completions": ("max_tokens",),
    "/responses": ("max_output_tokens",),
    "/messages": ("max_tokens",),
}
IMAGES = {"image_url", "input_image", "image", "computer_screenshot"}
FILES = {"file", "input_file", "document", "input_audio", "video_url", "input_video", "container_upload"}
#: A dearer provider of the same model takes so many times the price of the record, if the body lets it.
DEARER = 10
IMAGE_TOKENS = 10_000
#: From this price on that of an image is for the whole of it, below it for a token: real lists have both.
PIECE = 0.0002
#: Tokens of the prompt that a provider writes for a tool which it knows by its type.
TOOL_PROMPT = 700
SEARCHES = 3


def most(path: str, body: Json, headers: dict[str, str], record: Json) -> float:
    """Return what an answer to `body` costs, if all goes as dear as `path` lets it."""
    if record.get("id", "").endswith(":free"):
        return 0.0
    prices = _Prices(body, record)
    text, images, files = _counted(body)
    seen = ["image"] if prices.dearest("image") < PIECE else []
    window = max(record["context_length"] or 0, record["top_provider"]["context_length"] or 0)
    prompt = min(text, window) * prices.dearest("prompt", "input_cache_write", "input_cache_write_1h")
    if images:
        prompt += images * max(IMAGE_TOKENS * prices.dearest("prompt", *seen), prices.dearest("image"))
    if files:
        prompt = max(prompt, window * prices.dearest("prompt", "audio", *seen))
    output = 0.0
    if path != "/embeddings":
        written = prices.dearest("completion", "internal_reasoning", "image_output", "audio_output")
        output = _answers(path, body) * _written(path, body, window, record) * written
        output += len(repr(body["prediction"])) * written if "prediction" in body else 0
    return (prices.dearest("request") + prompt + output + _searches(body, record)) * _faster(body, headers)


class _Prices:
    def __init__(self, body: Json, record: Json) -> None:
        pricing = record["pricing"]
        self._all = [pricing, *pricing.get("overrides", [])]
        self._caps = (body.get("provider") or {}).get("max_price") or {}

    def dearest(self, *names: str) -> float:
        prices: list[float] = [self._one(name) for name in names]
        return max(prices)

    def _one(self, name: str) -> float:
        listed = max(float(prices.get(name) or 0) for prices in self._all)
        if name not in ("prompt", "completion", "request"):
            return listed
        unit = 1 if name == "request" else 1e6
        return min(listed * DEARER, float(self._caps[name]) / unit) if name in self._caps else listed * DEARER


def _written(path: str, body: Json, window: int, record: Json) -> int:
    """The tokens of one answer: all that its limit allows, and a budget for thinking that is not within it."""
    limits = [body[name] for name in LIMITS[path] if isinstance(body.get(name), int)]
    limit = limits[0] if limits else record["top_provider"]["max_completion_tokens"] or window
    thinking = body.get("reasoning") or body.get("thinking") or {}
    budget = thinking.get("max_tokens") or thinking.get("budget_tokens") or 0
    return int(limit + (min(budget, window) if budget >= limit else 0))


def _answers(path: str, body: Json) -> int:
    if path not in ("/chat/completions", "/completions"):
        return 1
    return max(int(body.get(name) or 1) for name in ("n", "best_of"))


def _searches(body: Json, record: Json) -> float:
    price = float(record["pricing"].get("web_search") or 0.0)
    asked = [tool for tool in body.get("tools") or [] if "search" in str(tool.get("type"))]
    by_itself = "search" in record["id"] or "tools" not in record["supported_parameters"]
    plugins = [one for one in body.get("plugins") or [] if one.get("id") == "web"]
    searches = bool(asked or plugins or "web_search_options" in body or by_itself)
    return SEARCHES * (price or (0.01 if asked or plugins else 0)) if searches else 0.0


def _faster(body: Json, headers: dict[str, str]) -> float:
    dearer = [body.get("speed") == "fast", body.get("service_tier") == "priority", "anthropic-beta" in headers]
    return float(2 ** sum(dearer))


def _counted(body: Json) -> tuple[int, int, int]:
    """The tokens of all text, at a byte each, and the number of images and of files."""
    text = images = files = 0
    for at, part in _parts(body):
        if at == "media":
            images += part.get("type") in IMAGES
            files += part.get("type") in FILES
        else:
            text += len(part.encode())
    tools = [tool for tool in body.get("tools") or [] if tool.get("type") not in (None, "function", "custom")]
    stored = sum(isinstance(body.get(name), dict) for name in ("prompt", "conversation"))
    return text + len(tools) * TOOL_PROMPT, images, files + stored


def _parts(body: Json) -> Iterator[tuple[str, Any]]:
    """Every text of the body, and every medium in a content: ("text", string) or ("media", part)."""
    left: list[tuple[Any, bool]] = [(value, name in ("messages", "input")) for name, value in body.items()]
    while left:
        one, is_content = left.pop()
        if isinstance(one, str):
            yield "text", one
        elif isinstance(one, list):
            left += [(inner, is_content) for inner in one]
        elif isinstance(one, dict):
            source = one.get("source")
            is_text = isinstance(source, dict) and source.get("type") in ("text", "content")
            if is_content and one.get("type") in IMAGES | FILES and not is_text:
                yield "media", one
            else:
                left += [(key, False) for key in one]
                # What a call was given is text, whatever it looks like.
                left += [(value, is_content and name not in ("input", "arguments")) for name, value in one.items()]
