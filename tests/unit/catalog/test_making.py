"""What a new persona inherits, what it may be called, and what it may be made from; outside free mode as well."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ollama_proxy.catalog.filters import Filters
from ollama_proxy.catalog.making import Draft, Origin, check_free, copied, made, origin_of, spelled, stored_layers
from ollama_proxy.catalog.persona import persona_digest
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.errors import BadRequest, ModelNotFound
from simulator.catalogue import record
from tests.unit.catalog.personas import library, persona

IDS = ("a/note:free", "a/note", "b/note:free", "a/song:free", "anthropic/claude-haiku-4.5", "c/paid")


def catalog(*, free_mode: bool = True, **known: Any) -> Catalog:
    records = [record(model_id) for model_id in IDS]
    built = Catalog.build(
        records,
        [],
        free_mode=free_mode,
        tool_use_only=False,
        filters=Filters(),
        today=date(2026, 5, 1),
        fetched_at=0.0,
    )
    return built.with_personas(library(*(persona(name, **fields) for name, fields in known.items())))


NAMES = {
    # name: taken in free mode, taken outside it
    "free": (True, True),
    "FREE:anything": (True, True),
    "song": (True, False),
    "song:latest": (True, False),
    "song:free": (True, True),
    "A/Song:free": (True, True),
    "a/note": (True, True),
    "note": (False, True),
    "c/paid": (False, True),
    "paid": (False, True),
    "claude-haiku-4-5": (False, True),
    "claude-haiku-4-5-20251001": (False, True),
    "gpt-4o": (False, False),
    "song:mine": (False, False),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("free_mode", [True, False])
def test_names_of_listed_models_are_taken(name: str, free_mode: bool) -> None:
    models = catalog(free_mode=free_mode)
    if NAMES[name][0 if free_mode else 1]:
        with pytest.raises(BadRequest, match="choose another name"):
            check_free(name, models)
    else:
        check_free(name, models)


def test_a_persona_whose_name_a_model_has_by_now_can_be_changed() -> None:
    check_free("SONG", catalog(**{"song:latest": {}}))


BASES = {
    "song": "a/song:free",
    "free:FAST": "free:fast",
    "mario": "a/song:free",
    "b/note:free": "b/note:free",
}


@pytest.mark.parametrize("name", BASES)
def test_what_a_persona_is_made_from(name: str) -> None:
    found = origin_of(name, catalog(**{"mario:latest": {"base": "a/song:free"}}))
    assert found.base == BASES[name]
    assert (found.persona is not None) is (name == "mario")


@pytest.mark.parametrize(("name", "error"), [("paid", ""), ("nosuch", ""), ("note", "say which one you mean")])
def test_an_unknown_base_never_means_the_free_models(name: str, error: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        origin_of(name, catalog())
    assert caught.value.message.startswith(error)
    assert bool(caught.value.message) is bool(error)


def test_each_part_of_a_name_is_spelled_as_it_was() -> None:
    known = library(persona("Org/Mario:V2"), persona("luigi:latest"))
    assert spelled("ORG/LUIGI:v2", known) == "Org/luigi:V2"
    assert spelled("Peach", known) == "Peach:latest"


def test_a_persona_of_a_persona_is_flat() -> None:
    parent = persona(base="a/song:free", system="x", parameters={"seed": 1, "stop": ["a"]}, licenses=("MIT",))
    draft = Draft(parameters={"stop": ["b"], "seed": None, "top_p": 1.0}, licenses=("BSD",))
    child = made(draft, Origin(parent.base, parent), "child:latest", 5.0)
    assert (child.base, child.system, child.licenses) == ("a/song:free", "x", ("MIT", "BSD"))
    assert child.parameters == {"seed": 1, "stop": ["b"], "top_p": 1}
    assert (child.created, child.modified, child.digest) == (5.0, 5.0, persona_digest(child))


def test_the_digest_is_over_what_it_says() -> None:
    origin = Origin("a/song:free")
    same = [made(Draft(system="x", parameters={"top_p": top}), origin, name, time) for top, name, time in (
        (1, "a:latest", 1.0), (1.0, "b:latest", 2.0))]  # fmt: skip
    assert same[0].digest == same[1].digest == copied(Origin("a/song:free", same[0]), "c:latest", 3.0).digest
    others = [Draft(template="x"), Draft(licenses=("x",)), Draft(renderer="x"), Draft(system="y"), Draft()]
    assert len({made(draft, origin, "a:latest", 1.0).digest for draft in others} | {same[0].digest}) == 6
    assert made(Draft(), Origin("free:fast"), "a", 1.0).digest != made(Draft(), origin, "a", 1.0).digest


def test_a_layer_that_any_persona_has_is_not_new() -> None:
    draft = Draft(system="x", template="y")
    new = made(draft, Origin("a/song:free"), "new:latest", 1.0)
    assert [layer.existed for layer in stored_layers(new, draft, library(persona(system="x")))] == [False, True]
