"""From texts to settings: what is read, what cannot be used, and what the error says."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from ollama_proxy.config import VARIABLES, Settings, SettingsError, load_settings

#: The two that may not be empty.
CLOSING = ("PROXY_API_KEYS", "PROXY_API_KEYS_FILE")


def test_nothing_set_gives_the_defaults() -> None:
    assert load_settings({}) == Settings()


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_value_counts_as_unset(text: str) -> None:
    assert load_settings({name: text for name in VARIABLES if name not in CLOSING}) == Settings()


@pytest.mark.parametrize("text", ["", " ", ",", " , ", "\n"])
@pytest.mark.parametrize("variable", CLOSING)
def test_keys_that_are_set_but_empty_stop_the_start(variable: str, text: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({variable: text})
    assert str(error.value).startswith(f"{variable} is set but empty: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        pytest.param("PORT", " 8000 ", 8000, id="space around a number"),
        pytest.param("LOG_LEVEL", "warn", "WARNING", id="WARN is WARNING"),
        pytest.param("HEARTBEAT_SECONDS", "0.5", 0.5, id="fractions"),
        pytest.param("DRAIN_SECONDS", "0", 0.0, id="zero where it is allowed"),
        pytest.param("FREE_MODE", "off", False, id="a switch"),
        pytest.param("PROXY_API_KEYS", " a, ,b ", ("a", "b"), id="a list"),
        pytest.param("PROXY_API_KEYS", "a\r\nb\nc,d\n", ("a", "b", "c", "d"), id="a list on several lines"),
        pytest.param("ALLOW_NETWORKS", "10.1.2.3/8", (ip_network("10.0.0.0/8"),), id="a network with host bits"),
        pytest.param("MODEL_ALIASES", "A-*=x/y:free, b=free", (("A-*", "x/y:free"), ("b", "free")), id="aliases"),
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
        *(("MODEL_ALIASES", text) for text in ("a", "a=", "=b", "a=b*", "a=b=c", "a b=c", "a=b,A=c", "a?=b", "a=:b")),
        *(("PORT", port) for port in ("0", "65536", "1.5", "eleven")),
        *(("HEARTBEAT_SECONDS", seconds) for seconds in ("0", "-1", "nan", "inf", "1s")),
        ("DRAIN_SECONDS", "-0.1"),
        ("MAX_ATTEMPTS", "2.5"),
        ("ALLOW_NETWORKS", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "nginx"),
        ("APP_TITLE", "Zo\u00eb"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_variable_value_and_what_is_allowed(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({variable: value})
    text = str(error.value)
    assert text == f"{variable}={value!r} cannot be used: it takes {VARIABLES[variable].allowed}"
    assert "\n" not in text


def test_of_several_that_cannot_be_used_one_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^HOST="):
        load_settings({"LOG_FORMAT": "xml", "PORT": "eleven", "HOST": "h\u00f6st"})


def test_a_secret_is_shown_neither_in_the_error_nor_in_the_settings() -> None:
    with pytest.raises(SettingsError, match="OPENROUTER_API_KEY") as error:
        load_settings({"OPENROUTER_API_KEY": "s3cret\nline"})
    assert "s3cret" not in str(error.value)
    secrets = {"OPENROUTER_API_KEY": "s3cret", "PROXY_API_KEYS": "s3cret", "DATABASE_URL": "s3cret"}
    assert "s3cret" not in repr(load_settings(secrets))


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    files = {
        "OPENROUTER_API_KEY": "sk-or-x\n",
        "PROXY_API_KEYS": "a,b\nc\r\n",
        "DATABASE_URL": "sqlite:////a b.db\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode())
    settings = load_settings({f"{name}_FILE": str(tmp_path / name) for name in files})
    assert settings.openrouter_api_key == "sk-or-x"
    assert settings.proxy_api_keys == ("a", "b", "c")
    assert settings.database_url == "sqlite:////a b.db"


def test_an_empty_value_beside_a_file_counts_as_unset(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("sqlite:////a.db")
    variables = {"DATABASE_URL": "", "DATABASE_URL_FILE": str(tmp_path / "url")}
    assert load_settings(variables).database_url == "sqlite:////a.db"


@pytest.mark.parametrize("name", ["OPENROUTER_API_KEY", "PROXY_API_KEYS", "DATABASE_URL"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(None, "No such file", id="no file"),
        pytest.param(b"", "holds nothing", id="an empty file"),
        pytest.param(b" \r\n,\n", "holds nothing", id="a file of separators"),
        pytest.param(b"s3cret \xff\n", "UTF-8", id="bytes that are no text"),
    ],
)
def test_a_file_that_gives_no_secret_is_one_line_with_its_path(
    tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as error:
        load_settings({f"{name}_FILE": str(file)})
    text = str(error.value)
    assert text.startswith(f"{name}_FILE={str(file)!r} cannot be ")
    assert why in text
    assert "\n" not in text
    assert "s3cret" not in text


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^OPENROUTER_API_KEY_FILE=.* cannot be read: Is a directory$"):
        load_settings({"OPENROUTER_API_KEY_FILE": str(tmp_path)})


def test_a_file_whose_content_cannot_be_used_is_named_without_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("first-s3cret\nsecond-s3cret\n")
    with pytest.raises(SettingsError, match=r"^OPENROUTER_API_KEY_FILE=.*key' cannot be used: the file must") as error:
        load_settings({"OPENROUTER_API_KEY_FILE": str(tmp_path / "key")})
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("name", ["OPENROUTER_API_KEY", "PROXY_API_KEYS", "DATABASE_URL"])
def test_a_secret_in_both_forms_stops_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("s3cret")
    with pytest.raises(SettingsError) as error:
        load_settings({name: "s3cret", f"{name}_FILE": str(tmp_path / "file")})
    assert str(error.value).startswith(f"{name} and {name}_FILE={str(tmp_path / 'file')!r} are both set")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("slip", ["sk-or-v1-s3cret", "postgresql://user:s3cret@host/name"])
def test_a_secret_in_the_place_of_a_path_is_not_shown(slip: str) -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL_FILE=a value that is not shown cannot be read") as error:
        load_settings({"DATABASE_URL_FILE": slip})
    assert "s3cret" not in str(error.value)
