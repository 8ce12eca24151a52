"""What the names that people made mean now, in words."""

from __future__ import annotations

import pytest

from ollama_proxy.ops.status.name_states import meaning, shadowed
from tests.unit.catalog.personas import library, persona
from tests.unit.catalog.test_target import named


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("note:free", ("a/note:free", None), id="a model"),
        pytest.param("embed:free", ("v/embed:free", None), id="one that embeds"),
        pytest.param("free", ("free:latest", None), id="a virtual model"),
        pytest.param("mario", ("a/note:free", None), id="a persona"),
        pytest.param("nobody", (None, "no model here is called so"), id="nothing"),
        pytest.param("secret:free", (None, "a filter keeps the model out"), id="kept out"),
        pytest.param("twin:free", (None, "several models are called so: x/twin:free, y/twin:free"), id="two"),
    ],
)
def test_meaning(name: str, expected: tuple[str | None, str | None]) -> None:
    assert meaning(named().resolve_exactly(name)) == expected


def test_a_persona_shadows_only_what_is_listed() -> None:
    catalog = named().with_personas(library(persona("note:latest"), persona("secret:free")))
    assert [shadowed(catalog, name) for name in ("note:latest", "secret:free", "mario")] == ["a/note:free", None, None]
