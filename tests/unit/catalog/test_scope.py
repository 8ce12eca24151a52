"""What a key sees of the catalogue: lists, names, and nothing besides."""

from __future__ import annotations

import pytest

from ollama_proxy.catalog.scope import Scope, scope_of
from ollama_proxy.catalog.snapshot import Catalog, NameKind
from tests.unit.catalog.test_snapshot import build


def names(catalog: Catalog) -> list[str]:
    return [model.id for model in (*catalog.models, *catalog.embeddings)]


@pytest.mark.parametrize(
    ("scope", "free_mode", "expected"),
    [
        (Scope(("glm-5.2",)), True, ["z-ai/glm-5.2:free"]),
        (Scope(("glm-5.2",)), False, ["z-ai/glm-5.2"]),
        (Scope(("glm-5.2",), free_only=True), False, ["z-ai/glm-5.2:free"]),
        (Scope(("z-ai/*",)), False, ["z-ai/glm-5.2", "z-ai/glm-5.2:free"]),
        (Scope(("!z-ai/*", "!a*", "!b/*")), True, ["dots/note:free", "liquid/embed:free"]),
        (Scope(("*embed*",)), False, ["liquid/embed:free", "openai/embed-3"]),
        (Scope(("*embed*",), free_only=True), False, ["liquid/embed:free"]),
        (Scope(("no-such",)), True, []),
    ],
)
def test_lists_have_what_is_in_scope(scope: Scope, free_mode: bool, expected: list[str]) -> None:
    assert sorted(names(build(free_mode=free_mode).within(scope))) == sorted(expected)


def test_free_only_sees_no_model_that_costs_anything() -> None:
    seen = build(free_mode=False).within(Scope(free_only=True))
    assert names(seen)
    assert all(model.is_free for model in (*seen.models, *seen.embeddings, *seen.free))


@pytest.mark.parametrize("name", ["gpt-4o", "openai/gpt-4o", "openai/gpt-4o:extended", "glm-5.2"])
def test_a_name_out_of_scope_is_as_one_that_a_filter_keeps_out(name: str) -> None:
    seen = build(free_mode=False).within(Scope(("dots/*",)))
    assert seen.resolve(name).kind is NameKind.FILTERED
    assert not seen.allows("openai/gpt-4o")
    assert seen.resolve("note:free").kind is NameKind.MODEL


def test_a_short_name_of_several_models_names_none_out_of_scope() -> None:
    assert build(free_mode=True).within(Scope(("a/*",))).resolve("pair:free").candidates_text == ("a/pair:free",)


def test_free_means_the_best_in_scope() -> None:
    seen = build(free_mode=True).within(Scope(("glm*",)))
    assert seen.resolve("free").kind is NameKind.VIRTUAL
    assert [model.id for model in seen.free] == ["z-ai/glm-5.2:free"]


def test_a_scope_is_worked_out_once_and_none_is_the_catalogue_itself() -> None:
    catalog = build(free_mode=True)
    assert catalog.within(scope_of((), free_only=False)) is catalog
    assert catalog.within(Scope(("glm*",))) is catalog.within(Scope(("glm*",)))


def test_a_model_that_is_gone_is_gone_for_each_scope_and_what_was_worked_out_is_bounded() -> None:
    catalog, scope = build(free_mode=True), Scope(("glm*", "dots/*"))
    assert len(catalog.within(scope).free) == 2
    assert [model.id for model in catalog.without({"dots/note:free"}).within(scope).free] == ["z-ai/glm-5.2:free"]
    for number in range(200):
        catalog.within(Scope((f"x{number}",)))
    assert len(catalog._within) <= 64
