"""Which models may answer, and in what order."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.catalog.target import chat_target, embedding_target
from ollama_proxy.errors import BadRequest, ModelNotFound, PromptTooLong, ProxyError
from ollama_proxy.fallback.candidates import candidates
from ollama_proxy.fallback.needs import Needs, preferences
from tests.unit.catalog.free_models import PAID, catalog_of, record

RECORDS = (
    record("a/wide:free", 1_000_000, most=10_000),
    record("b/eyes:free", 200_000, sees=True),
    record("c/thinker:free", 100_000, can=["tools", "reasoning"]),
    record("d/plain:free", 50_000, can=[]),
    record("e/narrow:free", 8_000, sees=True, can=["reasoning"]),
    record("f/paid", 2_000_000, sees=True, pricing=PAID),
    record("g/paid-plain", 4_000, can=[], pricing=PAID),
)
EMBEDDINGS = [
    record("v/embed:free", 8_000, architecture={"input_modalities": ["text"], "output_modalities": ["embeddings"]})
]


def chosen(name: str = "free", free_mode: bool = True, strict: bool = False, **needs: Any) -> list[str]:
    catalog = catalog_of(*RECORDS, free_mode=free_mode, embeddings=EMBEDDINGS)
    found = candidates(chat_target(name, catalog, strict=strict), catalog, Needs(**needs))
    return [model.id.split("/")[1].removesuffix(":free") for model in found]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({}, ["wide", "eyes", "thinker", "plain", "narrow"], id="free: by usable context"),
        pytest.param({"name": "plain"}, ["plain", "wide", "eyes", "thinker", "narrow"], id="the asked model first"),
        pytest.param({"name": "whatever"}, ["wide", "eyes", "thinker", "plain", "narrow"], id="unknown means free"),
        pytest.param({"name": "f/paid"}, ["wide", "eyes", "thinker", "plain", "narrow"], id="a paid one is unknown"),
        pytest.param({"tools": True}, ["wide", "eyes", "thinker"], id="tools"),
        pytest.param({"images": True}, ["eyes", "narrow"], id="images"),
        pytest.param({"images": True, "tools": True}, ["eyes"], id="images and tools"),
        pytest.param({"schema": True}, ["wide", "eyes"], id="schema"),
        pytest.param({"name": "plain", "tools": True}, ["wide", "eyes", "thinker"], id="not the asked one, it cannot"),
        pytest.param({"thinking": True}, ["thinker", "narrow"], id="thinking"),
        pytest.param(
            {"name": "plain", "thinking": True}, ["plain", "thinker", "narrow"], id="thinking: the asked one may not"
        ),
        pytest.param({"thinking": True, "schema": True}, ["wide", "eyes"], id="thinking: none can, so without"),
        pytest.param({"prompt_tokens": 60_000}, ["wide", "eyes", "thinker"], id="the prompt must fit"),
        pytest.param({"prompt_tokens": 45_000, "output_tokens": 6_000}, ["wide", "eyes", "thinker"], id="and answer"),
        pytest.param({"prompt_tokens": 50_000}, ["wide", "eyes", "thinker", "plain"], id="exactly full is not over"),
        pytest.param(
            {"prompt_tokens": 900_000, "output_tokens": 500_000}, ["wide"], id="asked output as cut for it"
        ),
        pytest.param({"name": "f/paid", "free_mode": False}, ["paid"], id="outside free mode only the asked one"),
        pytest.param(
            {"name": "g/paid-plain", "free_mode": False, "prompt_tokens": 9_999},
            ["paid-plain"],
            id="outside free mode OpenRouter judges the size",
        ),
        pytest.param(
            {"free_mode": False}, ["wide", "eyes", "thinker", "plain", "narrow"], id="free works outside free mode"
        ),
        pytest.param({"free_mode": False, "images": True}, ["eyes", "narrow"], id="and looks at the needs there too"),
    ],
)  # fmt: skip
def test_who_may_answer(asked: dict[str, Any], expected: list[str]) -> None:
    assert chosen(**asked) == expected


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        pytest.param({"name": "whatever", "strict": True}, ModelNotFound, "'whatever' not found", id="strict"),
        pytest.param({"name": "f/paid", "strict": True}, ModelNotFound, "not found", id="strict: a paid one"),
        pytest.param({"name": "nope", "free_mode": False}, ModelNotFound, "not found", id="unknown outside free mode"),
        pytest.param({"name": "v/embed:free"}, BadRequest, "does not support chat", id="embedding model"),
        pytest.param({"name": "///"}, BadRequest, "invalid model name", id="no name"),
        pytest.param(
            {"images": True, "schema": True, "tools": True, "prompt_tokens": 300_000}, BadRequest, "no free model does",
            id="nobody",
        ),
        pytest.param(
            {"name": "plain", "images": True, "tools": True, "prompt_tokens": 300_000}, BadRequest,
            '"plain" does not support tools', id="nobody: what the asked one lacks",
        ),
        pytest.param(
            {"prompt_tokens": 2_000_000}, PromptTooLong, "2000000 tokens > 1000000 maximum", id="too long for all",
        ),
        pytest.param(
            {"images": True, "prompt_tokens": 300_000}, BadRequest, "does not support image input",
            id="the most common lack is named",
        ),
        pytest.param(
            {"name": "g/paid-plain", "free_mode": False, "tools": True}, BadRequest,
            '"g/paid-plain" does not support tools', id="outside free mode: what the asked one lacks",
        ),
    ],
)  # fmt: skip
def test_who_is_refused(asked: dict[str, Any], kind: type[ProxyError], words: str) -> None:
    with pytest.raises(kind) as caught:
        chosen(**asked)
    assert words in caught.value.message


def test_a_model_of_unknown_size_is_not_left_out_for_it() -> None:
    catalog = catalog_of(record("a/unknown:free", 0))
    found = candidates(chat_target("free", catalog, strict=False), catalog, Needs(prompt_tokens=10))
    assert [model.id for model in found] == ["a/unknown:free"]


def test_without_any_free_model_nothing_is_found() -> None:
    catalog = catalog_of(record("f/paid", pricing=PAID))
    with pytest.raises(ModelNotFound) as caught:
        candidates(chat_target("free", catalog, strict=False), catalog, Needs())
    assert "no free model" in caught.value.message


def test_no_model_stands_in_for_an_embedding_model() -> None:
    catalog = catalog_of(*RECORDS, embeddings=EMBEDDINGS)
    target = embedding_target("embed:free", catalog)
    assert [model.id for model in candidates(target, catalog, Needs())] == ["v/embed:free"]
    for name in ("free", "wide", "unknown"):
        with pytest.raises(ProxyError):
            embedding_target(name, catalog)


LISTING = (
    record("a/nothing:free", 900_000, can=["response_format"]),
    record("b/stops:free", 800_000, can=["response_format", "stop"]),
    record("c/all:free", 700_000, can=["response_format", "structured_outputs", "stop", "logprobs"]),
    record("d/schema:free", 600_000, can=["structured_outputs"]),
)


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        pytest.param("free", {}, "nothing stops all schema", id="no preference: by usable context"),
        pytest.param("free", {"stop": True}, "stops all nothing schema", id="stop"),
        pytest.param("free", {"stop": True, "logprobs": True}, "all nothing stops schema", id="stop and logprobs"),
        pytest.param("free", {"schema": True}, "all schema nothing stops", id="a schema"),
        pytest.param("free", {"schema": True, "stop": True}, "all schema stops nothing", id="a schema and stop"),
        pytest.param("schema", {"stop": True}, "schema stops all nothing", id="the asked one stays first for a wish"),
        pytest.param("nothing", {"schema": True}, "all schema nothing stops", id="but not if it enforces no schema"),
        pytest.param("schema", {"schema": True}, "schema all nothing stops", id="and if it does, it is first"),
    ],
)
def test_models_that_list_what_is_wanted_come_first(name: str, wanted: dict[str, bool], expected: str) -> None:
    catalog = catalog_of(*LISTING)
    preferred = preferences(**{"schema": False, "logprobs": False, "stop": False, **wanted})
    found = candidates(chat_target(name, catalog, strict=False), catalog, Needs(preferred=preferred))
    assert [model.id.split("/")[1].removesuffix(":free") for model in found] == expected.split()
