"""Whatever bytes, objects and headers come, there is a verdict, and it can be sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_proxy.openrouter.errors.classify import classify
from ollama_proxy.openrouter.errors.failure import Blame, Failure, FailureKind, Verdict
from tests.unit.openrouter.errors.upstream_errors import NOW, error, verdict

TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["Rate limit exceeded: free-models-per-day", "Provider returned error", "{", "data: {}", "9e999", "[["]
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
METADATA = st.dictionaries(
    st.sampled_from(
        [
            "raw",
            "provider_name",
            "limit_source",
            "headers",
            "retry_after_seconds",
            "failed_routing_step",
            "error_type",
            "flagged_input",
            "patterns",
            "reasons",
            "availability",
        ]
    ),
    JSON | st.fixed_dictionaries({"X-RateLimit-Reset": JSON, "Retry-After": JSON}),
    max_size=5,
)
BODIES = (
    st.none()
    | st.binary(max_size=300)
    | st.dictionaries(TEXTS, JSON, max_size=4)
    | st.fixed_dictionaries(
        {"error": st.fixed_dictionaries({"message": JSON, "code": JSON, "metadata": METADATA | JSON})}
    )
    | st.fixed_dictionaries({"choices": JSON, "error": JSON})
)


def check(found: Verdict) -> None:
    assert isinstance(found.blame, Blame)
    assert 400 <= found.status <= 504
    assert 0 < len(found.message) < 600
    assert len(found.message.splitlines()) == 1
    found.message.encode()
    assert 0 < len(found.reason) < 80
    assert found.retry_at is None or NOW <= found.retry_at <= NOW + 86_400
    assert found.smaller_max_tokens is None or found.smaller_max_tokens > 0


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(FailureKind),
    status=st.none() | st.integers(-1, 1000),
    headers=st.dictionaries(st.sampled_from(["Retry-After", "X-RateLimit-Reset", "x"]), TEXTS, max_size=3),
    body=BODIES,
    detail=TEXTS,
)
def test_nothing_raises(kind: FailureKind, status: int | None, headers: dict[str, str], body: Any, detail: str) -> None:
    check(classify(Failure(kind, status, headers, body, detail), now=NOW))


@given(cut=st.integers(0, 400))
def test_a_body_cut_anywhere_is_judged(cut: int) -> None:
    whole = json.dumps(
        error("Rate limit exceeded: free-models-per-day. ", 429, headers={"X-RateLimit-Reset": "1"})
    ).encode()
    found = verdict(whole[:cut], 429)
    check(found)
    assert found.blame in (Blame.ACCOUNT_LIMIT, Blame.UNKNOWN_LIMIT)


@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b'{"error":' + b"9" * 5000 + b"}", b'"' + b"\\" * 9999],
)
def test_hostile_bytes(body: bytes) -> None:
    check(verdict(body, 500))
    check(verdict(body, 200, FailureKind.EVENT))
