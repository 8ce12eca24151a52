"""The two filter files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ollama_proxy.catalog.filters import FilterError, Filters, parse_lines
from ollama_proxy.catalog.names import assign_names

IDS = (
    "openai/gpt-4o",
    "openai/gpt-4o:extended",
    "deepseek/deepseek-chat",
    "deepseek/deepseek-chat:free",
    "google/gemini-2.0-flash-exp:free",
    "google/gemini-2.5-pro",
)
NAMES = assign_names(IDS)
PAID, FREE = {"free_mode": False}, {"free_mode": True}


def passing(filters: Filters, *, free_mode: bool) -> list[str]:
    allows = filters.predicate(free_mode=free_mode)
    return [name for model_id, name in NAMES.items() if allows(name, model_id)]


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        pytest.param("", PAID, list(NAMES.values()), id="an empty file is no filter"),
        pytest.param("# nothing\n\n  \n!\n", PAID, list(NAMES.values()), id="comments and blank lines say nothing"),
        pytest.param("gpt-4o", PAID, ["gpt-4o:latest"], id="no tag means latest, no other variant"),
        pytest.param("gpt-4o:latest", PAID, ["gpt-4o:latest"], id="the listed name"),
        pytest.param("OpenAI/GPT-4o", PAID, ["gpt-4o:latest"], id="the full id, without case"),
        pytest.param("openai/gpt-4o:latest", PAID, ["gpt-4o:latest"], id="the full id with latest"),
        pytest.param("gpt-4", PAID, [], id="a part is not a whole name"),
        pytest.param("gpt-4o:extended # note", PAID, ["gpt-4o:extended"], id="comment behind a line"),
        pytest.param("deepseek-chat", PAID, ["deepseek-chat:latest"], id="no tag outside free mode"),
        pytest.param("deepseek-chat", FREE, ["deepseek-chat:latest", "deepseek-chat:free"], id="no tag in free mode"),
        pytest.param("deepseek-chat:latest", FREE, ["deepseek-chat:latest"], id="a tag is meant"),
        pytest.param(
            "gemini*", PAID, ["gemini-2.0-flash-exp:free", "gemini-2.5-pro:latest"], id="star takes a tag too"
        ),
        pytest.param("gemini-?.5-pro", PAID, ["gemini-2.5-pro:latest"], id="question mark is one character"),
        pytest.param("gemini-?-pro", PAID, [], id="question mark is not two"),
        pytest.param("*:free", PAID, ["deepseek-chat:free", "gemini-2.0-flash-exp:free"], id="star before the tag"),
        pytest.param("google/*\n!*pro", PAID, ["gemini-2.0-flash-exp:free"], id="included, then excluded"),
        pytest.param("!*gpt*\n!google/*", PAID, ["deepseek-chat:latest", "deepseek-chat:free"], id="only exclusions"),
        pytest.param("!deepseek-chat\n*:free\n*chat", FREE, ["gemini-2.0-flash-exp:free"], id="exclusion in free mode"),
        pytest.param("gpt-4o[x]", PAID, [], id="brackets are no glob"),
        pytest.param("gpt.4o", PAID, [], id="a dot is a dot"),
    ],
)
def test_whole_names(text: str, mode: dict[str, bool], expected: list[str]) -> None:
    assert passing(Filters(names=parse_lines(text)), **mode) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("gemini", ["gemini-2.0-flash-exp:free", "gemini-2.5-pro:latest"], id="part of a name"),
        pytest.param("GOOGLE/", ["gemini-2.0-flash-exp:free", "gemini-2.5-pro:latest"], id="part of the id"),
        pytest.param(":free", ["deepseek-chat:free", "gemini-2.0-flash-exp:free"], id="the tag"),
        pytest.param("gem*exp", ["gemini-2.0-flash-exp:free"], id="glob inside"),
        pytest.param("!gpt\n!deepseek\n!pro", ["gemini-2.0-flash-exp:free"], id="only exclusions"),
        pytest.param("gemini\n!flash", ["gemini-2.5-pro:latest"], id="both"),
    ],
)
def test_parts_of_names(text: str, expected: list[str]) -> None:
    assert passing(Filters(parts=parse_lines(text)), free_mode=False) == expected


def test_a_model_must_pass_both_files() -> None:
    filters = Filters(parse_lines("gemini-2.5-pro\ngpt-4o"), parse_lines("gemini"))
    assert passing(filters, free_mode=False) == ["gemini-2.5-pro:latest"]


def test_lines_that_match_nothing_are_named() -> None:
    filters = Filters(parse_lines("gpt-4o\ngpt-5 # later\n!nothing:*"), parse_lines("gemini\nclaude"))
    models = [(name, model_id) for model_id, name in NAMES.items()]
    assert filters.unmatched(models, free_mode=False) == ["gpt-5", "!nothing:*", "claude"]


def write(path: Path, data: str | bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"gpt-4o\r\n", id="CRLF"),
        pytest.param(b"\xef\xbb\xbfgpt-4o\n", id="byte-order mark"),
        pytest.param("gpt-4o\n".encode("utf-16"), id="UTF-16"),
        pytest.param(b"# caf\xe9\ngpt-4o\n", id="Latin-1 in a comment"),
    ],
)
def test_encodings(tmp_path: Path, data: bytes) -> None:
    write(tmp_path / "models-filter.txt", data)
    assert passing(Filters.load(None, tmp_path).current(), free_mode=False) == ["gpt-4o:latest"]


def test_no_files_is_no_filter_and_both_defaults_are_found(tmp_path: Path) -> None:
    files = Filters.load(None, tmp_path)
    assert files.current() == Filters()
    write(tmp_path / "models-filter.txt", "google/*")
    write(tmp_path / "models-filter" / "filter", "pro")
    assert passing(files.current(), free_mode=False) == ["gemini-2.5-pro:latest"]


def test_a_named_file_replaces_the_names_but_not_the_parts(tmp_path: Path) -> None:
    write(tmp_path / "models-filter.txt", "google/*")
    write(tmp_path / "models-filter" / "filter", "gpt")
    write(tmp_path / "mine", "gpt-4o\ndeepseek-chat")
    for named in ("mine", str(tmp_path / "mine")):
        assert passing(Filters.load(named, tmp_path).current(), free_mode=False) == ["gpt-4o:latest"]


def test_a_plain_file_in_place_of_the_folder_is_no_parts_file(tmp_path: Path) -> None:
    write(tmp_path / "models-filter", "gpt")
    assert Filters.load(None, tmp_path).current() == Filters()


@pytest.mark.parametrize("kind", ["missing", "a directory"])
def test_a_named_file_that_cannot_be_read_stops_the_start(tmp_path: Path, kind: str) -> None:
    if kind == "a directory":
        (tmp_path / "mine").mkdir()
    with pytest.raises(FilterError, match="mine"):
        Filters.load("mine", tmp_path)


def test_a_change_is_seen_and_no_change_gives_the_same_object(tmp_path: Path) -> None:
    write(tmp_path / "models-filter.txt", "gpt-4o")
    files = Filters.load(None, tmp_path)
    first = files.current()
    assert files.current() is first
    write(tmp_path / "other", "gpt-5x")
    os.replace(tmp_path / "other", tmp_path / "models-filter.txt")
    assert files.current().names[0].pattern == "gpt-5x"
    (tmp_path / "models-filter.txt").unlink()
    assert files.current() == Filters()


def test_a_named_file_that_vanishes_keeps_its_last_state_with_one_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    write(tmp_path / "mine", "gpt-4o")
    files = Filters.load("mine", tmp_path, on_warning=warnings.append)
    first = files.current()
    (tmp_path / "mine").unlink()
    assert files.current() is first
    assert files.current() is first
    assert len(warnings) == 1
    assert "mine" in warnings[0]
    write(tmp_path / "mine", "deepseek-chat")
    assert files.current().names[0].pattern == "deepseek-chat"
    (tmp_path / "mine").unlink()
    files.current()
    assert len(warnings) == 2


def test_a_default_file_that_becomes_unreadable_keeps_its_last_state(tmp_path: Path) -> None:
    warnings: list[str] = []
    write(tmp_path / "models-filter.txt", "gpt-4o")
    files = Filters.load(None, tmp_path, on_warning=warnings.append)
    (tmp_path / "models-filter.txt").unlink()
    (tmp_path / "models-filter.txt").mkdir()
    assert files.current().names[0].pattern == "gpt-4o"
    assert len(warnings) == 1
