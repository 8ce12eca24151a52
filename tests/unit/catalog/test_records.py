"""Records of model lists, free detection and what a Model says of itself."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.catalog.free import costs_nothing
from ollama_proxy.catalog.records import Model, parse_record

TODAY = date(2026, 8, 22)
ZERO = {"prompt": "0", "completion": "0"}


def record(model_id: str = "acme/bolt:free", **changes: Any) -> dict[str, Any]:
    whole = {
        "id": model_id,
        "name": "Acme: Bolt (free)",
        "created": 1_750_000_000,
        "context_length": 131_072,
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "pricing": dict(ZERO),
        "top_provider": {"context_length": 131_072, "max_completion_tokens": 8192},
        "supported_parameters": ["temperature", "tools"],
        "expiration_date": None,
    }
    return {**whole, **changes}


def model(raw: dict[str, Any], **options: Any) -> Model:
    found = parse_record(raw, today=TODAY, **options)
    assert found is not None
    return found


def architecture(inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    return {"input_modalities": inputs, "output_modalities": outputs}


FREE = [
    pytest.param(record(), True, id="zero price and the suffix"),
    pytest.param(record("acme/bolt"), False, id="no suffix"),
    pytest.param(record("openrouter/free"), False, id="the router is not a candidate"),
    pytest.param(record("stealth/ox-alpha"), False, id="stealth model"),
    pytest.param(record("stealth/ox-alpha:free"), False, id="stealth model with the suffix"),
    pytest.param(record(pricing={"prompt": "0", "completion": "0.0000001"}), False, id="completion costs"),
    pytest.param(record(pricing={"prompt": "0"}), False, id="price absent"),
    pytest.param(record(pricing=None), False, id="no prices"),
    pytest.param(record(pricing={"prompt": "-1", "completion": "-1"}), False, id="variable price"),
    pytest.param(record(pricing={**ZERO, "image": "0.01"}), False, id="another price"),
    pytest.param(record(pricing={**ZERO, "image": "0", "request": None}), True, id="other prices zero or null"),
    pytest.param(record(pricing={"prompt": "0.000", "completion": 0}), True, id="zero written otherwise"),
    pytest.param(record(pricing={"prompt": "zero", "completion": "0"}), False, id="price that cannot be read"),
    pytest.param(record(pricing={**ZERO, "overrides": []}), True, id="overrides is a list"),
    pytest.param(
        record(pricing={**ZERO, "overrides": [{"min_prompt_tokens": 256_000, "prompt": "0", "completion": "0"}]}),
        True,
        id="conditions of an override are no prices",
    ),
    pytest.param(
        record(pricing={**ZERO, "overrides": [{"min_prompt_tokens": 256_000, "prompt": "0.000001"}]}),
        False,
        id="long prompts cost",
    ),
    pytest.param(record(architecture=architecture(["text"], ["text", "audio"])), False, id="answers with audio too"),
    pytest.param(record(architecture=architecture(["audio"], ["text"])), False, id="takes no text"),
    pytest.param(record(architecture=architecture(["image", "text"], ["text"])), True, id="takes images too"),
    pytest.param(record(architecture={"modality": "text+image->text"}), True, id="old record without lists"),
    pytest.param(record(expiration_date="2026-08-21"), False, id="expired yesterday"),
    pytest.param(record(expiration_date="2026-08-22"), True, id="expires today"),
    pytest.param(record(expiration_date="2098-12-31"), True, id="no end"),
    pytest.param(record("acme/content-safety-9b:free"), False, id="a classifier"),
    pytest.param(record("acme/llama-guard:free"), False, id="a guard"),
]


@pytest.mark.parametrize(("raw", "expected"), FREE)
def test_free(raw: dict[str, Any], expected: bool) -> None:
    assert model(raw).is_free is expected


def test_a_free_embedding_model_answers_with_embeddings_only() -> None:
    raw = record(architecture=architecture(["text"], ["embeddings"]))
    found = model(raw)
    assert (found.is_free, found.is_embedding, found.capabilities) == (True, True, ["embedding"])


def test_stealth_is_recognised_only_when_it_costs_nothing() -> None:
    assert model(record("stealth/ox-alpha")).is_stealth
    assert not model(record("stealth/ox-alpha", pricing={"prompt": "0.1", "completion": "0"})).is_stealth
    assert not model(record()).is_stealth


@pytest.mark.parametrize(
    ("headline", "endpoint", "usable"),
    [
        pytest.param(256_000, 32_768, 32_768, id="the endpoint takes less"),
        pytest.param(32_768, 256_000, 32_768, id="the headline is less"),
        pytest.param(200_000, None, 200_000, id="null for routers"),
        pytest.param(None, 4096, 4096, id="no headline"),
        pytest.param(8192, 0, 8192, id="zero says nothing"),
        pytest.param("8192", True, 0, id="wrong types say nothing"),
    ],
)
def test_usable_context(headline: object, endpoint: object, usable: int) -> None:
    raw = record(context_length=headline, top_provider={"context_length": endpoint})
    assert model(raw).context_length == usable


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"supported_parameters": []}, ["completion"], id="plain"),
        pytest.param({"supported_parameters": ["tool_choice"]}, ["completion"], id="tool_choice alone is not tools"),
        pytest.param({"architecture": architecture(["text", "image"], ["text"])}, ["completion", "vision", "tools"]),
        pytest.param({"supported_parameters": ["include_reasoning"]}, ["completion", "thinking"], id="by parameter"),
        pytest.param({"supported_parameters": [], "reasoning": {"mandatory": True}}, ["completion", "thinking"]),
    ],
)
def test_capabilities(changes: dict[str, Any], expected: list[str]) -> None:
    assert model(record(**changes)).capabilities == expected


def test_reasoning_and_form() -> None:
    raw = record(reasoning={"mandatory": True, "supported_efforts": ["high", 3, "low"]})
    found = model({**raw, "supported_parameters": ["tool_choice", "response_format"]})
    assert found.reasoning_mandatory
    assert found.supported_efforts == ("high", "low")
    assert (found.tools, found.lists_tools, found.json_schema) == (False, True, True)
    assert not model(record()).reasoning_mandatory
    assert model(record()).supported_efforts == ()


@pytest.mark.parametrize(
    ("model_id", "family", "size"),
    [
        ("openai/gpt-oss-120b:free", "openai", "120B"),
        ("x-ai/grok-4.1-fast", "x-ai", ""),
        ("z.ai/glm-5.2", "z-ai", ""),
        ("~anthropic/claude-haiku-latest", "anthropic", ""),
        ("mistralai/mixtral-8x22b-instruct", "mistralai", "8X22B"),
        ("nvidia/nemotron-3-ultra-550b-a55b:free", "nvidia", "550B"),
        ("google/gemma-3n-e4b-it", "google", "E4B"),
        ("liquid/lfm-2.5-embedding-350m:free", "liquid", "350M"),
        ("acme/chat-1m", "acme", ""),
        ("llama3.1", "llama3", ""),
    ],
)
def test_family_and_size(model_id: str, family: str, size: str) -> None:
    found = model(record(model_id))
    assert (found.family, found.parameter_size) == (family, size)


@pytest.mark.parametrize(
    "junk",
    [
        None,
        "text",
        [],
        {},
        {"id": None},
        {"id": 5},
        {"id": ""},
        {"id": "a b/c"},
        {"id": "a/b\r\nX-Evil: 1"},
        {"id": "/x"},
        {"id": "x/"},
        {"id": "a//b"},
        {"id": "a/b:"},
        {"id": "a/:free"},
        {"id": "~/x"},
        {"id": "modèle/x"},
    ],
)
def test_junk_is_no_model(junk: object) -> None:
    assert parse_record(junk, today=TODAY) is None


def test_wrong_types_fall_back_to_defaults() -> None:
    names = (
        "name created context_length architecture pricing top_provider supported_parameters reasoning expiration_date"
    )
    for wrong in (None, 7, "x", [1], {"a": [1]}, True, float("nan")):
        found = model({"id": "acme/bolt:free", **dict.fromkeys(names.split(), wrong)})
        assert found.is_free is False
        assert len(found.digest) == 64


def test_digest_changes_with_what_matters_and_with_nothing_else() -> None:
    first = model(record(), name="bolt:free")
    same = record(description="new words", benchmarks={"x": 1}, links={"details": "/y"})
    same["supported_parameters"] = ["tools", "temperature"]
    assert model(same).digest == first.digest
    assert int(first.digest, 16) >= 0
    assert len(first.digest) == 64
    for change in (
        {"context_length": 4096},
        {"supported_parameters": ["temperature"]},
        {"pricing": {"prompt": "1", "completion": "0"}},
        {"expiration_date": "2026-09-30"},
        {"reasoning": {"mandatory": True}},
        {"id": "acme/bolt"},
    ):
        assert model({**record(), **change}).digest != first.digest, change


def test_a_model_can_be_a_key() -> None:
    assert len({model(record()), model(record()), model(record("acme/other"))}) == 2


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["0", "-1", "sNaN"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([*record(), "reasoning", "prompt", "completion", "overrides", "input_modalities", "modality"])


@given(st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=4), max_size=8), st.booleans())
def test_no_record_raises(fields: dict[str, Any], embedding: bool) -> None:
    for raw in (fields, {**fields, "id": "acme/bolt:free"}):
        found = parse_record(raw, today=TODAY, is_embedding=embedding)
        if found is not None:
            assert hash(found) == hash(found)
            assert found.family
            assert set(found.capabilities) <= {"completion", "tools", "vision", "thinking", "embedding"}
            assert found.context_length >= 0
            assert isinstance(found.supported_efforts, tuple)
            assert isinstance(found.reasoning_mandatory, bool)


@given(st.dictionaries(KEYS, JSON, max_size=5))
def test_no_price_list_raises(pricing: dict[str, Any]) -> None:
    assert costs_nothing(pricing) in (True, False)
