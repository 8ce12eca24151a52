"""Which model names may be kept: never one that may be a key."""

from __future__ import annotations

import json
import random
import string
import time
from pathlib import Path

import pytest

from ollama_proxy.ledger.names import LONGEST, kept_name

OWN = ("correct-horse-battery", "sk-or-v1-own")


def kept(asked: str, *listed: str) -> str:
    return kept_name(asked, is_listed=lambda name: name in listed, secrets=OWN)


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "gpt-4o-mini-2024-07-18",
        "llama3.2:latest",
        "qwen2.5-coder:32b-instruct-q4_K_M",
        "mixtral:8x22b",
        "gemma3n:e4b",
        "claude-sonnet-4-20250514",
        "deepseek/deepseek-chat-v3-0324:free",
        "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
        "~author/family-latest",
        "MiniMax/MiniMax-M2",
        "gpt-oss:20b-cloud",
        "o1",
        "free",
    ],
)
def test_names_that_are_built_like_names_are_kept(name: str) -> None:
    assert kept(name) == name
    assert kept(f" {name} ") == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "sk-or-v1-" + "0123456789abcdef" * 4,
        "sk-abc",
        "SK-PROJ-abc",
        "openai/sk-abc",
        "gsk_abcdef",
        "hf_abcdef",
        "ghp_abcdef",
        "AIzaSyAbcdef",
        "eyJhbGciOi.eyJzdWIi.abc",
        "key-one",
        "api_key-one",
        "Bearer-abc",
        "0123456789abcdef0123456789abcdef",
        "123e4567-e89b-12d3-a456-426614174000",
        "abcdef01-1234-1234-1234-abcdef012345",
        "AB12C-DE34F-GH56I-JK78L",
        "abcd-efgh-ijkl-mnop",
        "a" * 40,
        "a" * (LONGEST + 1),
        "tell me a secret",
        "name\nline",
        "naïve",
        "x" + chr(0),
        "<script>",
        "correct-horse-battery",
        "correct-horse-battery:latest",
        "horse-battery",
    ],
)
def test_what_may_be_something_else_is_not_kept(text: str) -> None:
    assert kept(text) == ""


def test_a_listed_name_is_kept_whatever_it_looks_like() -> None:
    odd = "vendor/abcdefghijklmnopqrstuvwxyz0123456789"
    assert (kept(odd), kept(odd, odd)) == ("", odd)
    assert kept("naïve", "naïve") == "", "but it is ASCII"


def test_hardly_any_random_key_is_kept() -> None:
    chance = random.Random(1)
    alphabets = (string.ascii_letters + string.digits + "-_", "0123456789abcdef", string.ascii_letters + string.digits)
    keys = ["".join(chance.choices(letters, k=length)) for letters in alphabets for length in (16, 22, 32, 64) * 500]
    passing = [key for key in keys if kept(key)]
    assert len(passing) < len(keys) / 100, passing[:10]
    assert not [key for key in passing if len(key) >= 32]


def test_it_takes_no_time() -> None:
    for text in ("a" * LONGEST, "a-" * 50, "aA" * 50, "a1" * 50, "." * LONGEST, "/" * LONGEST, "1" * LONGEST + "!"):
        began = time.perf_counter()
        kept(text)
        assert time.perf_counter() - began < 0.05, text


#: What a group may be built of, so that a pattern could try many ways to divide it before it fails.
AMBIGUOUS = ("AAAA", "aA", "AAAAA", "AAAAAAAA", "aaaaA", "A1A", "111", "1A", "AAAAa1", "A")


@pytest.mark.parametrize("separator", ["-", ".", "_", "/", ":"])
@pytest.mark.parametrize("part", AMBIGUOUS)
def test_no_text_can_be_read_in_many_ways(part: str, separator: str) -> None:
    """With a pattern that tries all ways, each further part multiplies the time; so the first slow one ends the test.

    Most of these texts take microseconds: the bound is thousands of times that, for a machine that is busy.
    """
    for many in range(1, LONGEST // (len(part) + 1)):
        for colon in (f":{part}" * (separator != ":"), ""):
            text = (separator.join([part] * many) + colon + "!")[-LONGEST:]
            began = time.process_time()
            assert kept(text) == ""
            assert time.process_time() - began < 0.25, text


def test_the_paths_of_refused_callers_are_shortened_soon() -> None:
    groups = "-".join(["AAAA"] * 10)
    for many in range(4, 11):
        text = "-".join(["AAAA"] * many) + "!"
        began = time.process_time()
        assert kept(text) == ""
        assert time.process_time() - began < 0.25, text
    assert kept(f"{groups}:{groups}!") == ""


@pytest.mark.parametrize(
    "name",
    [
        "AAAAAAAA",
        "AAAAAAAAabc",
        "aAAAA",
        "AAAAaAAAAa",
        "A",
        "7",
        "8X22B",
        "a-",
        "a..b",
        "a-.b",
        "~",
        "a/b/c:d",
        "v1abc",
    ],
)
def test_short_odd_parts_are_names_too(name: str) -> None:
    assert kept(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "AAAAAAAAA",
        "AAAAAa1234",
        "aAAAAA",
        "a--b",
        "a.-b",
        "a/b/c/d",
        "a:b:c",
        "a:b/c",
        "a-" * 10 + "b",
        "gpt-\u0664",
        "1234a",
    ],
)
def test_what_is_built_otherwise_is_not_kept(text: str) -> None:
    assert kept(text) == ""


def test_of_the_recorded_models_almost_all_would_be_kept_unlisted(recordings: Path) -> None:
    """Whoever asks for a model that is not there today asks for a name like these."""
    ids = [one["id"] for one in json.loads((recordings / "models/models_2026-08-22.json").read_text())["data"]]
    assert len([one for one in ids if kept(one)]) > 0.98 * len(ids)
