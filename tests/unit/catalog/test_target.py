"""What a name means, found once: a model, a virtual model, or a refusal."""

from __future__ import annotations

import pytest

from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Target, chat_target, embedding_target, served_target
from ollama_proxy.catalog.virtual import FREE, VIRTUAL_MODELS
from ollama_proxy.errors import BadRequest, ModelNotFound
from tests.unit.catalog.free_models import PAID, catalog_of, record

EMBEDS = {"input_modalities": ["text"], "output_modalities": ["embeddings"]}


def catalog(*, free_mode: bool = True) -> Catalog:
    return catalog_of(
        record("a/note:free"),
        record("b/paid", pricing=PAID),
        record("x/twin:free"),
        record("y/twin:free"),
        free_mode=free_mode,
        embeddings=[record("v/embed:free", architecture=EMBEDS)],
    )


def meant(target: Target) -> tuple[str | None, str | None, str]:
    return target.model.id if target.model else None, target.virtual.name if target.virtual else None, target.order


@pytest.mark.parametrize(
    ("name", "free_mode", "expected"),
    [
        pytest.param("note", True, ("a/note:free", None, None), id="a model, and the free ones behind it"),
        pytest.param("free", True, (None, FREE.name, FREE.order), id="a virtual model"),
        pytest.param("free", False, (None, FREE.name, FREE.order), id="a virtual model outside free mode"),
        pytest.param("nosuch", True, (None, FREE.name, None), id="an unknown name in free mode"),
        pytest.param("b/paid", True, (None, FREE.name, None), id="a paid model is unknown in free mode"),
        pytest.param("b/paid", False, ("b/paid", None, None), id="a paid model"),
    ],
)
def test_what_a_name_means_to_chat(name: str, free_mode: bool, expected: tuple[str | None, str | None, str]) -> None:
    assert meant(chat_target(name, catalog(free_mode=free_mode), strict=False)) == expected


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        pytest.param("nosuch", ModelNotFound, "model 'nosuch' not found", id="unknown"),
        pytest.param("twin:free", ModelNotFound, "say which one you mean, 'x/twin:free' or 'y/twin:free'", id="two"),
        pytest.param("a b", BadRequest, "invalid model name", id="no name"),
        pytest.param("embed", BadRequest, '"embed" does not support chat', id="an embedding model"),
    ],
)
def test_what_means_nothing_to_chat(name: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        chat_target(name, catalog(), strict=True)
    assert words in str(caught.value)


def test_an_embedding_model_may_be_meant_where_it_can_be_unloaded() -> None:
    assert chat_target("embed", catalog(), strict=True, may_embed=True).embeds


@pytest.mark.parametrize(
    ("name", "kind"),
    [("free", ModelNotFound), ("nosuch", ModelNotFound), ("note", BadRequest), ("a b", BadRequest)],
    ids=["virtual", "unknown", "a chat model", "no name"],
)
def test_only_embedding_models_embed(name: str, kind: type[Exception]) -> None:
    assert embedding_target("embed", catalog()).model is not None
    with pytest.raises(kind):
        embedding_target(name, catalog())


def test_who_asks_first_is_told_what_would_answer() -> None:
    everything = catalog()
    for name in ("note", "embed", "free"):
        assert served_target(name, everything, strict=True).name == name
    for name in ("nosuch", "b/paid"):
        assert served_target(name, everything, strict=False).virtual is FREE, name
        with pytest.raises(ModelNotFound):
            served_target(name, everything, strict=True)
    for free_mode in (True, False):
        with pytest.raises(ModelNotFound):  # nothing free, no free model
            served_target("free", catalog_of(record("b/paid", pricing=PAID), free_mode=free_mode), strict=False)


def test_the_names_of_virtual_models_are_listed_names() -> None:
    assert all(name == model.name == name.lower() and ":" in name for name, model in VIRTUAL_MODELS.items())
