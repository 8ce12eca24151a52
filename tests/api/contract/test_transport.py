"""docs/contract.md, "Transport": paths, methods, content types, and bodies whatever they are announced as."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from simulator.process import Simulator
from tests.api.contract.wire import JSON, NDJSON, PLAIN_JSON, TEXT, Row, check, check_stream, send
from tests.servers import ProxyServer

HELLO = {"model": "free", "messages": [{"role": "user", "content": "hello"}]}
NOT_FOUND, WRONG_METHOD = "404 page not found", "405 method not allowed"
UTF8_TEXT = "text/plain; charset=utf-8"

PATHS = {
    "the liveness text": Row("GET", "/", want="Ollama is running", type=UTF8_TEXT),
    "the liveness text for HEAD has no body": Row("HEAD", "/", want="", type=UTF8_TEXT),
    "the version is the only key": Row("GET", "/api/version", want='{"version":"0.32.7"}'),
    "HEAD of the version": Row("HEAD", "/api/version", want=""),
    "HEAD of the list": Row("HEAD", "/api/tags", want=""),
    "what Claude Code asks first": Row("HEAD", "/api/hello", want="", type=UTF8_TEXT),
    "and nothing else": Row("GET", "/api/hello", None, 405, WRONG_METHOD, TEXT),
    "an unknown path": Row("GET", "/api/nope", None, 404, NOT_FOUND, TEXT),
    "paths have a case": Row("GET", "/API/version", None, 404, NOT_FOUND, TEXT),
    "what only ollama.com has": Row("POST", "/api/web_search", {}, 404, NOT_FOUND, TEXT),
    "a query string means nothing": Row("GET", "/api/version?ts=1", want='{"version":"0.32.7"}'),
    "a slash at the end is tolerated": Row("GET", "/api/version/", want='{"version":"0.32.7"}'),
    "slashes may be doubled": Row("GET", "//api//version", want='{"version":"0.32.7"}'),
    "a slash at the end of a POST": Row("POST", "/api/chat/", HELLO | {"stream": False}, want={"model": "free"}),
}


@pytest.mark.parametrize("row", PATHS.values(), ids=PATHS)
def test_paths(proxy: ProxyServer, row: Row) -> None:
    check(proxy, row)


UPGRADES = {
    "websocket": {
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    },
    "HTTP/2": {"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"},
}
UPGRADED = {
    "GET": Row("GET", "/api/version", want='{"version":"0.32.7"}'),
    "POST": Row("POST", "/api/chat", HELLO | {"stream": False}, want={"model": "free"}),
    "unknown": Row("GET", "/ws", None, 404, NOT_FOUND, TEXT),
}


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("row", UPGRADED.values(), ids=UPGRADED)
def test_who_asks_for_another_protocol_gets_a_plain_answer(
    proxy: ProxyServer, row: Row, upgrade: dict[str, str]
) -> None:
    answer = check(proxy, replace(row, headers={"Connection": "Upgrade", **upgrade}))
    assert "upgrade" not in answer.headers


METHODS = {
    "/": "HEAD, GET",
    "/api/version": "HEAD, GET",
    "/api/tags": "HEAD, GET",
    "/api/ps": "GET",
    "/api/status": "GET",
    "/api/show": "POST",
    "/api/chat": "POST",
    "/api/generate": "POST",
    "/api/embed": "POST",
    "/api/embeddings": "POST",
    "/api/pull": "POST",
    "/api/push": "POST",
    "/api/create": "POST",
    "/api/copy": "POST",
    "/api/delete": "DELETE",
    "/api/blobs/sha256:0": "POST, HEAD",
    "/api/me": "POST",
    "/api/signout": "POST",
    "/api/user/keys/k": "DELETE",
    "/api/experimental/web_search": "POST",
    "/api/experimental/web_fetch": "POST",
    "/api/experimental/model-recommendations": "GET",
}


@pytest.mark.parametrize("path", METHODS)
def test_a_wrong_method_is_405_and_names_the_right_ones(proxy: ProxyServer, path: str) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - set(METHODS[path].split(", ")):
        text = "" if method == "HEAD" else WRONG_METHOD
        answer = check(proxy, Row(method, path, None, 405, text, TEXT))
        assert answer.headers["allow"] == METHODS[path], method


HI = b'{"model":"free","stream":false,"messages":[{"content":"hi"}]}'
LIBERAL = {
    "no content type": (HI, {}),
    "a form, as curl -d says": (
        HI,
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "an event stream, as some web pages say": (
        HI,
        {"Content-Type": "text/event-stream"},
    ),
    "text": (
        HI,
        {"Content-Type": "text/plain;charset=UTF-8"},
    ),
    "names in any case": (b'{"MODEL":"free","Stream":false,"MESSAGES":[{"ROLE":"User","Content":"hi"}]}', {}),
    "unknown fields": (b'{"model":"free","stream":false,"messages":[{"content":"hi","x":1}],"x":{"y":[]}}', {}),
    "the later of two equal names": (
        b'{"model":"!bad","model":"free","stream":false,"messages":[{"content":"hi"}]}',
        {},
    ),
    "what follows the value": (b'{"model":"free","stream":false,"messages":[{"content":"hi"}]} {"x":', {}),
    "null is absent": (
        b'{"model":"free","stream":false,"messages":[{"content":"hi"}],"options":null,"think":null}',
        {},
    ),
    "an empty model beside a name": (b'{"model":"","name":"free","stream":false,"messages":[{"content":"hi"}]}', {}),
    "bytes that are not UTF-8": (b'{"model":"free","stream":false,"messages":[{"content":"hi \xff"}]}', {}),
    "a byte order mark": (b'\xef\xbb\xbf{"model":"free","stream":false,"messages":[{"content":"hi"}]}', {}),
    "any authorization": (
        HI,
        {"Authorization": "Bearer "},
    ),
}


@pytest.mark.parametrize("case", LIBERAL.values(), ids=LIBERAL)
def test_a_body_is_json_whatever_it_is_called(proxy: ProxyServer, case: tuple[bytes, dict[str, str]]) -> None:
    body, headers = case
    answer = check(proxy, Row("POST", "/api/chat", body, headers=headers))
    assert answer.json()["message"]["content"].split("said: ")[1].startswith("hi")


TYPES = {
    "one object": (HELLO | {"stream": False}, 200, JSON),
    "a stream, which is the default": (HELLO, 200, NDJSON),
    "a stream for null": (HELLO | {"stream": None}, 200, NDJSON),
    "loading, streamed or not": ({"model": "free"}, 200, JSON),
    "an error before the model is asked": (HELLO | {"model": "!bad"}, 400, JSON),
}


@pytest.mark.parametrize("case", TYPES.values(), ids=TYPES)
def test_content_types(proxy: ProxyServer, case: tuple[dict[str, object], int, str]) -> None:
    body, status, content_type = case
    answer = send(proxy, Row("POST", "/api/chat", body, headers={"Accept": "text/event-stream"}))
    assert (answer.status, answer.content_type) == (status, content_type)
    if content_type == NDJSON:
        check_stream(answer)
        assert answer.headers["x-accel-buffering"] == "no"
    else:
        assert not answer.body.endswith(b"\n")


def test_an_error_in_place_of_a_streams_first_line_has_its_status_and_type(
    named_only: ProxyServer, simulator: Simulator
) -> None:
    simulator.queue("vertex/omni-4", {"error_name": "400_context"})
    answer = check(named_only, Row("POST", "/api/chat", HELLO | {"model": "omni-4"}, 400, type=PLAIN_JSON))
    assert set(answer.json()) == {"error"}


def test_json_is_safe_for_readers_that_break_lines_at_unicode_separators(proxy: ProxyServer) -> None:
    text = "a\u2028b\u2029c\u0085d \U0001f600"
    for stream in (True, False):
        message = {"role": "user", "content": text}
        answer = send(proxy, Row("POST", "/api/chat", {"model": "free", "messages": [message], "stream": stream}))
        raw = answer.body.decode()
        assert not {"\u2028", "\u2029", "\u0085"} & set(raw)
        lines = [json.loads(line) for line in raw.splitlines()]
        assert "".join(line["message"]["content"] for line in lines).endswith(text)
