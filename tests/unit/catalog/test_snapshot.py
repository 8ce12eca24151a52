"""The catalogue at one moment: lists, order and what a name means."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.catalog.filters import Filters, parse_lines
from ollama_proxy.catalog.snapshot import Catalog, NameKind
from tests.unit.catalog.test_names import IDS
from tests.unit.catalog.test_records import JSON, record

TODAY = date(2026, 8, 22)
RECORDINGS = os.environ.get("OPENROUTER_RECORDINGS")
recorded = pytest.mark.skipif(not RECORDINGS, reason="OPENROUTER_RECORDINGS is not set")


def paid(model_id: str, **changes: Any) -> dict[str, Any]:
    return record(model_id, pricing={"prompt": "0.000001", "completion": "0.000002"}, **changes)


def embedding(model_id: str, **changes: Any) -> dict[str, Any]:
    return record(model_id, architecture={"input_modalities": ["text"], "output_modalities": ["embeddings"]}, **changes)


CHAT = [
    paid("openai/gpt-4o", created=300),
    paid("openai/gpt-4o:extended", created=100),
    paid("openai/gpt-4o:batch", created=400),
    paid("z-ai/glm-5.2", created=200),
    record("z-ai/glm-5.2:free", context_length=32_768),
    record("dots/note:free", context_length=512_000, top_provider={}),
    record("acme/plain:free", context_length=512_000, top_provider={}, supported_parameters=[]),
    paid("a/twin", created=50),
    paid("b/twin", created=50),
    record("a/pair:free"),
    record("b/pair:free"),
    paid("~openai/gpt-latest", created=40),
    record("openrouter/free", created=30),
    paid("acme/painter", architecture={"input_modalities": ["text"], "output_modalities": ["image"]}),
    {"id": None},
    "junk",
]
EMBEDDING = [
    embedding("liquid/embed:free", supported_parameters=[]),
    embedding("openai/embed-3", pricing={"prompt": "0.1", "completion": "0"}, supported_parameters=[]),
]


def build(
    chat: list[Any] = CHAT,
    embeddings: list[Any] = EMBEDDING,
    *,
    free_mode: bool = True,
    tool_use_only: bool = False,
    names: str = "",
    parts: str = "",
    today: date = TODAY,
) -> Catalog:
    return Catalog.build(
        chat,
        embeddings,
        free_mode=free_mode,
        tool_use_only=tool_use_only,
        filters=Filters(parse_lines(names), parse_lines(parts)),
        today=today,
        fetched_at=1.0,
    )


def ids(models: Any) -> list[str]:
    return [model.id for model in models]


FREE_IDS = ["acme/plain:free", "dots/note:free", "a/pair:free", "b/pair:free", "z-ai/glm-5.2:free"]


def test_free_mode_lists_free_models_by_usable_context_then_id() -> None:
    catalog = build()
    assert ids(catalog.models) == ids(catalog.free) == FREE_IDS
    assert ids(catalog.embeddings) == ["liquid/embed:free"]


def test_outside_free_mode_all_are_listed_newest_first_but_batch_and_painters() -> None:
    catalog = build(free_mode=False)
    paid_ids = [model_id for model_id in ids(catalog.models) if model_id not in FREE_IDS]
    twins = ["a/twin", "b/twin"]
    newest = ["openai/gpt-4o", "z-ai/glm-5.2", "openai/gpt-4o:extended", *twins]
    assert paid_ids == [*newest, "~openai/gpt-latest", "openrouter/free"]
    assert len(catalog.models) == len(paid_ids) + len(FREE_IDS)
    assert ids(catalog.free) == FREE_IDS
    assert set(ids(catalog.embeddings)) == {"liquid/embed:free", "openai/embed-3"}


def test_tool_use_only_keeps_models_with_tools_and_embeddings_can_still_be_asked_for() -> None:
    catalog = build(tool_use_only=True)
    assert "acme/plain:free" not in ids(catalog.free)
    assert catalog.resolve("plain:free").kind is NameKind.FILTERED
    assert catalog.embeddings == ()
    assert catalog.resolve("embed:free", embedding=True).kind is NameKind.MODEL


def test_filters_decide_what_is_listed_and_what_may_be_asked_for() -> None:
    catalog = build(names="glm-5.2\nnote:free", parts="!note")
    assert ids(catalog.models) == ids(catalog.free) == ["z-ai/glm-5.2:free"]
    assert catalog.embeddings == ()
    filtered = catalog.resolve("dots/note:free")
    assert (filtered.kind, filtered.model and filtered.model.id) == (NameKind.FILTERED, "dots/note:free")
    outside = build(names="glm-5.2", free_mode=False)
    assert ids(outside.models) == ["z-ai/glm-5.2"]
    assert outside.free == ()


M, U = NameKind.MODEL, NameKind.UNKNOWN
NAMES = [
    # name, free mode: kind and id, else: kind and id
    pytest.param("gpt-4o:latest", (U, None), (M, "openai/gpt-4o"), id="the listed name"),
    pytest.param("gpt-4o", (U, None), (M, "openai/gpt-4o"), id="without latest"),
    pytest.param("openai/gpt-4o", (U, None), (M, "openai/gpt-4o"), id="the full id"),
    pytest.param("openai/gpt-4o:latest", (U, None), (M, "openai/gpt-4o"), id="the full id with latest"),
    pytest.param(" OpenAI/GPT-4o ", (U, None), (M, "openai/gpt-4o"), id="case and blanks"),
    pytest.param("gpt-4o:extended", (U, None), (M, "openai/gpt-4o:extended"), id="a variant by its tag"),
    pytest.param("gpt-4o:free", (U, None), (U, None), id="no jump to another variant"),
    pytest.param("gpt-4o:batch", (U, None), (U, None), id="batch is not in the catalogue"),
    pytest.param("gpt-4o:cloud", (U, None), (U, None), id="Ollama's cloud suffix"),
    pytest.param("gpt-4o:20b-cloud", (U, None), (U, None), id="Ollama's cloud tag"),
    pytest.param("gpt-4", (U, None), (U, None), id="no prefix"),
    pytest.param("o", (U, None), (U, None), id="no suffix"),
    pytest.param("z-ai/glm-5.2:free:latest", (M, "z-ai/glm-5.2:free"), (M, "z-ai/glm-5.2:free"), id="both tags"),
    pytest.param("glm-5.2:free:latest", (M, "z-ai/glm-5.2:free"), (M, "z-ai/glm-5.2:free"), id="short, both tags"),
    pytest.param(
        "glm-5.2:nosuch:latest", (NameKind.INVALID, None), (NameKind.INVALID, None), id="both tags of no variant"
    ),
    pytest.param("latest", (U, None), (U, None), id="a tag is no name"),
    pytest.param("library/gpt-4o", (U, None), (U, None), id="no other namespace"),
    pytest.param("glm-5.2", (M, "z-ai/glm-5.2:free"), (M, "z-ai/glm-5.2"), id="no tag: free variant in free mode"),
    pytest.param("z-ai/glm-5.2", (M, "z-ai/glm-5.2:free"), (M, "z-ai/glm-5.2"), id="full id without tag"),
    pytest.param("glm-5.2:latest", (U, None), (M, "z-ai/glm-5.2"), id="latest is a tag"),
    pytest.param("glm-5.2:free", (M, "z-ai/glm-5.2:free"), (M, "z-ai/glm-5.2:free"), id="the free variant"),
    pytest.param("note", (M, "dots/note:free"), (U, None), id="only a free variant there is"),
    pytest.param("b/twin", (U, None), (M, "b/twin"), id="full name of a collision"),
    pytest.param("twin", (U, None), (NameKind.AMBIGUOUS, ("a/twin", "b/twin")), id="bare name of paid twins"),
    pytest.param("pair", (NameKind.AMBIGUOUS, ("a/pair:free", "b/pair:free")), (U, None), id="bare name of free twins"),
    pytest.param(
        "pair:free",
        (NameKind.AMBIGUOUS, ("a/pair:free", "b/pair:free")),
        (NameKind.AMBIGUOUS, ("a/pair:free", "b/pair:free")),
        id="tagged name of free twins",
    ),
    pytest.param("a/pair", (M, "a/pair:free"), (U, None), id="full name of a free twin without tag"),
    pytest.param("~openai/gpt-latest", (U, None), (M, "~openai/gpt-latest"), id="alias by id"),
    pytest.param("gpt-latest", (U, None), (M, "~openai/gpt-latest"), id="alias by name"),
    pytest.param("openrouter/free", (U, None), (M, "openrouter/free"), id="the router is not the virtual model"),
    pytest.param("free", (NameKind.VIRTUAL, None), (NameKind.VIRTUAL, None), id="the virtual model"),
    pytest.param(
        "Free:Latest", (NameKind.VIRTUAL, None), (NameKind.VIRTUAL, None), id="the virtual model's listed name"
    ),
    pytest.param("!bad", (NameKind.INVALID, None), (NameKind.INVALID, None), id="no name"),
    pytest.param("", (NameKind.INVALID, None), (NameKind.INVALID, None), id="empty"),
    pytest.param("plain:", (NameKind.INVALID, None), (NameKind.INVALID, None), id="empty tag"),
    pytest.param(
        "embed", (NameKind.EMBEDDING_ON_CHAT, "liquid/embed:free"), (U, None), id="a free embedding model cannot chat"
    ),
    pytest.param("embed-3", (U, None), (NameKind.EMBEDDING_ON_CHAT, "openai/embed-3"), id="a paid one neither"),
]


@pytest.mark.parametrize(("name", "in_free_mode", "otherwise"), NAMES)
def test_what_a_name_means(name: str, in_free_mode: Any, otherwise: Any) -> None:
    for free_mode, expected in ((True, in_free_mode), (False, otherwise)):
        found = build(free_mode=free_mode).resolve(name)
        assert (found.kind, found.candidates_text or (found.model.id if found.model else None)) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("embed", NameKind.MODEL),
        ("liquid/embed:free", NameKind.MODEL),
        ("embed-3", NameKind.UNKNOWN),
        ("free", NameKind.UNKNOWN),
        ("glm-5.2", NameKind.CHAT_ON_EMBEDDING),
        ("gpt-4o", NameKind.UNKNOWN),
    ],
)
def test_embedding_routes_know_only_embedding_models(name: str, kind: NameKind) -> None:
    assert build().resolve(name, embedding=True).kind is kind
    assert build(free_mode=False).resolve("free", embedding=True).kind is NameKind.UNKNOWN


def test_a_free_variant_that_costs_is_unknown_in_free_mode() -> None:
    catalog = build([paid("acme/bolt:free"), record("acme/late:free", expiration_date="2026-08-21")])
    assert catalog.resolve("bolt").kind is NameKind.UNKNOWN
    assert catalog.resolve("acme/late:free").kind is NameKind.UNKNOWN


def test_collisions_count_before_filters() -> None:
    catalog = build(free_mode=False, names="a/twin")
    assert [model.name for model in catalog.models] == ["a/twin:latest"]
    assert catalog.resolve("twin").candidates_text == ("a/twin",)


def test_a_model_that_is_gone_leaves_the_lists_but_its_name_resolves() -> None:
    catalog = build()
    less = catalog.without({"dots/note:free"})
    assert "dots/note:free" not in ids(less.free) + ids(less.models)
    assert less.resolve("note").kind is NameKind.MODEL
    assert "dots/note:free" in ids(catalog.free), "the earlier catalogue does not change"
    outside = build(free_mode=False).without({"dots/note:free"})
    assert "dots/note:free" in ids(outside.models)
    assert "dots/note:free" not in ids(outside.free)


def test_every_model_but_those_of_the_batch_api_is_known() -> None:
    known = {model.id for model in build().known()}
    assert "openai/gpt-4o" in known
    assert "openai/gpt-4o:batch" not in known


@given(st.lists(IDS, max_size=12), st.booleans())
def test_every_listed_name_and_id_gives_its_model_back(model_ids: list[str], free_mode: bool) -> None:
    records = [record(model_id) if model_id.endswith(":free") else paid(model_id) for model_id in model_ids]
    catalog = build(records, [], free_mode=free_mode)
    for model in catalog.models:
        for name in {model.name, model.name.upper(), model.name.removesuffix(":latest"), model.id, f" {model.id} "}:
            if name.strip().lower() in ("free", "free:latest"):
                continue
            found = catalog.resolve(name)
            if free_mode or found.kind is not NameKind.VIRTUAL:
                assert found.model == model, name


@given(st.lists(JSON, max_size=4), st.text(max_size=12))
def test_no_list_and_no_name_raises(records: list[Any], name: str) -> None:
    catalog = build([*records, record()], [])
    assert catalog.resolve(name).kind in NameKind
    assert catalog.resolve("bolt:free").kind is NameKind.MODEL


# Recorded lists


def load(name: str) -> Any:
    return json.loads((Path(RECORDINGS or "") / name).read_bytes())


@recorded
@pytest.mark.parametrize(
    ("day", "free", "with_tools", "with_images"), [("2026-08-22", 17, 17, 7), ("2026-01-29", 33, 17, None)]
)
def test_recorded_lists(day: str, free: int, with_tools: int, with_images: int | None) -> None:
    records = load(f"models/models_{day}.json")["data"]
    catalog = build(records, [], today=date.fromisoformat(day))
    assert (len(catalog.free), sum(model.tools for model in catalog.free)) == (free, with_tools)
    assert with_images in (None, sum(model.vision for model in catalog.free))
    assert not any(model.is_stealth for model in catalog.free)
    everything = build(records, [], free_mode=False, today=date.fromisoformat(day))
    assert len(everything.models) == sum(not one["id"].endswith(":batch") for one in records)
    names = [model.name.lower() for model in everything.models]
    assert len(set(names)) == len(names)
    for model in everything.models:
        for name in (model.name, model.id, model.name.upper(), model.name.removesuffix(":latest")):
            assert everything.resolve(name).model == model


@recorded
def test_recorded_order() -> None:
    catalog = build(load("models/models_2026-08-22.json")["data"], [])
    windows = [model.context_length for model in catalog.free]
    expected = [1_000_000] * 2 + [512_000] + [262_144] * 7 + [256_000] * 4 + [128_000] * 2 + [65_536]
    assert windows == expected
    assert [model.name for model in catalog.free[:3]] == [
        "nemotron-3-ultra-550b-a55b:free",
        "nemotron-3.5-lightning:free",
        "dots-3-note-preview:free",
    ]
    assert [model.name for model in catalog.free[9:14]] == [
        "inkling:free",
        "north-mini-code:free",
        "nemotron-3-nano-30b-a3b:free",
        "nemotron-3-nano-omni-30b-a3b-reasoning:free",
        "glm-5.2:free",
    ]
    assert catalog.free[-1].reasoning_mandatory
    assert "stealth/ox-alpha" not in ids(catalog.free)


@recorded
def test_recorded_embedding_models() -> None:
    (name,) = (Path(RECORDINGS or "") / "embeddings").glob("embeddings-models.*.json")
    records = json.loads(name.read_bytes())["data"]
    catalog = build([], records, free_mode=False)
    assert len(catalog.embeddings) == len(records)
    assert catalog.models == ()
    assert catalog.resolve("text-embedding-3-small", embedding=True).kind is NameKind.MODEL
    assert len(build([], records).embeddings) == 3


@recorded
def test_66_days_of_joining_and_leaving() -> None:
    (path,) = (Path(RECORDINGS or "") / "models").glob("free_models_by_day_*.json")
    days = json.loads(path.read_bytes())["days"]
    assert len(days) > 50
    joined, left, before = set(), set(), None
    for day, listed in days.items():
        rows = listed["zero_priced"]
        records = [
            record(
                row[0],
                context_length=row[1],
                top_provider={"context_length": row[1], "max_completion_tokens": row[2]},
                expiration_date=row[3],
                supported_parameters=["tools"] if row[4] else [],
            )
            for row in rows
        ]
        catalog = build(records, [], today=date.fromisoformat(day))
        now = set(ids(catalog.free))
        wanted = {row[0] for row in rows if row[0].endswith(":free") and "content-safety" not in row[0]}
        assert now == {row[0] for row in rows if row[0] in wanted and not (row[3] and row[3] < day)}
        windows = [model.context_length for model in catalog.free]
        assert windows == sorted(windows, reverse=True)
        if before is not None:
            joined |= now - before
            left |= before - now
        for model_id in (before or set()) - now:
            assert catalog.resolve(model_id).kind is NameKind.UNKNOWN
        before = now
    assert joined
    assert left


CLAUDES = ("claude-sonnet-4.5", "claude-3.5-haiku", "claude-3.5-haiku-20241022", "claude-opus-4", "claude-3.7-sonnet")
SPELLINGS: dict[str, str | None] = {
    "claude-sonnet-4-5": "claude-sonnet-4.5",
    "claude-sonnet-4-5:latest": "claude-sonnet-4.5",
    "Claude-Sonnet-4-5": "claude-sonnet-4.5",
    "anthropic/claude-sonnet-4-5": "claude-sonnet-4.5",
    "claude-sonnet-4-5-20250929": "claude-sonnet-4.5",
    "claude-sonnet-4-5-latest": "claude-sonnet-4.5",
    "claude-3-5-haiku-20241022": "claude-3.5-haiku-20241022",
    "claude-3-5-haiku-latest": "claude-3.5-haiku",
    "claude-opus-4-20250514": "claude-opus-4",
    "claude-3-7-sonnet:thinking": "claude-3.7-sonnet:thinking",
    "claude-sonnet-4": None,
    "claude-sonnet-4-6": None,
    "claude-sonnet-4-5:free": None,
    "claude-sonnet-4-5-2025": None,
    "acme/claude-sonnet-4-5": None,
    "claude-two-1-x": None,
    "claude-": None,
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_model_of_anthropics_is_found_as_anthropic_spells_it(name: str) -> None:
    ids = [f"anthropic/{slug}" for slug in (*CLAUDES, "claude-3.7-sonnet:thinking", "claude-two.1-x", "claude-two-1.x")]
    records = [paid(model_id) for model_id in ids]
    found = build(records, free_mode=False).resolve(name)
    expected = SPELLINGS[name]
    assert (found.model.id if found.model else None) == (expected and f"anthropic/{expected}")
    in_free_mode = build(records).resolve(name)
    assert in_free_mode.model is None, "free mode knows no paid model by any name"


def test_a_filter_holds_for_each_spelling() -> None:
    found = build([paid("anthropic/claude-opus-4.1")], names="gpt-4o", free_mode=False).resolve(
        "claude-opus-4-1-20250805"
    )
    assert found.kind is NameKind.FILTERED
