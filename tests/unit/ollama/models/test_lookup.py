"""Which model a name means on which route; the texts are tested over sockets, in tests/api/contract/test_names.py."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ollama_proxy.catalog.filters import Filters
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.ollama.models.lookup import (
    answering_target,
    embedding_model,
    pulled_target,
    stands_in,
    without_source,
)
from simulator.catalogue import default_records, is_embedding


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    records = default_records()
    return Catalog.build(
        [record for record in records if not is_embedding(record)],
        [record for record in records if is_embedding(record)],
        free_mode=True,
        tool_use_only=False,
        filters=Filters.load(None, tmp_path).current(),
        today=date(2026, 5, 1),
        fetched_at=0.0,
    )


SOURCES = {
    "a plain name": ("gpt-4o", "gpt-4o"),
    "blanks": (" gpt-4o ", "gpt-4o"),
    "the one on this machine": ("gpt-4o:local", "gpt-4o"),
    "in capitals": ("gpt-4o:LOCAL", "gpt-4o"),
    "behind a tag": ("gpt-4o:free:local", "gpt-4o:free"),
    "of ollama.com": ("gpt-4o:cloud", "gpt-4o:cloud"),
    "no tag": ("local", "local"),
    "a tag that only begins so": ("gpt-4o:locals", "gpt-4o:locals"),
}


@pytest.mark.parametrize("case", SOURCES.values(), ids=SOURCES)
def test_without_source(case: tuple[str, str]) -> None:
    assert without_source(case[0]) == case[1]


def test_here_and_in_the_cloud_at_once_is_refused() -> None:
    with pytest.raises(BadRequest, match="use either :local or :cloud"):
        without_source("x:cloud:local")


def test_an_embedding_model_is_found_for_chat_because_it_may_be_unloaded(catalog: Catalog) -> None:
    assert answering_target("embed-small", catalog, strict=True).embeds


def test_free_has_no_model_of_its_own(catalog: Catalog) -> None:
    assert answering_target("free", catalog, strict=True).model is None


@pytest.mark.parametrize("name", ["nosuch", "vertex/omni-4"])
def test_an_unknown_name_is_free_s_unless_strict(catalog: Catalog, name: str) -> None:
    assert answering_target(name, catalog, strict=False).model is None
    with pytest.raises(ModelNotFound):
        answering_target(name, catalog, strict=True)


CLOUD = ["nosuch:cloud", "ember-4:CLOUD", "gpt-oss:20b-cloud", "openai/gpt-oss:20b-Cloud"]
NOT_CLOUD = ["my-cloud", "cloud", "nosuch:cloudy", "nosuch:clouds", "nosuch:20bcloud"]


@pytest.mark.parametrize("name", [*CLOUD, *NOT_CLOUD])
def test_a_model_of_ollama_com_is_unknown_in_free_mode_too(catalog: Catalog, name: str) -> None:
    if name in NOT_CLOUD:
        assert answering_target(name, catalog, strict=False).model is None
    else:
        with pytest.raises(ModelNotFound, match=f"^model '{name}' not found$"):
            answering_target(name, catalog, strict=False)


@pytest.mark.parametrize("name", ["nosuch", "free", "embed-3"])
def test_nothing_stands_in_for_an_embedding_model(catalog: Catalog, name: str) -> None:
    with pytest.raises(ModelNotFound):
        embedding_model(name, catalog)


ABSENT = r"^pull model manifest: file does not exist$"
PULLED = {"ember-4": False, "embed-small": False, "free": False, "nosuch": True, "vertex/omni-4": True}


@pytest.mark.parametrize("name", PULLED)
def test_what_would_be_served_can_be_pulled(catalog: Catalog, name: str) -> None:
    assert stands_in(pulled_target(name, catalog, strict=False)) is PULLED[name]
    if PULLED[name]:
        with pytest.raises(ModelNotFound, match=ABSENT):
            pulled_target(name, catalog, strict=True)


@pytest.mark.parametrize("name", ["gpt-oss:20b-cloud", "nosuch:cloud"])
def test_what_is_at_ollama_com_cannot(catalog: Catalog, name: str) -> None:
    """The CLI asks for it when it found no model of the plain name, and then for a sign-in."""
    with pytest.raises(ModelNotFound, match=ABSENT):
        pulled_target(name, catalog, strict=False)


def test_which_one_is_meant_is_said_behind_the_words_that_the_cli_searches_for(catalog: Catalog) -> None:
    with pytest.raises(ModelNotFound, match=ABSENT[:-1] + r" \(say which one you mean, '.*:free'\)$"):
        pulled_target("beacon-24b", catalog, strict=False)
