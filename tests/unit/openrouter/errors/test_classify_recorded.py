"""Every recorded error of OpenRouter and its verdict."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ollama_proxy.openrouter.errors.classify import classify
from ollama_proxy.openrouter.errors.failure import Blame, Failure, FailureKind
from tests.unit.openrouter.errors.upstream_errors import NOW

RECORDED = {
    # beginning of the file name: blame, client status, names a time, model list stale
    "http-200.stream-error.empty-choices": (Blame.CAPABILITY, 400, False, False),
    "http-200.stream-error.finish-error.gemini": (Blame.MODEL_FAILING, 502, False, False),
    "http-200.stream-error.only-event.free-nvidia-limit": (Blame.MODEL_FAILING, 502, False, False),
    "http-400.context-length-with-output": (Blame.CAPABILITY, 400, False, False),
    "http-400.context-length": (Blame.CAPABILITY, 400, False, False),
    "http-400.embedding-model-does-not-exist": (Blame.MODEL_GONE, 404, False, True),
    "http-400.embedding-model-on-chat": (Blame.CAPABILITY, 400, False, False),
    "http-400.empty-input": (Blame.REQUEST, 400, False, False),
    "http-400.invalid-model": (Blame.MODEL_GONE, 404, False, True),
    "http-400.missing-messages": (Blame.REQUEST, 400, False, False),
    "http-400.provider-wrapped.google-schema": (Blame.CAPABILITY, 400, False, False),
    "http-400.provider-wrapped.phala-context": (Blame.CAPABILITY, 400, False, False),
    "http-400.reasoning-mandatory": (Blame.CAPABILITY, 400, False, False),
    "http-400.zod-validation": (Blame.REQUEST, 400, False, False),
    "http-401.missing-authentication-header": (Blame.ACCOUNT, 502, False, False),
    "http-401.no-key": (Blame.ACCOUNT, 502, False, False),
    "http-402.image-balance-key-limit": (Blame.ACCOUNT, 502, False, False),
    "http-402.insufficient-credits": (Blame.ACCOUNT, 502, False, False),
    "http-402.more-credits-or-fewer-max-tokens": (Blame.ACCOUNT, 502, False, False),
    "http-403.attestation-required": (Blame.MODEL_GONE, 502, False, False),
    "http-403.key-limit-exceeded": (Blame.ACCOUNT, 502, False, False),
    "http-403.moderation": (Blame.MODERATION, 400, False, False),
    "http-403.region-restricted": (Blame.MODEL_GONE, 502, False, False),
    "http-404.all-providers-ignored": (Blame.PRIVACY, 502, False, False),
    "http-404.guardrail-account": (Blame.PRIVACY, 502, False, False),
    "http-404.guardrail-old": (Blame.PRIVACY, 502, False, False),
    "http-404.no-allowed-providers": (Blame.CAPABILITY, 400, False, False),
    "http-404.no-endpoints-image-input": (Blame.CAPABILITY, 400, False, False),
    "http-404.no-endpoints-parameters": (Blame.CAPABILITY, 400, False, False),
    "http-404.no-endpoints-tool-use": (Blame.CAPABILITY, 400, False, False),
    "http-429.account.free-models-per-day-high-balance": (Blame.ACCOUNT_LIMIT, 429, True, False),
    "http-429.account.free-models-per-day-stealth": (Blame.STEALTH_LIMIT, 429, True, False),
    "http-429.account.free-models-per-day": (Blame.ACCOUNT_LIMIT, 429, True, False),
    "http-429.account.free-models-per-min.2025": (Blame.ACCOUNT_LIMIT, 429, True, False),
    "http-429.account.free-models-per-min.2026-07": (Blame.ACCOUNT_LIMIT, 429, True, False),
    "http-429.account.free-models-per-min.2026-10": (Blame.ACCOUNT_LIMIT, 429, True, False),
    "http-429.upstream-shared-pool.free-gemini.attempt1": (Blame.MODEL_RATE_LIMIT, 429, False, False),
    "http-429.upstream-shared-pool.free-gemini.attempt2": (Blame.MODEL_RATE_LIMIT, 429, False, False),
    "http-429.upstream-shared-pool.free-gemma-4": (Blame.MODEL_RATE_LIMIT, 429, False, False),
    "http-429.upstream-shared-pool.retry-after.free-liquid": (Blame.MODEL_RATE_LIMIT, 429, True, False),
}


@pytest.fixture(scope="module")
def recordings() -> dict[str, Failure]:
    folder = os.environ.get("OPENROUTER_RECORDINGS")
    if not folder:
        pytest.skip("OPENROUTER_RECORDINGS names no folder of recorded OpenRouter bodies")
    items = json.loads(Path(folder, "INDEX.json").read_bytes())["items"]
    return {
        item["response"].removeprefix("errors/").rsplit(".response.", 1)[0]: Failure(
            FailureKind.EVENT if item["status"] == 200 else FailureKind.STATUS,
            item["status"],
            item["headers"],
            Path(folder, item["response"]).read_bytes(),
        )
        for item in items
        if item["response"].startswith("errors/")
    }


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_error(name: str, recordings: dict[str, Failure]) -> None:
    found = classify(recordings[name], now=NOW)
    assert (found.blame, found.status, found.retry_at is not None, found.refresh) == RECORDED[name]
    assert ("upstream error" in found.message) == (found.blame is not Blame.REQUEST)
    assert "REDACTED" not in found.message


def test_every_recorded_error_is_in_the_table(recordings: dict[str, Failure]) -> None:
    assert set(recordings) == set(RECORDED)
