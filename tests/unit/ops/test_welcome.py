"""ops.welcome: what a start says to a person."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ollama_proxy.config import Settings
from ollama_proxy.ledger.quota import Quota
from ollama_proxy.ops.terminal import Palette
from ollama_proxy.ops.welcome import models_line, quota_line, welcome_lines
from tests.unit.catalog.free_models import catalog_of, record

PLAIN = Palette(colour=False)
#: 12:00 UTC on 22 November 2026.
NOW = 1795348800.0


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def said(lan: str | None = None, warnings: tuple[str, ...] = (), **settings: Any) -> str:
    return "\n".join(welcome_lines(Settings(**settings), lan=lan, warnings=warnings, paint=PLAIN))


@pytest.mark.parametrize(
    ("settings", "there", "not_there"),
    [
        pytest.param(
            {},
            ["free models only", "http://localhost:11434\n", "http://10.1.2.3:11434\n"],
            ["Bearer"],
            id="all networks",
        ),
        pytest.param({"host": "127.0.0.1"}, ["http://localhost:11434\n"], ["10.1.2.3"], id="this machine only"),
        pytest.param({"host": "10.9.9.9", "port": 80}, ["http://10.9.9.9:80\n"], ["localhost"], id="one address"),
        pytest.param({"host": "::1"}, ["http://[::1]:11434\n"], ["10.1.2.3"], id="IPv6"),
        pytest.param(
            {"proxy_api_keys": ("s3cret",)},
            ["serves whoever has the key", "-H 'Authorization: Bearer KEY'"],
            ["s3cret"],
            id="with a key",
        ),
        pytest.param({"free_mode": False}, ["all models, which cost money"], ["free models only"], id="paid mode"),
    ],
)
def test_the_first_lines(settings: dict[str, Any], there: list[str], not_there: list[str]) -> None:
    lines = said("10.1.2.3", **settings)
    assert [words for words in there if words not in lines] == []
    assert [words for words in not_there if words in lines] == []


def test_warnings_come_last() -> None:
    assert said(warnings=("PROXY_API_KEY is not a setting",)).endswith("\nwarning: PROXY_API_KEY is not a setting")


def test_models() -> None:
    catalog = catalog_of(record("acme/bolt:free"))
    assert models_line(catalog, None, PLAIN) == "1 model; bolt:free is tried first"
    assert models_line(None, "away", PLAIN) == "no models yet: away"


@pytest.mark.parametrize(
    ("quota", "line"),
    [
        pytest.param(Quota(), None, id="nobody knows"),
        pytest.param(Quota(free_used=8, free_limit=50, free_left=42), "42 of 50 free requests left today", id="some"),
        pytest.param(
            Quota(free_used=50, free_limit=50, free_left=0, resets_at=NOW + 7200),
            "0 of 50 free requests left today; free models answer again at 14:00, in 2 h",
            id="none",
        ),
        pytest.param(
            Quota(free_left=0, resets_at=NOW + 60),
            "no free requests left today; free models answer again at 12:01, in 60 s",
            id="none, of nobody knows how many",
        ),
    ],
)
def test_the_quota(quota: Quota, line: str | None) -> None:
    assert quota_line(quota, NOW, PLAIN) == line
