"""What upstream could take for a body, by the simulator's reckoning, against what is reserved for it.

The two reckon apart from each other: `simulator/pricing.py` reads the body as it is sent, at the dearest, and by the
field that limits the output of that very endpoint.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pytest

from ollama_proxy.bodies.cost_bound import bound_of, bounded
from ollama_proxy.catalog.records import Model, parse_record
from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import encode_body
from simulator import pricing
from simulator.catalogue import record

CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/chat/completions", "/completions", "/responses", "/messages"
WORDS = "word " * 60_000
BASE64 = "QUJD" * 50_000
HTTPS = "https://www.example.com/a"

PLAIN = record(
    "p/plain",
    context_length=300_000,
    pricing={"prompt": "0.000002", "completion": "0.00001", "request": "0.001"},
    supported_parameters=["max_tokens", "tools"],
)
OMNI = record(
    "p/omni",
    context_length=200_000,
    top_provider={"context_length": 100_000, "max_completion_tokens": 65_536},
    architecture={"input_modalities": ["text", "image", "video", "audio", "file"]},
    pricing={
        "prompt": "0.000002",
        "completion": "0.00001",
        "internal_reasoning": "0.00002",
        "audio": "0.0001",
        "image": "0.000004",
        "web_search": "0.014",
        "input_cache_write": "0.0000025",
        "overrides": [{"min_prompt_tokens": 100_000, "prompt": "0.000004", "completion": "0.00003"}],
    },
    supported_parameters=["max_tokens", "tools", "reasoning"],
)
BY_THE_PIECE = record("p/piece", pricing={"prompt": "0.000001", "completion": "0.000001", "image": "0.02"})
MODELS = {one["id"]: one for one in (PLAIN, OMNI, BY_THE_PIECE)}


def model_of(listed: dict[str, Any]) -> Model:
    found = parse_record(listed, today=date(2026, 1, 1))
    assert found is not None
    return found


def chat(*parts: Any, **fields: Any) -> tuple[str, dict[str, Any]]:
    return CHAT, {"messages": [{"role": "user", "content": list(parts) or "hello"}], **fields}


def responses(*parts: Any, **fields: Any) -> tuple[str, dict[str, Any]]:
    return RESPONSES, {"input": [{"type": "message", "role": "user", "content": list(parts) or "hello"}], **fields}


def messages(*parts: Any, **fields: Any) -> tuple[str, dict[str, Any]]:
    body = {"messages": [{"role": "user", "content": list(parts) or "hello"}], "max_tokens": 10, **fields}
    return MESSAGES, body


def tool(schema: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", "parameters": schema}}]


HIDDEN = [
    {"type": "image", "url": WORDS},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": WORDS}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64," + WORDS}},
]
CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {"content": HIDDEN}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"url": HTTPS}}] * 3}

BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": chat(),
    "chat, a limit": chat(max_tokens=1),
    "chat, the newer limit": chat(max_completion_tokens=2),
    "chat, both limits": chat(max_tokens=5, max_completion_tokens=9000),
    "chat, the limit of responses": chat(max_output_tokens=1),
    "chat, a limit in another case": chat(Max_Tokens=1),
    "chat, several answers": chat(n=3, max_tokens=5000),
    "chat, several answers as text": chat(n="3", max_tokens=5000),
    "chat, the best of several answers": chat(best_of=4, max_tokens=5000),
    "chat, several answers in another case": chat(N=4, max_tokens=5000),
    "completions": (COMPLETIONS, {"prompt": "hello"}),
    "completions, the newer limit": (COMPLETIONS, {"prompt": "hello", "max_completion_tokens": 1}),
    "completions, several answers": (COMPLETIONS, {"prompt": WORDS, "n": 5, "best_of": 6, "max_tokens": 100}),
    "responses": responses(),
    "responses, a limit": responses(max_output_tokens=1),
    "responses, the limit of chats": responses(max_tokens=1),
    "responses, the newer limit of chats": responses(max_completion_tokens=1),
    "responses, a stored prompt": responses(max_output_tokens=1, prompt={"id": "pmpt_1"}),
    "responses, a stored conversation": responses(max_output_tokens=1, conversation={"id": "conv_1"}),
    "responses, background": responses(max_output_tokens=1, background=True),
    "messages": messages(),
    "messages, the limit of responses": messages(max_output_tokens=1),
    "messages, thinking": messages(thinking={"type": "enabled", "budget_tokens": 60_000}),
    "messages, fast": messages(speed="fast", max_tokens=60_000),
    "messages, fast in another case": messages(SPEED="fast", max_tokens=60_000),
    "embeddings": ("/embeddings", {"input": [WORDS, "hello"]}),
    "reasoning": chat(reasoning={"max_tokens": 30_000}),
    "reasoning, larger than the limit": chat(max_tokens=10, reasoning={"max_tokens": 30_000}),
    "responses, reasoning": responses(max_output_tokens=10, reasoning={"max_tokens": 30_000}),
    "a prediction": chat(max_tokens=1, prediction={"type": "content", "content": WORDS}),
    "a service tier": chat(max_tokens=60_000, service_tier="priority"),
    "a search": chat(max_tokens=1, web_search_options={}),
    "a plugin": chat(max_tokens=1, plugins=[{"id": "web"}]),
    "a tool for searches": chat(max_tokens=1, tools=[{"type": "openrouter:web_search"}, *tool({})]),
    "a dear provider": chat(max_tokens=60_000, provider={"order": ["dear"], "max_price": {"completion": "999"}}),
    "tools": chat(max_tokens=1, tools=tool({"type": "object", "description": WORDS})),
    "tools that providers know": messages(tools=[{"type": "bash_20250124", "name": "bash"}]),
    "text in a schema": chat(max_tokens=1, tools=tool({"examples": HIDDEN, "content": HIDDEN})),
    "text in a schema of responses": responses(max_output_tokens=1, tools=[{"type": "function", "x": HIDDEN}]),
    "text in a call": messages(CALL, tools=[{"name": "f", "input_schema": {}}]),
    "text in a format": chat(max_tokens=1, response_format={"json_schema": {"content": HIDDEN}}),
    "text in a system prompt": messages(system=[{"type": "text", "text": WORDS}]),
    "an address that is a text": chat({"type": "image_url", "image_url": {"url": "https://x/" + WORDS}}, max_tokens=1),
    "an image in an image": chat({"type": "image", "image": {"type": "image", "data": WORDS, "url": WORDS}}),
    "a file that is called an image": chat(
        {"type": "image_url", "image_url": {"url": "data:application/pdf;base64," + BASE64}}, max_tokens=1
    ),
    "an image": chat({"type": "image_url", "image_url": {"url": "data:image/png;base64," + BASE64}}, max_tokens=1),
    "an image's address": chat({"type": "image_url", "image_url": {"url": HTTPS}}, max_tokens=1),
    "images of responses": responses(*[{"type": "input_image", "image_url": HTTPS}] * 4, max_output_tokens=1),
    "images of a result": messages(RESULT),
    "a screen": (
        RESPONSES,
        {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": HTTPS}}]},
    ),
    "an image as an embedding": (
        "/embeddings",
        {"input": [{"content": [{"type": "image_url", "image_url": {"url": HTTPS}}]}]},
    ),
    "a file": chat({"type": "file", "file": {"filename": "a", "file_data": HTTPS}}, max_tokens=1),
    "a file of responses": responses({"type": "input_file", "file_url": HTTPS}, max_output_tokens=1),
    "a document": messages({"type": "document", "source": {"type": "url", "url": HTTPS}}),
    "a document of text": messages({"type": "document", "source": {"type": "text", "data": WORDS}}),
    "a document of images": messages({"type": "document", "source": {"type": "content", "content": [RESULT]}}),
    "audio": chat({"type": "input_audio", "input_audio": {"data": BASE64, "format": "mp3"}}, max_tokens=1),
    "video": chat({"type": "video_url", "video_url": {"url": HTTPS}}, max_tokens=1),
    "video of chats, the older form": chat({"type": "input_video", "video_url": {"url": HTTPS}}, max_tokens=1),
    "video of responses": responses({"type": "input_video", "video_url": HTTPS}, max_output_tokens=1),
    "an upload": messages({"type": "container_upload", "file_id": "f"}),
}


@pytest.mark.parametrize("listed", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize(("path", "body"), BODIES.values(), ids=BODIES.keys())
def test_upstream_cannot_take_more_than_was_reserved(path: str, body: dict[str, Any], listed: dict[str, Any]) -> None:
    model, given = model_of(listed), encode_body({"model": listed["id"], **body})
    bound = bound_of(given, model, path)
    sent = orjson.loads(bounded(given, model, path, bound))
    assert 0 < pricing.most(path, sent, {}, listed) * 1e6 <= bound.microusd


@pytest.mark.parametrize(
    "kind",
    ["a file", "a document", "audio", "video", "video of responses", "an upload", "a file that is called an image"],
)
def test_what_may_be_of_any_length_fills_the_largest_window_at_the_dearest_price(kind: str) -> None:
    path, body = BODIES[kind]
    assert bound_of(encode_body(body), model_of(OMNI), path).microusd >= 200_000 * 100


@pytest.mark.parametrize(
    "part",
    [{"type": "something new", "url": HTTPS}, {"url": HTTPS}, {"type": ["image"], "url": HTTPS}, {"type": "Image_URL"}],
    ids=str,
)
def test_what_is_not_known_may_be_of_any_length(part: dict[str, Any]) -> None:
    path, body = chat(part, max_tokens=1)
    assert bound_of(encode_body(body), model_of(OMNI), path).microusd >= 200_000 * 100


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "hi"},
        {"text": "hi"},
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"url": HTTPS}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "hi"}]},
        {"type": "web_search_tool_result", "content": [{"type": "text", "text": "hi"}]},
        {"type": "document", "source": {"type": "text", "data": "hi"}},
        {"type": "output_text", "text": "hi", "annotations": []},
    ],
    ids=lambda part: str(part.get("type")),
)
def test_texts_and_calls_count_by_their_bytes(part: dict[str, Any]) -> None:
    path, body = chat(part, max_tokens=1)
    assert bound_of(encode_body(body), model_of(OMNI), path).microusd < 2000 * 4


def test_a_file_at_a_model_without_a_window_is_refused() -> None:
    listed = {**OMNI, "context_length": None, "top_provider": {}}
    path, body = BODIES["video"]
    with pytest.raises(BadRequest, match="no price that is known beforehand"):
        bound_of(encode_body(body), model_of(listed), path)
    path, body = BODIES["chat"]
    assert bound_of(encode_body(body), model_of(listed), path).microusd


@pytest.mark.parametrize(
    "listed",
    [
        record("g/draws", architecture={"output_modalities": ["image", "text"]}),
        record("g/draws-too", pricing={"image_output": "0.00006"}),
        record("o/speaks", pricing={"audio_output": "0.000064"}),
        record("p/sonar", pricing={"web_search": "0.005"}, supported_parameters=["max_tokens", "web_search_options"]),
        record("p/sonar-pro-search", pricing={"web_search": "0.018"}, supported_parameters=["tools"]),
    ],
    ids=lambda one: str(one["id"]),
)
def test_models_that_take_money_for_what_no_field_limits_are_refused(listed: dict[str, Any]) -> None:
    path, body = chat()
    with pytest.raises(BadRequest, match="no price that is known beforehand"):
        bound_of(encode_body(body), model_of(listed), path)


def test_models_that_search_only_if_asked_are_not_refused() -> None:
    listed = record("o/gpt", pricing={"web_search": "0.01"}, supported_parameters=["tools", "web_search_options"])
    path, body = chat()
    assert bound_of(encode_body(body), model_of(listed), path).microusd
