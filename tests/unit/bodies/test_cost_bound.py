"""The most that a request can cost: from its body and the model's prices, and the body that keeps below it."""

from __future__ import annotations

import base64
from datetime import date
from typing import Any

import orjson
import pytest

from ollama_proxy.bodies.cost_bound import (
    DEFAULT_OUTPUT,
    FORM_TOKENS,
    IMAGE_TOKENS,
    LEAST_OUTPUT,
    bound_of,
    bounded,
    cost_of_tokens,
    prices_of,
)
from ollama_proxy.catalog.records import Model, parse_record
from ollama_proxy.errors import BadRequest
from ollama_proxy.money import micro

CHAT, RESPONSES = "/chat/completions", "/responses"


def model(pricing: dict[str, Any] | None = None, *, window: int = 1_000_000, most: int | None = None) -> Model:
    found = parse_record(
        {
            "id": "p/paid",
            "context_length": window,
            "top_provider": {"max_completion_tokens": most},
            # A dollar for a million tokens: a token is a millionth of a dollar.
            "pricing": {"prompt": "0.000001", "completion": "0.000001"} | (pricing or {}),
        },
        today=date(2026, 1, 1),
    )
    assert found is not None
    return found


def body(**fields: Any) -> bytes:
    return orjson.dumps({"model": "p/paid", "messages": [{"role": "user", "content": "hello"}], **fields})


PNG = base64.b64encode(b"\x89PNG" + b"\0" * 100_000).decode()


def says(*parts: Any) -> bytes:
    return orjson.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}, *parts]}]})


@pytest.mark.parametrize(
    ("pricing", "output", "prompt_price", "output_price"),
    [
        ({}, 100, 1, 1),
        ({"prompt": "0"}, 100, 0, 1),
        ({"input_cache_write": "0.000003"}, 100, 3, 1),
        ({"internal_reasoning": "0.000004"}, 100, 1, 4),
        ({"overrides": [{"min_prompt_tokens": 200_000, "prompt": "0.000002", "completion": "0.000005"}]}, 100, 2, 5),
        ({"discount": 0.5, "web_search": "0.01"}, 100, 1, 1),
    ],
    ids=["plain", "free to read", "written to a cache", "thinking is dearer", "dear by size", "what is no token"],
)
def test_tokens_times_the_highest_price(
    pricing: dict[str, str], output: int, prompt_price: int, output_price: int
) -> None:
    sent = body(max_tokens=output)
    bound = bound_of(sent, model(pricing), CHAT)
    assert bound.microusd == (len(sent) + FORM_TOKENS) * prompt_price + output * output_price
    assert bound.output_tokens == output


@pytest.mark.parametrize(
    ("fields", "given", "tokens"),
    [
        ({"max_tokens": 7}, {}, 7),
        ({"max_completion_tokens": 8}, {}, 8),
        ({"max_output_tokens": 9}, {}, DEFAULT_OUTPUT),
        ({"max_tokens": 7, "max_completion_tokens": 8}, {}, 8),
        ({"max_tokens": 9000}, {"most": 5000}, 5000),
        ({}, {}, DEFAULT_OUTPUT),
        ({}, {"most": 1000}, 1000),
        ({"reasoning": {"max_tokens": 2000}}, {}, DEFAULT_OUTPUT + 2000),
        ({}, {"window": 2048}, 2048 - len(body()) // 3),
        ({}, {"window": 10}, LEAST_OUTPUT),
        ({"max_tokens": "7"}, {}, DEFAULT_OUTPUT),
        ({"max_tokens": True}, {}, DEFAULT_OUTPUT),
        ({"max_tokens": -1}, {}, DEFAULT_OUTPUT),
        ({"max_tokens": None}, {}, DEFAULT_OUTPUT),
    ],
)
def test_output_tokens(fields: dict[str, Any], given: dict[str, Any], tokens: int) -> None:
    sent, asked = body(**fields), model(**given)
    bound = bound_of(sent, asked, CHAT)
    assert bound.output_tokens == tokens
    limited = orjson.loads(bounded(sent, asked, CHAT, bound))
    said = [limited[name] for name in ("max_tokens", "max_completion_tokens", "max_output_tokens") if name in limited]
    assert said == [tokens], "one field, which this endpoint reads"


@pytest.mark.parametrize(
    ("part", "images"),
    [
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}, 1),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, 1),
        ({"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}, 1),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}, 1),
        ({"type": "text", "text": '{"type": "image_url"}'}, 0),
        ({"type": "document", "source": {"type": "text", "data": "only a text"}}, 0),
    ],
    ids=["chat", "an address", "responses", "messages", "text that looks like one", "a document that is a text"],
)
def test_images_count_by_the_piece_and_not_by_their_bytes(part: Any, images: int) -> None:
    found = bound_of(says(part), model({"completion": "0"}), CHAT).microusd
    assert images * IMAGE_TOKENS <= found < images * IMAGE_TOKENS + FORM_TOKENS + 500


def test_an_image_may_have_a_price_of_its_own() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    plain = bound_of(says(part), model(), CHAT).microusd
    assert bound_of(says(part, part), model({"image": "0.5"}), CHAT).microusd > plain + 1_000_000


def test_a_file_may_fill_the_window() -> None:
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
    assert bound_of(says(part), model({"completion": "0"}, window=500_000), CHAT).microusd == 500_000


@pytest.mark.parametrize(
    ("fields", "pricing", "dollars"),
    [({}, {"request": "0.25"}, 0.25), ({"n": 3}, {}, 3 * DEFAULT_OUTPUT / 1e6)],
    ids=["a price for each request", "several answers"],
)
def test_what_else_costs(fields: dict[str, Any], pricing: dict[str, str], dollars: float) -> None:
    assert bound_of(body(**fields), model(pricing), CHAT).microusd >= micro(dollars)


@pytest.mark.parametrize(
    "pricing",
    [
        {"prompt": "-1"},
        {"completion": "-1"},
        {"completion": None},
        {"prompt": "cheap"},
        {"prompt": True},
        {"prompt": "NaN"},
        {"request": "-1"},
        {"overrides": [{"prompt": "-1"}]},
    ],
    ids=str,
)
def test_no_price_known_beforehand(pricing: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="no price that is known beforehand"):
        bound_of(body(), model(pricing), CHAT)
    assert cost_of_tokens(model(pricing), 10, 10) == 0


@pytest.mark.parametrize(("path", "name"), [(CHAT, "max_tokens"), (RESPONSES, "max_output_tokens")])
def test_the_body_is_limited_to_what_was_reserved(path: str, name: str) -> None:
    sent, asked = body(provider={"sort": "price", "max_price": {"prompt": "99"}}), model({"completion": "0.000002"})
    limited = orjson.loads(bounded(sent, asked, path, bound_of(sent, asked, path)))
    assert limited[name] == DEFAULT_OUTPUT
    assert limited["provider"]["sort"] == "price"
    assert {key: float(price) for key, price in limited["provider"]["max_price"].items()} == {
        "prompt": 1.0,
        "completion": 2.0,
        "request": 0.0,
    }


@pytest.mark.parametrize(
    "name",
    [
        "plugins",
        "web_search_options",
        "service_tier",
        "modalities",
        "models",
        "speed",
        "Prediction",
        "Thinking",
        "background",
        "conversation",
        "prompt",
    ],
)
def test_what_costs_besides_tokens_is_left_out(name: str) -> None:
    sent = body(**{name: [{"id": "web"}]})
    assert name not in orjson.loads(bounded(sent, model(), CHAT, bound_of(sent, model(), CHAT)))


def test_a_smaller_number_of_an_earlier_refusal_stays() -> None:
    asked = model()
    bound = bound_of(body(max_tokens=500), asked, CHAT)
    assert orjson.loads(bounded(body(max_tokens=100), asked, CHAT, bound))["max_tokens"] == 100


def test_embeddings_write_nothing() -> None:
    sent = orjson.dumps({"model": "p/paid", "input": ["hello"]})
    bound = bound_of(sent, model(), "/embeddings")
    assert (bound.microusd, bound.output_tokens) == (len(sent) + FORM_TOKENS, 0)
    assert "max_tokens" not in orjson.loads(bounded(sent, model(), "/embeddings", bound))


def test_the_price_of_a_plain_token_is_the_estimate_s() -> None:
    asked = model({"input_cache_write": "0.000009"})
    assert cost_of_tokens(asked, 10, 5) == 15
    assert prices_of(asked).input > prices_of(asked).prompt


def test_a_body_of_any_depth_is_measured() -> None:
    deep: Any = {"type": "image_url", "image_url": {"url": "data:,"}}
    for _ in range(100):
        deep = {"content": [deep]}
    assert bound_of(orjson.dumps({"input": deep}), model(), RESPONSES).microusd > IMAGE_TOKENS
