"""A key in front of the path is cut out of every form of the path: encoded, doubled, dotted ones too."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from ollama_proxy.access.policy import PATH_KEY
from ollama_proxy.web.key_in_path import KeyInPath
from ollama_proxy.web.routing import MergedSlashes

KEY = "opk_pathmarkpathmark"


def seen(raw: str, *, is_on: bool = True) -> dict[str, Any]:
    """What the application sees of a request whose first line has this path, as gunicorn makes the environment."""
    found: dict[str, Any] = {}

    def application(environ: dict[str, Any], _: Any) -> list[bytes]:
        found.update(environ)
        return []

    path, _, query = raw.partition("?")
    environ = {
        "PATH_INFO": unquote(path, "latin-1"), "QUERY_STRING": query, "RAW_URI": raw, "REQUEST_URI": raw,
    }  # fmt: skip
    MergedSlashes(KeyInPath(application, is_on=is_on))(environ, lambda *_: None)  # type: ignore[arg-type, return-value]
    return found


@pytest.mark.parametrize(
    ("raw", "path", "uri"),
    [
        (f"/k/{KEY}/api/chat", "/api/chat", "/api/chat"),
        (f"/k/{KEY}/api/chat?a=b&c", "/api/chat", "/api/chat?a=b&c"),
        (f"/k/{KEY}", "/", "/"),
        (f"/k/{KEY}/", "/", "/"),
        (f"//k//{KEY}//api//chat", "/api/chat", "/api/chat"),
        (f"/%6b/{KEY}/api/chat", "/api/chat", "/api/chat"),
        (f"/%6B%2F{KEY}%2Fapi/chat", "/api/chat", "/api/chat"),
        ("/k/%6fpk_pathmarkpathmark/api/chat", "/api/chat", "/api/chat"),
        (f"/k/{KEY}/v1/models/a%2Fb%3Afree", "/v1/models/a/b:free", "/v1/models/a/b:free"),
        (f"/k/{KEY}/v1/models/%C3%A9", "/v1/models/\xc3\xa9", "/v1/models/%C3%A9"),
        (f"/k/{KEY}/../api/chat", "/../api/chat", "/../api/chat"),
        (f"/k/{KEY}/./api/chat", "/./api/chat", "/./api/chat"),
        (f"/k/{KEY}/k/{KEY}/api/chat", "/k/***", "/k/***"),
        (f"/k/{KEY}/%6b/{KEY}/api/chat", "/k/***", "/k/***"),
    ],
)
def test_the_key_is_cut_out(raw: str, path: str, uri: str) -> None:
    found = seen(raw)
    assert found[PATH_KEY] == KEY
    assert (found["PATH_INFO"], found["REQUEST_URI"]) == (path, uri)
    found.pop(PATH_KEY)
    assert KEY not in str(found)


@pytest.mark.parametrize("raw", [f"/k/{KEY}/api/chat", f"//k//{KEY}/api/chat?q", f"/%6B/{KEY}", f"/k/{KEY}/k/{KEY}"])
def test_where_it_is_off_such_a_path_is_an_unknown_one_without_the_key(raw: str) -> None:
    found = seen(raw, is_on=False)
    assert found["PATH_INFO"] == "/k/***"
    assert KEY not in str(found)
    assert PATH_KEY not in found


@pytest.mark.parametrize("raw", ["/", "/k", "/api/chat", "/kind/x", "/api/k/x"])
def test_other_paths_stay_as_they_are(raw: str) -> None:
    found = seen(raw)
    assert (found["PATH_INFO"], found["RAW_URI"]) == (raw, raw)
    assert PATH_KEY not in found
