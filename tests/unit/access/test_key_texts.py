"""The texts around keys: names, new keys, and what an entry of PROXY_API_KEYS means."""

from __future__ import annotations

import re

import pytest

from ollama_proxy.access.key_texts import checked_name, folded, keys_of_settings, new_key, shown_prefix
from ollama_proxy.ledger.names import kept_name


def test_a_new_key_has_its_mark_and_is_never_the_same() -> None:
    keys = {new_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch(r"opk_[A-Za-z0-9]{33}", key) for key in keys)
    assert all(len(shown_prefix(key)) == 8 for key in keys)


def test_a_new_key_in_a_model_field_or_path_is_never_kept_as_a_name() -> None:
    kept = [kept_name(form, is_listed=lambda _: False, secrets=()) for form in ("opk_abc-def", new_key(), "x/opk_abc")]
    assert kept == ["", "", ""]


@pytest.mark.parametrize("name", ["anna", "Anna", "living-room", "kid_2", "a.b", "Jürgen", "小明", "3d", "a" * 40])
def test_a_name_may_be(name: str) -> None:
    assert checked_name(f" {name} ") == name


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a" * 41, "two words", "a/b", "a=b", "a:b", "-a", ".a", "a\nb", "a\x00", "a\u202eb", '"a"'),
        *("unknown", "others", "OTHERS", "none", "events"),
        *("127.0.0.1", "opk_abc", "sk-or-v1-abc", "SK-abc", "hf_abc"),
    ],
)
def test_a_name_may_not_be(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|key|called") as refused:
        checked_name(name)
    assert len(name) < 3 or name not in str(refused.value)


@pytest.mark.parametrize(("one", "other"), [("Anna", "ANNA"), ("Straße", "STRASSE"), ("é", "e\u0301")])
def test_names_are_the_same_without_regard_to_case(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("entry", "name", "texts"),
    [
        pytest.param("s3cret-key-of-old", "key 1", ["s3cret-key-of-old"], id="a key"),
        pytest.param("anna=s3cret-key", "anna", ["s3cret-key", "anna=s3cret-key"], id="a name, and the key of old"),
        pytest.param("anna=s3c=ret==", "anna", ["s3c=ret==", "anna=s3c=ret=="], id="a key with = in it"),
        pytest.param("c2VjcmV0a2V5czE=", "key 1", ["c2VjcmV0a2V5czE="], id="base64 ends with ="),
        pytest.param("c2VjcmV0a2V5cw==", "key 1", ["c2VjcmV0a2V5cw=="], id="base64 ends with =="),
        pytest.param("anna=========", "key 1", ["anna========="], id="nothing but ="),
        pytest.param("longsecret=1", "key 1", ["longsecret=1"], id="no key is cut to a guessable end"),
        pytest.param("two words=s3cret-key", "key 1", ["two words=s3cret-key"], id="no name"),
        pytest.param("=s3cret-key", "key 1", ["=s3cret-key"], id="an empty name"),
        pytest.param("unknown=s3cret-key", "key 1", ["unknown=s3cret-key"], id="a name of other callers"),
    ],
)
def test_an_entry_of_proxy_api_keys_means(entry: str, name: str, texts: list[str]) -> None:
    [found] = keys_of_settings([entry])
    assert (found.key.name, list(found.texts)) == (name, texts)
    assert found.key.admin
    assert found.key.id is None


def test_entries_without_a_name_are_called_by_their_place_and_names_may_repeat() -> None:
    found = keys_of_settings(["anna=first-key-1", "plain-key", "anna=second-key"])
    assert [one.key.name for one in found] == ["anna", "key 2", "anna"]
