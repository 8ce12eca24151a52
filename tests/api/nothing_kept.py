"""Marked requests, and a search for what they held: in every table, the database's files, the log, and all pages.

A test of another page, table or report uses both: `ask_with_marks`, then `places` with its own texts added.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import MetaData, select

from ollama_proxy.access.key_texts import fingerprint, shown_prefix
from ollama_proxy.storage.database import Database
from ollama_proxy.storage.key_table import Event, KeyTable
from tests.servers import PATIENCE, ProxyServer, wait_for

#: The server's own keys for such a test: OpenRouter's, and the one that clients send.
UPSTREAM_KEY = "sk-or-v1-upstreammark"
PROXY_KEY = "proxymark-s3cret-key"

#: What the requests hold; no place may have any of it. The name says where it stood.
MARKS: dict[str, str] = {
    "the prompt": "promptmark",
    "the system prompt": "systemmark",
    "the answer": "answermark",
    "the reasoning": "reasoningmark",
    "a tool": "toolmark",
    "a tool's arguments": "argumentmark",
    "a tool's result": "resultmark",
    "an image": base64.b64encode(b"\x89PNG\r\n\x1a\nimagemark").decode().rstrip("="),
    "a schema": "schemamark",
    "an option": "optionmark",
    "a header": "headermark",
    "the query": "querymark",
    "a user's name": "usermark",
    "a model name that is a key": "sk-or-v1-" + "7a3f" * 16,
    "a model name that is another key": "gsk_namemarkkey0000",
    "a model name that is a sentence": "please tell namemark",
    "a wrong key": "wrongkeymark",
    "the proxy's key": PROXY_KEY,
    "the proxy's key as a model name": PROXY_KEY,
    "a wrong key in the path": "pathmark-wrong-key",
    "a key of the database": "opk_DatabaseMarkDatabaseMark12345",
    "OpenRouter's key": UPSTREAM_KEY,
}

_TOOL = {"type": "function", "function": {"name": MARKS["a tool"], "description": "d", "parameters": {}}}
_IMAGE = MARKS["an image"] + "=" * (-len(MARKS["an image"]) % 4)


def scenario() -> dict[str, Any]:
    """How the simulator answers: with marks."""
    return {"text": f"{MARKS['the answer']} is what I say", "reasoning": f"I think {MARKS['the reasoning']}"}


def requests_with_marks() -> list[tuple[str, dict[str, Any]]]:
    """Paths and bodies: of each API, good ones and such as are refused in words."""
    ask = {"role": "user", "content": f"{MARKS['the prompt']} hello"}
    talk = [
        {"role": "system", "content": MARKS["the system prompt"]},
        ask | {"images": [_IMAGE]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": MARKS["a tool"], "arguments": {"q": MARKS["a tool's arguments"]}}}],
        },
        {"role": "tool", "tool_name": MARKS["a tool"], "content": MARKS["a tool's result"]},
        ask,
    ]
    schema = {"type": "object", "properties": {MARKS["a schema"]: {"type": "string"}}}
    chat = {"model": "free", "messages": talk, "tools": [_TOOL], "format": schema}
    names = [text for where, text in MARKS.items() if "model name" in where]
    found: list[tuple[str, dict[str, Any]]] = [
        ("/api/chat", chat),
        ("/api/chat", chat | {"stream": False}),
        ("/ui/playground/chat", chat),
        ("/ui/playground/chat", chat | {"options": {"temperature": MARKS["an option"]}}),
        ("/api/chat", chat | {"format": MARKS["a schema"]}),
        ("/api/chat", chat | {"options": {"temperature": MARKS["an option"]}}),
        ("/api/chat", chat | {"messages": MARKS["the prompt"]}),
        ("/api/chat", chat | {"keep_alive": MARKS["an option"]}),
        ("/api/generate", {"model": "free", "prompt": ask["content"], "system": MARKS["the system prompt"]}),
        ("/api/embed", {"model": "free", "input": MARKS["the prompt"]}),
        ("/v1/chat/completions", {"model": "free", "messages": [ask], "user": MARKS["a user's name"]}),
        ("/v1/chat/completions", {"model": "free", "messages": [ask], "stream": True, "tools": [_TOOL]}),
        ("/v1/chat/completions", {"model": "free", "messages": [ask], "reasoning_effort": MARKS["an option"]}),
        ("/v1/completions", {"model": "free", "prompt": MARKS["the prompt"]}),
        ("/v1/responses", {"model": "free", "input": MARKS["the prompt"]}),
        ("/v1/embeddings", {"model": "free", "input": MARKS["the prompt"], "encoding_format": MARKS["an option"]}),
        ("/v1/messages", {"model": "free", "max_tokens": 50, "messages": [ask], "system": MARKS["the system prompt"]}),
        ("/v1/messages", {"model": "free", "max_tokens": MARKS["an option"], "messages": [ask]}),
    ]
    for name in names:
        found += [
            ("/api/chat", chat | {"model": name, "stream": False}),
            ("/ui/playground/chat", chat | {"model": name}),
            ("/api/generate", {"model": name, "prompt": MARKS["the prompt"], "stream": False}),
            ("/api/embed", {"model": name, "input": MARKS["the prompt"]}),
            ("/api/show", {"model": name}),
            ("/api/pull", {"model": name}),
            ("/v1/chat/completions", {"model": name, "messages": [ask]}),
            ("/v1/embeddings", {"model": name, "input": MARKS["the prompt"]}),
            ("/v1/messages", {"model": name, "max_tokens": 50, "messages": [ask]}),
        ]
    return found


def ask_with_marks(server: ProxyServer) -> int:
    """Send them all, with the proxy's key; and some with wrong keys. Returns how many got a whole answer."""
    headers = {"Authorization": f"Bearer {PROXY_KEY}", "X-Mark": MARKS["a header"]}
    # The first is a client that is known, and noted by its name alone. The Origin is that of the server itself.
    headers |= {"User-Agent": f"ollama-python/{MARKS['a header']}", "Origin": server.url}
    whole = 0
    for path, body in requests_with_marks():
        answer = server.post(f"{path}?key={MARKS['the query']}", body, headers=headers)
        assert answer.status_code != 500, (path, answer.text)
        whole += answer.ok
    wrong = server.post("/api/chat", {"model": "free"}, headers={"Authorization": f"Bearer {MARKS['a wrong key']}"})
    assert wrong.status_code == 401
    for front in (f"/k/{MARKS['a wrong key in the path']}", f"//k//{MARKS['a wrong key in the path']}"):
        for path in ("/api/tags", "/no-such", ""):
            assert server.get(f"{front}{path}", headers=headers).status_code in (401, 404)
    return whole


def ask_with_database_key(server: ProxyServer, database: Database) -> None:
    """Make a key of the database whose text is a mark, and use it: in a header, in the path, in wrong places."""
    key, name = MARKS["a key of the database"], "holder"
    values = {
        "name": name, "folded": name, "sha256": fingerprint(key.encode()).hex(), "prefix": shown_prefix(key),
        "models": "", "free_only": 0, "disabled": 0, "admin": 1, "metrics": 1, "note": "", "created": time.time(),
    }  # fmt: skip
    KeyTable(database).add(values, Event(time.time(), "test", "", "added", name))
    headers = {"Authorization": f"Bearer {key}"}
    wait_for(lambda: all(server.get("/api/tags", headers=headers).ok for _ in range(8)), what="the key counts")
    ask = [{"role": "user", "content": MARKS["the prompt"]}]
    for front, model in (("", "free"), (f"/k/{key}", "free"), (f"/%6b/{key}", key), ("", key), ("", f"x/{key}")):
        for path in ("/api/chat", "/v1/chat/completions"):
            server.post(f"{front}{path}", {"model": model, "messages": ask, "stream": False}, headers=headers)
        server.get(f"{front}/v1/models/{model}", headers=headers)
        server.get(f"{front}/{key}", headers=headers)
    for path in (f"/k/{key}/k/{key}/api/tags", f"/k/{key}/metrics", f"/k/{key}/ui", f"/api/proxy/keys/{key}"):
        assert server.get(path, headers=headers).status_code in (403, 404)
    assert server.post("/api/proxy/keys", {"name": key}, headers=headers).status_code == 400


def tables(database: Database) -> dict[str, str]:
    """All rows of every table of the database, whoever made it, as text."""

    def read(connection: Any) -> dict[str, str]:
        found = MetaData()
        found.reflect(connection)
        return {
            f"table {table.name}": "\n".join(repr(tuple(row)) for row in connection.execute(select(table)))
            for table in found.sorted_tables
        }

    return database.run(read)


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder, the database's among them."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


#: The pages with names, notes and texts that people give: they are looked at with all others.
_GIVEN = ("/ui/keys", "/ui/keys/new", "/ui/keys/events", "/ui/personas", "/ui/personas/new", "/ui/personas/copy")


def pages(server: ProxyServer, paths: Iterable[str]) -> dict[str, str]:
    """What the server answers on these paths, headers too, to whoever has the proxy's key."""
    found = {}
    for path in (*paths, *_GIVEN):
        answer = requests.get(f"{server.url}{path}", headers={"Authorization": f"Bearer {PROXY_KEY}"}, timeout=PATIENCE)
        found[path] = f"{answer.status_code} {dict(answer.headers)}\n{answer.text}"
    return found


def marks_in(places: Mapping[str, str | bytes]) -> list[str]:
    """Which marks stand where: "the prompt in table request_log". Empty if all is well.

    A mark is also looked for as JSON and in base64, without regard to case.
    """
    found = []
    for place, content in places.items():
        data = (content if isinstance(content, bytes) else content.encode("utf-8", "replace")).lower()
        for where, mark in MARKS.items():
            raw = mark.encode()
            forms = {raw, json.dumps(mark)[1:-1].encode(), base64.b64encode(raw).rstrip(b"=")}
            if any(form.lower() in data for form in forms):
                found.append(f"{where} in {place}")
    return found
