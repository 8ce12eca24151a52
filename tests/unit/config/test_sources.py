"""Which value counts when there are several: the environment, `.env`, and what a `.env` may look like."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ollama_proxy.config import VARIABLES, SettingsError, environment, load_settings

Read = Callable[..., dict[str, str]]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """`read(content, NAME=value, ...)`: what counts with this `.env` and these variables in the environment."""

    def read(content: str | bytes, **variables: str) -> dict[str, str]:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        (tmp_path / ".env").write_bytes(content.encode() if isinstance(content, str) else content)
        return {name: value for name, value in environment(tmp_path).items() if name in VARIABLES}

    return read


def test_the_environment_goes_before_the_file(read: Read) -> None:
    found = read('# a comment\nPORT=1\nAPP_TITLE="two words"\nHOST\n', PORT="2")
    assert found == {"PORT": "2", "APP_TITLE": "two words", "HOST": ""}


def test_an_empty_value_in_the_environment_hides_the_file(read: Read) -> None:
    assert load_settings(read("PORT=1\n", PORT="")).port == 11434


def test_a_parent_folders_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("APP_TITLE=above\n")
    below = tmp_path / "below"
    below.mkdir()
    assert "APP_TITLE" not in environment(below)


def test_nothing_of_the_file_stays_in_the_environment(read: Read) -> None:
    assert read("APP_TITLE=once\n") == {"APP_TITLE": "once"}
    assert "APP_TITLE" not in os.environ
    assert read("") == {}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        pytest.param("\ufeffAPP_TITLE=x\n", "x", id="a byte order mark"),
        pytest.param("APP_TITLE=x\r\nPORT=1\r\n", "x", id="lines of Windows"),
        pytest.param("export APP_TITLE='x y'  # said\n", "x y", id="export, quotes, a comment behind"),
        pytest.param("A=one\nAPP_TITLE=${A} two\n", "one two", id="another variable in a value"),
        pytest.param("APP_TITLE=x\nAPP_TITLE=y\n", "y", id="the last of two"),
    ],
)
def test_what_a_file_may_look_like(read: Read, content: str, value: str) -> None:
    assert read(content)["APP_TITLE"] == value


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param('PORT=1\nPROXY_API_KEYS="s3cret\n', ".env, line 2, cannot be read", id="a quote that stays open"),
        pytest.param("a s3cret line\n", ".env, line 1, cannot be read", id="no assignment"),
        pytest.param("APP_TITLE=s3cret\n".encode("utf-16"), ".env cannot be read: it is not UTF-8", id="UTF-16"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_without_what_it_says(
    read: Read, content: str | bytes, said: str
) -> None:
    with pytest.raises(SettingsError) as error:
        read(content)
    assert str(error.value).startswith(said)
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_keys_without_a_value_in_the_file_stop_the_start(read: Read) -> None:
    with pytest.raises(SettingsError, match=r"^PROXY_API_KEYS is set but empty"):
        load_settings(read("PROXY_API_KEYS\n"))


KEY, FILE = "OPENROUTER_API_KEY", "OPENROUTER_API_KEY_FILE"


@pytest.mark.parametrize(
    ("content", "variables", "counts"),
    [
        pytest.param(f"{FILE}=/f", {KEY: "e"}, {KEY: "e"}, id="the environment's value replaces the file's path"),
        pytest.param(f"{KEY}=f", {FILE: "/e"}, {FILE: "/e"}, id="the environment's path replaces the file's value"),
        pytest.param(f"{FILE}=/f", {KEY: ""}, {KEY: "", FILE: "/f"}, id="an empty value replaces nothing else"),
        pytest.param(f"{KEY}=f\n{FILE}=/f", {}, {KEY: "f", FILE: "/f"}, id="two in the file stay two"),
        pytest.param("", {KEY: "e", FILE: "/e"}, {KEY: "e", FILE: "/e"}, id="two in the environment stay two"),
        pytest.param(f"{FILE}=/f", {KEY: "e", FILE: "/f"}, {KEY: "e"}, id="a copy of the file's counts as the file's"),
        pytest.param(f"{KEY}=f", {KEY: "", FILE: "/e"}, {KEY: "", FILE: "/e"}, id="an empty value hides its own name"),
    ],
)
def test_a_secrets_two_forms_count_as_one_between_environment_and_file(
    read: Read, content: str, variables: dict[str, str], counts: dict[str, str]
) -> None:
    assert read(content, **variables) == counts
