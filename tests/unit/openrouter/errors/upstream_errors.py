"""Builders of upstream errors, for the tests of what becomes of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ollama_proxy.openrouter.errors.classify import classify
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind, Verdict

NOW = datetime(2026, 5, 4, 20, 48, 0, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 5, 5, tzinfo=UTC).timestamp()
PRIVACY = "https://openrouter.ai/settings/privacy"
KEYS = "https://openrouter.ai/settings/keys"
CREDITS = "Insufficient credits. Add more using https://openrouter.ai/settings/credits"
PER_DAY = "Rate limit exceeded: free-models-per-day. "


def verdict(
    body: Any = None, status: int | None = 400, kind: FailureKind = FailureKind.STATUS, **headers: str
) -> Verdict:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(Failure(kind, status, named, body), now=NOW)


def error(message: str = "", code: Any = None, **metadata: Any) -> dict[str, Any]:
    inner: dict[str, Any] = {"message": message}
    if code is not None:
        inner["code"] = code
    if metadata:
        inner["metadata"] = metadata
    return {"error": inner, "user_id": "user_2abcDEF"}


def wrapped(code: int, text: str, provider: str = "Chutes", **metadata: Any) -> dict[str, Any]:
    raw = json.dumps({"error": {"message": text, "type": "invalid_request_error"}})
    return error("Provider returned error", code, raw=raw, provider_name=provider, **metadata)


def event(**chunk: Any) -> Verdict:
    return verdict({"id": "gen-1", "object": "chat.completion.chunk", **chunk}, 200, FailureKind.EVENT)
