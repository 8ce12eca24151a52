"""What a name means, found once: a model, a virtual model, or a refusal."""

from __future__ import annotations

from datetime import date

import pytest

from ollama_proxy.catalog.aliases import aliases_of
from ollama_proxy.catalog.filters import Filters, parse_lines
from ollama_proxy.catalog.scope import Scope
from ollama_proxy.catalog.snapshot import Catalog, NameKind
from ollama_proxy.catalog.target import Target, chat_target, embedding_target, persona_targets, served_target
from ollama_proxy.catalog.virtual import FREE, VIRTUAL_MODELS
from ollama_proxy.errors import BadRequest, ModelNotFound, ProxyError
from tests.unit.catalog.free_models import PAID, catalog_of, record
from tests.unit.catalog.personas import library, persona

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


def test_a_name_is_unknown_only_if_nobody_has_made_a_persona_of_it_meanwhile() -> None:
    known, asked = catalog(), []

    def newer() -> Catalog:
        asked.append(1)
        return known.with_personas(library(persona("mario:latest", "a/note:free", system="It's me.")))

    for name in ("note", "free", "mario"):
        target = chat_target(name, known, strict=False, newer=newer)
        assert (target.persona is not None) is (name == "mario")
    assert chat_target("mario", known, strict=True, newer=newer).persona is not None
    assert chat_target("nosuch", known, strict=False, newer=newer).virtual is FREE
    assert len(asked) == 3, "it is not asked for names that are known"


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


# Personas and aliases

LIBRARY = library(
    persona("mario:latest", "a/note:free", modified=1.0),
    persona("best:latest", "free:fast", modified=2.0),
    persona("dear:latest", "b/paid", modified=3.0),
    persona("lost:latest", "c/gone:free", modified=4.0),
    persona("hidden:latest", "s/secret:free", modified=5.0),
    persona("vectors:latest", "v/embed:free", modified=6.0),
    persona("x/note:tag", "a/note:free", modified=7.0),
)
ALIASES = aliases_of(
    [
        ("claude-haiku-*", "free:fast"),
        ("claude-*", "mario"),
        ("gpt-embed", "embed:free"),
        ("twin", "y/twin:free"),
        ("secret", "note:free"),
        ("note", "free"),
        ("chain", "claude-x"),
        ("to-secret", "s/secret:free"),
        ("to-paid", "b/paid"),
    ]
)


def named(*, free_mode: bool = True) -> Catalog:
    """The catalogue above with a model that a filter keeps out, with personas and aliases."""
    records = [
        record("a/note:free"),
        record("b/paid", pricing=PAID),
        record("s/secret:free"),
        record("x/twin:free"),
        record("y/twin:free"),
    ]
    return Catalog.build(
        records,
        [record("v/embed:free", architecture=EMBEDS)],
        free_mode=free_mode,
        tool_use_only=False,
        filters=Filters((), parse_lines("!secret")),
        today=date(2026, 8, 22),
        fetched_at=0.0,
        aliases=ALIASES,
    ).with_personas(LIBRARY)


def outcome(
    name: str, *, strict: bool, free_mode: bool = True, embeds: bool = False, catalog: Catalog | None = None
) -> str:
    """What a name means, in one word: an id, a virtual model's name, the kind of a refusal; `+` with a persona."""
    everything = catalog or named(free_mode=free_mode)
    try:
        target = embedding_target(name, everything) if embeds else chat_target(name, everything, strict=strict)
    except ProxyError as error:
        return type(error).__name__
    found = target.model.id if target.model else f"{target.virtual.name} {target.order}" if target.virtual else ""
    return found + (f" + {target.persona.name}" if target.persona else "")


@pytest.mark.parametrize(
    ("name", "free", "strict", "paid"),
    [
        pytest.param("mario", *["a/note:free + mario:latest"] * 3, id="a persona is its base with what it says"),
        pytest.param(" MARIO:latest ", *["a/note:free + mario:latest"] * 3, id="its name without regard to case"),
        pytest.param("x/note:tag", *["a/note:free + x/note:tag"] * 3, id="with a vendor and a tag"),
        pytest.param("x/note", "free:latest None", "ModelNotFound", "ModelNotFound", id="another tag is another name"),
        pytest.param("best", *["free:fast fast + best:latest"] * 3, id="of a virtual model, with its order"),
        pytest.param("dear", "free:latest None + dear:latest", "ModelNotFound", "b/paid + dear:latest", id="paid base"),
        pytest.param("lost", "free:latest None + lost:latest", "ModelNotFound", "ModelNotFound", id="its base is gone"),
        pytest.param("hidden", *["ModelNotFound"] * 3, id="its base is kept out"),
        pytest.param("vectors", *["BadRequest"] * 3, id="one that embeds does not chat"),
        pytest.param("claude-haiku-4-5", *["free:fast fast"] * 3, id="an alias of a virtual model"),
        pytest.param("claude-opus-5", *["a/note:free + mario:latest"] * 3, id="an alias of a persona"),
        pytest.param("chain", "free:latest None", "ModelNotFound", "ModelNotFound", id="no alias of an alias"),
        pytest.param("to-secret", *["ModelNotFound"] * 3, id="filters hold for what an alias means"),
        pytest.param("to-paid", "free:latest None", "ModelNotFound", "b/paid", id="and so does free mode"),
        pytest.param("gpt-embed", *["BadRequest"] * 3, id="an alias of one that embeds"),
        pytest.param("twin:free", "ModelNotFound", "ModelNotFound", "ModelNotFound", id="two models, and no alias"),
        pytest.param("twin", "y/twin:free", "y/twin:free", "y/twin:free", id="an alias says which one is meant"),
        pytest.param("secret", *["a/note:free"] * 3, id="an alias stands for a model that is kept out"),
        pytest.param("note:free", *["a/note:free"] * 3, id="a listed name"),
        pytest.param("note", "a/note:free", "a/note:free", "free:latest balanced", id="a listed name before an alias"),
        pytest.param("a b", *["BadRequest"] * 3, id="no name"),
    ],
)
def test_personas_and_aliases(name: str, free: str, strict: str, paid: str) -> None:
    assert outcome(name, free_mode=True, strict=False) == free
    assert outcome(name, free_mode=True, strict=True) == strict
    assert outcome(name, free_mode=False, strict=False) == paid


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("vectors", "v/embed:free + vectors:latest", id="a persona of an embedding model"),
        pytest.param("gpt-embed", "v/embed:free", id="an alias of one"),
        pytest.param("mario", "BadRequest", id="a persona that chats"),
        pytest.param("best", "BadRequest", id="a persona of a virtual model"),
        pytest.param("claude-haiku-4-5", "ModelNotFound", id="an alias of a virtual model, which does not embed"),
        pytest.param("lost", "ModelNotFound", id="its base is gone"),
        pytest.param("hidden", "ModelNotFound", id="its base is kept out"),
    ],
)
def test_personas_and_aliases_embed(name: str, expected: str) -> None:
    for free_mode in (True, False):
        assert outcome(name, free_mode=free_mode, strict=True, embeds=True) == expected


def test_who_cannot_be_answered_is_told_that_the_base_is_gone() -> None:
    with pytest.raises(ModelNotFound, match="model 'lost' not found: its base 'c/gone:free' is gone"):
        chat_target("lost", named(), strict=True)
    with pytest.raises(ModelNotFound, match=r"^model 'hidden' not found$"):
        chat_target("hidden", named(), strict=False)


def test_a_persona_made_of_a_paid_model_means_its_free_variant_in_free_mode() -> None:
    both = catalog_of(record("z/glm", pricing=PAID), record("z/glm:free"))
    assert both.with_personas(library(persona(base="z/glm"))).resolve("mario").model.id == "z/glm:free"


def test_a_model_that_appears_later_takes_no_personas_place() -> None:
    later = catalog_of(record("z/mario:free"), record("a/note:free")).with_personas(LIBRARY)
    assert outcome("mario", free_mode=True, strict=True) == "a/note:free + mario:latest"
    assert later.resolve("mario").persona is not None
    assert later.resolve("z/mario:free").persona is None


@pytest.mark.parametrize(
    ("free_mode", "strict", "expected"),
    [
        pytest.param(True, False, "x/note:tag vectors lost dear best mario", id="free mode answers for lost bases"),
        pytest.param(True, True, "x/note:tag vectors best mario", id="strictly it does not"),
        pytest.param(False, False, "x/note:tag vectors dear best mario", id="paid mode"),
    ],
)
def test_personas_are_listed_newest_first_if_anybody_would_answer(free_mode: bool, strict: bool, expected: str) -> None:
    targets = persona_targets(named(free_mode=free_mode), strict=strict)
    assert " ".join(target.name.removesuffix(":latest") for target in targets) == expected


def test_other_personas_make_another_catalogue_and_change_nothing_else() -> None:
    before = named()
    after = before.with_personas({})
    assert before.resolve("mario").kind is NameKind.MODEL
    assert after.resolve("mario").kind is NameKind.UNKNOWN
    assert after.models is before.models
    assert after.without({"a/note:free"}).personas is after.personas


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("mario", "ModelNotFound", id="its base is out of scope"),
        pytest.param("best", "free:fast fast + best:latest", id="a virtual model is what is left of it"),
        pytest.param("claude-opus-5", "ModelNotFound", id="an alias of what is out of scope"),
        pytest.param("twin", "y/twin:free", id="an alias of what is in scope"),
        pytest.param("note:free", "ModelNotFound", id="a listed name"),
    ],
)
def test_a_keys_scope_holds_for_what_personas_and_aliases_mean(name: str, expected: str) -> None:
    scoped = named().within(Scope(("y/twin:free",)))
    assert outcome(name, strict=True, catalog=scoped) == expected
    assert [target.name for target in persona_targets(scoped, strict=True)] == ["best:latest"]
