"""Listed names, and what is a name at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.catalog.names import assign_names, is_valid_id, is_valid_name, tagged, variant
from ollama_proxy.catalog.virtual import is_reserved


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        pytest.param(["openai/gpt-4o"], ["gpt-4o:latest"], id="vendor dropped, tag shown"),
        pytest.param(
            ["deepseek/deepseek-chat-v3-0324:free"], ["deepseek-chat-v3-0324:free"], id="a variant is the tag"
        ),
        pytest.param(["a/x", "a/x:free"], ["x:latest", "x:free"], id="variants do not collide"),
        pytest.param(["a/x", "b/x"], ["a/x:latest", "b/x:latest"], id="two vendors keep both"),
        pytest.param(["a/X", "b/x", "b/y"], ["a/X:latest", "b/x:latest", "y:latest"], id="collision without case"),
        pytest.param(
            ["a/x", "b/x", "b/x:free"], ["a/x:latest", "b/x:latest", "x:free"], id="only what collides keeps it"
        ),
        pytest.param(["~z/glm-latest"], ["glm-latest:latest"], id="alias"),
        pytest.param(["openrouter/free"], ["openrouter/free:latest"], id="free is reserved"),
        pytest.param(["openrouter/free", "gpt"], ["openrouter/free:latest", "gpt:latest"], id="no vendor at all"),
        pytest.param(["openai/gpt", "gpt"], ["openai/gpt:latest", "gpt:latest"], id="an id's own name wins"),
        pytest.param(["h/a/x", "a/x"], ["h/a/x:latest", "x:latest"], id="a short name is no other id"),
        pytest.param(["a/x:free:nitro"], ["x:free:nitro"], id="two suffixes"),
    ],
)
def test_listed_names(ids: list[str], names: list[str]) -> None:
    assert assign_names(ids, is_reserved=is_reserved) == dict(zip(ids, names, strict=True))


def test_ids_that_cannot_be_told_apart_count_once() -> None:
    assert assign_names(["a/x", "A/x", "a/x:latest"]) == {"a/x": "x:latest"}


PART = st.text("aAbB0.-", min_size=1, max_size=2).filter(lambda part: part[0] not in ".-")
IDS = st.builds(
    lambda vendor, slug, tag: vendor + slug + tag,
    st.one_of(st.just(""), PART.map("{}/".format), st.builds("{}/{}/".format, PART, PART), PART.map("~{}/".format)),
    PART | st.just("free"),
    st.sampled_from(["", ":free", ":thinking", ":latest", ":free:nitro"]),
)


@given(st.lists(IDS, max_size=12))
def test_names_are_unique_without_case_and_tagged(ids: list[str]) -> None:
    names = assign_names(ids, is_reserved=is_reserved)
    assert len({name.lower() for name in names.values()}) == len(names)
    assert all(variant(name) for name in names.values())
    assert "free:latest" not in [name for model_id, name in names.items() if "/" in model_id]
    kept = {tagged(model_id).lower(): model_id for model_id in reversed(names)}
    for model_id, name in names.items():
        assert kept.get(name.lower(), model_id) == model_id, "a name must not be another model's full id"


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        " gpt-4o:latest ",
        "deepseek/deepseek-chat-v3-0324:free",
        "meta-llama/llama-3.1-8b-instruct:free",
        "a/b/c:free",
        "registry.ollama.ai/library/llama3:8b",
        "http://localhost:11434/library/llama3",
        "z.ai/glm",
        "~anthropic/claude-latest",
        "gpt-oss:20b-cloud",
        "_x",
        "x" * 80,
    ],
)
def test_valid_names(name: str) -> None:
    assert is_valid_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "!bad", "a b", "a\nb", "modèle"),
        *("plain:", ":x", "//m", "/m", "a/", "x/y/z/w", "x:local:cloud"),
        *("@preset/foo", "x@sha256:abc", "-x", ".x"),
        *("x" * 81, "x:" + "y" * 81),
    ],
)
def test_invalid_names(name: str) -> None:
    assert not is_valid_name(name)


@given(st.text(max_size=30))
def test_any_text_can_be_judged(text: str) -> None:
    assert is_valid_name(text) in (True, False)
    assert is_valid_id(text) in (True, False)


@pytest.mark.parametrize(
    ("name", "tag"), [("x", ""), ("x:FREE", "free"), ("host:80/ns/x", ""), ("a/x:free:nitro", "nitro"), ("x:", "")]
)
def test_variant(name: str, tag: str) -> None:
    assert variant(name) == tag
