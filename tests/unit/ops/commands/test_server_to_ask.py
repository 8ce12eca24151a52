"""ops.commands.server_to_ask: which server a command asks, and with which key."""

from __future__ import annotations

import pytest

from ollama_proxy.config import load_settings
from ollama_proxy.ops.commands.server_to_ask import ServerToAsk, find_server, parse_ollama_host


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234"),
        (":1234", "http://127.0.0.1:1234"),
        (":0", "http://127.0.0.1:0"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("example.com", "http://example.com:11434"),
        ("example.com:", "http://example.com:11434"),
        ("http://h", "http://h:80"),
        ("https://h", "https://h:443"),
        ("https://h:8443", "https://h:8443"),
        ("http://h/", "http://h:80"),
        ("https://h/ollama", "https://h:443/ollama"),
        ("https://h:1/a/b/", "https://h:1/a/b"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1234", "http://[::1]:1234"),
        ("http://[::1]:1234", "http://[::1]:1234"),
        ("::", "http://[::1]:11434"),
        ("1.2.3.4:65536", "http://1.2.3.4:11434"),
        ("1.2.3.4:-1", "http://1.2.3.4:11434"),
        ("1.2.3.4:x", "http://1.2.3.4:11434"),
        ("https://h:65536", "https://h:443"),
        (" '1.2.3.4' ", "http://1.2.3.4:11434"),
        ('"1.2.3.4"', "http://1.2.3.4:11434"),
    ],
)
def test_an_address_is_read_as_ollamas_clients_do(text: str, url: str) -> None:
    assert parse_ollama_host(text) == (url, "")


def test_a_password_is_a_key_and_not_shown() -> None:
    assert parse_ollama_host("https://me:s3cret@h/p") == ("https://h:443/p", "s3cret")


KEYS = "own-key,other"


@pytest.mark.parametrize(
    ("url", "key", "variables", "expected"),
    [
        pytest.param(None, None, {}, ServerToAsk("http://127.0.0.1:11434", "", True, True), id="nothing is said"),
        pytest.param(
            None, None, {"HOST": "::1", "PORT": "8"}, ServerToAsk("http://[::1]:8", "", True, True), id="the settings"
        ),
        pytest.param(
            None,
            None,
            {"PORT": "8", "OLLAMA_HOST": "elsewhere:9"},
            ServerToAsk("http://127.0.0.1:8", "", True, True),
            id="the settings are nearer than OLLAMA_HOST",
        ),
        pytest.param(
            None,
            None,
            {"OLLAMA_HOST": "localhost:9"},
            ServerToAsk("http://localhost:9", "", True, True),
            id="OLLAMA_HOST",
        ),
        pytest.param(
            None,
            None,
            {"OLLAMA_HOST": "elsewhere:9", "PROXY_API_KEYS": KEYS},
            ServerToAsk("http://elsewhere:9", "", False, False),
            id="another machine gets none of this server's keys, and is not in its database",
        ),
        pytest.param(
            None,
            None,
            {"PROXY_API_KEYS": KEYS, "OLLAMA_API_KEY": "ollama"},
            ServerToAsk("http://127.0.0.1:11434", "own-key", True, True),
            id="the first of the server's keys",
        ),
        pytest.param(
            "127.0.0.1:8",
            None,
            {"PROXY_API_KEYS": KEYS},
            ServerToAsk("http://127.0.0.1:8", "own-key", False, True),
            id="a named server of this machine is told a key, but has another database",
        ),
        pytest.param(
            "http://h",
            None,
            {"PROXY_API_KEYS": KEYS, "OLLAMA_API_KEY": "ollama"},
            ServerToAsk("http://h:80", "ollama", False, False),
            id="OLLAMA_API_KEY is for any server",
        ),
        pytest.param(
            "http://h", "given", {"OLLAMA_API_KEY": "x"}, ServerToAsk("http://h:80", "given", False, False), id="--key"
        ),
    ],
)
def test_which_server_is_asked(
    url: str | None, key: str | None, variables: dict[str, str], expected: ServerToAsk
) -> None:
    assert find_server(url, key, load_settings(variables), variables) == expected


def test_without_settings_the_address_is_enough() -> None:
    assert find_server("h:1", None, None, {"PORT": "nonsense"}) == ServerToAsk("http://h:1", "", False, False)
