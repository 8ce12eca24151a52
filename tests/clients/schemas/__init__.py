"""What clients that cannot run in the suite accept, rebuilt from their sources as strict models: one module a client.

A module has a function for each kind of answer that its client reads: `version`, `tags`, `show`, `ps` (the body),
`chat`, `generate`, `pull` (a line, or the one object), `embed`, `embeddings` (the body), `error` (status and body). It
raises where the client would fail, drop what it got, or show the wrong thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from tests.clients.schemas import (
    ai_sdk,
    anythingllm,
    codex,
    continue_dev,
    copilot,
    dotnet,
    enchanted,
    first_key_readers,
    home_assistant,
    koog,
    ollama4j,
    open_webui,
    raycast,
    spring_ai,
    zed,
)

CLIENTS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        ai_sdk,
        anythingllm,
        codex,
        continue_dev,
        copilot,
        dotnet,
        enchanted,
        first_key_readers,
        home_assistant,
        koog,
        ollama4j,
        open_webui,
        raycast,
        spring_ai,
        zed,
    )
}
KINDS = ("version", "tags", "show", "ps", "chat", "generate", "pull", "embed", "embeddings")


class Refused(AssertionError):
    """A client would not have taken an answer; the text says which and why."""


def validate(path: str, status: int, content_type: str, body: bytes) -> None:
    """Show an answer of the Ollama API to every client that reads its kind. Raises Refused."""
    kind = path.partition("?")[0].strip("/").removeprefix("api/")
    if kind not in KINDS or not content_type.startswith(("application/json", "application/x-ndjson")) or not body:
        return
    values = [json.loads(line) for line in body.splitlines()]
    if "_debug_info" in values[0]:
        return  # a client asks for this by hand only
    for name, module in CLIENTS.items():
        for value in values:
            if set(value) == {"error"}:
                _show(name, module, "error", status, value)
            else:
                _show(name, module, kind, value)


def _show(name: str, module: ModuleType, kind: str, *answer: Any) -> None:
    reader = getattr(module, kind, None)
    if reader is None:
        return
    try:
        reader(*answer)
    except (AssertionError, ValueError, KeyError, TypeError, LookupError) as error:
        raise Refused(f"{name} refuses a {kind} answer: {error}: {_short(answer[-1])}") from error


def _short(value: Mapping[str, Any]) -> str:
    return json.dumps(value)[:400]
