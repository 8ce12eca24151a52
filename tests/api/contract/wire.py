"""One request as it is on the wire, what must come back, and the rules that every stream of the Ollama API keeps.

`Row` is a line of the contract's tables; `send` plays it over a real socket, so that no client library polishes it.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.clients.schemas import validate
from tests.servers import PATIENCE, ProxyServer

JSON = "application/json; charset=utf-8"
PLAIN_JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"
TCP_SEGMENT = 1300


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers in lower case, and the writes of the body: the chunks as they were sent, or one if it was not."""

    status: int
    headers: Mapping[str, str]
    writes: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def json(self) -> Any:
        """The one JSON value of the body."""
        return json.loads(self.body)

    def lines(self) -> list[dict[str, Any]]:
        """The objects of a stream, which is checked first."""
        check_stream(self)
        return [json.loads(line) for line in self.body.splitlines()]


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and the answer to it: `body` is sent as it is if it is bytes, as JSON otherwise.

    `want` is the body: text, or an object of which each member given must be as given.
    """

    method: str
    path: str
    body: Any = None
    status: int = 200
    want: Any = None
    type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def post(path: str, body: Any, status: int, error: str, *, type: str = JSON) -> Row:
    """A POST that is refused with `{"error": error}`."""
    return Row("POST", path, body, status, {"error": error}, type)


def send(server: ProxyServer, row: Row, *, seconds: float = PATIENCE) -> Answer:
    """Send a row's request, read the whole answer, and show it to the clients that cannot run here."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=seconds)
    try:
        data = row.body if isinstance(row.body, bytes | None) else json.dumps(row.body).encode()
        connection.request(row.method, row.path, data, dict(row.headers))
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, headers, tuple(_writes(response)))
    finally:
        connection.close()
    validate(row.path, answer.status, answer.content_type, answer.body)
    return answer


def _writes(response: http.client.HTTPResponse) -> list[bytes]:
    if not response.chunked:
        return [response.read()]
    writes = []
    assert response.fp is not None
    while size := int(response.fp.readline().split(b";")[0], 16):
        writes.append(response.fp.read(size))
        assert response.fp.readline() == b"\r\n"
    return writes


def check(server: ProxyServer, row: Row) -> Answer:
    """Send a row and compare the answer with what it says."""
    answer = send(server, row)
    assert answer.status == row.status, answer.body
    assert answer.content_type == row.type
    if isinstance(row.want, str):
        assert answer.body.decode() == row.want
    elif isinstance(row.want, Mapping):
        got = answer.json()
        assert {name: got.get(name) for name in row.want} == dict(row.want)
        if "error" in row.want:
            assert set(got) == {"error"}
            assert b"\n" not in answer.body
    return answer


def check_stream(answer: Answer) -> None:
    """The rules that every stream of chat and generate keeps, for the sake of clients that rely on each of them."""
    assert answer.content_type == NDJSON
    for write in answer.writes:
        assert write.endswith(b"\n"), "a write ends where a line ends: some clients parse each network read"
        assert len(write) <= TCP_SEGMENT or write.count(b"\n") == 1, (
            "a write fits one segment, unless one line does not"
        )
    text = answer.body.decode()
    assert text.splitlines() == text.removesuffix("\n").split("\n"), "nothing in a line looks like a line's end"
    lines = [json.loads(line) for line in text.splitlines()]  # a blank line or a comment would fail here
    for line in lines:
        assert not _holds_null(line), "no null anywhere"
    if set(lines[-1]) == {"error"}:
        assert isinstance(lines.pop()["error"], str)
        assert not any(line["done"] for line in lines), "an error takes the place of the last line"
    else:
        _check_last(lines.pop())
    indexes = [index for line in lines for index in _check_line(line)]
    assert indexes == list(range(len(indexes))), "each tool call has an index of its own, in order"


def _check_last(line: dict[str, Any]) -> None:
    assert line["done"] is True
    assert line["done_reason"] in ("stop", "length")
    said = line["message"] if "message" in line else {"content": line["response"]}
    assert said["content"] == "", "some clients drop the last line's text"
    assert not {"thinking", "tool_calls"} & set(said)
    for name in ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"):
        assert type(line[name]) is int
        assert line[name] > 0
    assert type(line["prompt_eval_count"]) is int
    assert type(line["eval_count"]) is int


def _check_line(line: dict[str, Any]) -> list[int]:
    """Check a line that is not the last; the indexes of its tool calls."""
    assert line["done"] is False
    assert "error" not in line
    assert not {"done_reason", "total_duration", "eval_count", "prompt_eval_count"} & set(line)
    assert isinstance(line["model"], str)
    assert line["created_at"].endswith("Z")
    message = line.get("message", line)
    if "message" in line:
        assert message["role"] == "assistant"
    content = message["content"] if "message" in line else line["response"]
    assert isinstance(content, str)
    assert not (content and message.get("thinking")), "thinking and content never share a line"
    assert message.get("thinking") != ""
    calls = message.get("tool_calls", [])
    assert len(calls) <= 1, "one tool call a line"
    for call in calls:
        assert content == ""
        assert set(call) == {"id", "function"}
        assert set(call["function"]) == {"index", "name", "arguments"}
        assert isinstance(call["function"]["arguments"], dict)
    return [call["function"]["index"] for call in calls]


def _holds_null(value: Any) -> bool:
    if isinstance(value, dict):
        # The arguments of a tool call are the model's own, and may hold anything.
        return any(name != "arguments" and _holds_null(part) for name, part in value.items())
    if isinstance(value, list):
        return any(map(_holds_null, value))
    return value is None
