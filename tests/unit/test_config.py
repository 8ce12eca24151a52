"""The settings: what is read from where, and what cannot be used."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from ollama_proxy.config import Settings, SettingsError, environment, load_settings

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_nothing_set_gives_the_defaults() -> None:
    assert load_settings({}) == Settings()


@pytest.mark.parametrize("field", [field.name for field in fields(Settings)])
def test_an_empty_value_counts_as_unset(field: str) -> None:
    assert load_settings({field.upper(): " "}) == Settings()


@pytest.mark.parametrize("field", [field.name for field in fields(Settings)])
def test_every_variable_is_documented(field: str) -> None:
    assert f"`{field.upper()}`" in DOCS.read_text()


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        pytest.param("LOG_LEVEL", "warn", "WARNING", id="WARN is WARNING"),
        pytest.param("HEARTBEAT_SECONDS", "0.5", 0.5, id="fractions"),
        pytest.param("FREE_MODE", "off", False, id="a switch"),
        pytest.param("PROXY_API_KEYS", " a, ,b ", ("a", "b"), id="a list"),
        pytest.param("OPENROUTER_BASE_URL", "http://[::1]:9999/api/v1", "http://[::1]:9999/api/v1", id="IPv6"),
        pytest.param("OPENROUTER_BASE_URL", "https://gateway", "https://gateway", id="an address without a path"),
    ],
)
def test_what_is_read(variable: str, text: str, value: object) -> None:
    assert getattr(load_settings({variable: text}), variable.lower()) == value


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("OPENROUTER_BASE_URL", url) for url in ("ftp://x", "http://", "http://[::1", "http://h:port/", "x.example")),
        *(("OPENROUTER_BASE_URL", url) for url in ("http://h:99999", "http://h:0", "http://h/a b", "http:///api/v1")),
        *(("PORT", port) for port in ("0", "65536", "1.5", "eleven")),
        *(("HEARTBEAT_SECONDS", seconds) for seconds in ("0", "-1", "nan", "inf", "1s")),
        ("MAX_ATTEMPTS", "2.5"),
        ("ALLOW_NETWORKS", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "nginx"),
        ("APP_TITLE", "Zo\u00eb"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_variable_and_value(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({variable: value})
    text = str(error.value)
    assert text.startswith(f"{variable}={value!r} cannot be used: it takes ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("variable", "value"), [("OPENROUTER_API_KEY", "s3cret\nline"), ("PROXY_API_KEYS", " , ")], ids=["key", "keys"]
)
def test_a_secret_is_not_shown(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable) as error:
        load_settings({variable: value})
    assert value not in str(error.value)


def test_the_environment_goes_before_dotenv_of_that_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text('# a comment\nPORT=1\nAPP_TITLE="two words"\nHOST\n')
    monkeypatch.setenv("PORT", "2")
    monkeypatch.delenv("APP_TITLE", raising=False)
    found = load_settings(environment(tmp_path))
    assert (found.port, found.app_title) == (2, "two words")
    below = tmp_path / "below"
    below.mkdir()
    assert load_settings(environment(below)).app_title == ""
