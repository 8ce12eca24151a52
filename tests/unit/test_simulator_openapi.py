"""The check of bodies against OpenRouter's OpenAPI document, with a small document of our own."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from simulator.openapi import Document, document_path
from simulator.process import Simulator

SCHEMAS: dict[str, Any] = {
    "Ask": {
        "type": "object",
        "properties": {"model": {"type": "string"}, "messages": {"items": {"$ref": "#/components/schemas/Message"}}},
        "required": ["messages"],
    },
    "Message": {"type": "object", "properties": {"role": {"enum": ["user"]}}, "required": ["role"]},
}
CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/Ask"}}}
DOCUMENT = {
    "openapi": "3.1.0",
    "components": {"schemas": SCHEMAS},
    "paths": {"/chat/completions": {"post": {"requestBody": {"content": CONTENT}}}},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(DOCUMENT))
    return file


@pytest.mark.parametrize(
    ("endpoint", "body", "said"),
    [
        ("/chat/completions", {"messages": [{"role": "user"}]}, ""),
        ("/chat/completions", {"messages": [{"role": "USER"}]}, "messages/0/role"),
        ("/chat/completions", {}, "the body"),
        ("/chat/completions", None, "the body"),
        ("/completions", {}, ""),
    ],
)
def test_a_complaint_says_where(path: Path, endpoint: str, body: Any, said: str) -> None:
    complaint = Document(path).complaint(endpoint, body)
    assert said in complaint
    assert bool(complaint) is bool(said)


def test_where_the_document_lies(path: Path, tmp_path: Path) -> None:
    assert document_path({}) is None
    assert document_path({"OPENROUTER_OPENAPI": "/x/y.json"}) == Path("/x/y.json")
    assert document_path({"OPENROUTER_RECORDINGS": str(tmp_path)}) == path
    assert document_path({"OPENROUTER_RECORDINGS": str(tmp_path / "none")}) is None


def test_the_log_shows_invalid_bodies(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_OPENAPI", str(path))
    with Simulator() as simulator:
        for role in ("user", "nobody"):
            connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=10)
            body = json.dumps({"model": "m", "messages": [{"role": role}]})
            connection.request("POST", "/api/v1/chat/completions", body, {"Authorization": "Bearer sk-or-x"})
            connection.getresponse().read()
            connection.close()
        assert len(simulator.chats()) == 2
        [entry] = simulator.log(invalid=1)
        assert "messages/0/role" in entry["invalid"]
