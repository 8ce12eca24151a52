"""ops.commands.screen: what the status shows of a report."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.ops.commands.screen import quota_bar, status_lines
from ollama_proxy.ops.terminal import Palette

PLAIN = Palette(colour=False)
#: 12:00 UTC on 22 November 2026.
NOW = 1795348800.0


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def shown(part: str, **values: Any) -> str:
    return "\n".join(status_lines({"server": None, part: values}, NOW, PLAIN)[2:])


@pytest.mark.parametrize(
    ("used", "limit", "bar"),
    [
        (0, 50, "[" + "." * 30 + "]"),
        (1, 1000, "[#" + "." * 29 + "]"),
        (25, 50, "[" + "#" * 15 + "." * 15 + "]"),
        (999, 1000, "[" + "#" * 29 + ".]"),
        (50, 50, "[" + "#" * 30 + "]"),
        (1060, 1000, "[" + "#" * 30 + "]"),
    ],
)
def test_the_bar_is_empty_or_full_only_if_the_quota_is(used: int, limit: int, bar: str) -> None:
    assert quota_bar(used, limit, PLAIN) == bar


@pytest.mark.parametrize(("used", "colour"), [(39, 32), (40, 33), (49, 33), (50, 31)])
def test_the_bar_warns_from_80_percent_on(used: int, colour: int) -> None:
    assert f"\x1b[{colour}m" in quota_bar(used, 50, Palette(colour=True))


def test_without_a_server_it_says_so() -> None:
    assert status_lines({"server": None}, NOW, PLAIN) == ["no server answers", ""]


def test_the_server() -> None:
    server = {
        "name": "ollama-proxy",
        "version": "9.9",
        "since": "2026-11-22T08:00:00Z",
        "workers": 2,
        "mode": "paid",
        "access": "Listening on x",
    }
    first, second, *_ = status_lines({"server": server}, NOW, PLAIN)
    assert first == "ollama-proxy 9.9, up 4 h, 2 workers, all models"
    assert second == "Listening on x"


def test_the_catalogue() -> None:
    catalog = {"models": 5, "free": 4, "fetched_at": "2026-11-22T11:55:00Z", "error": None}
    assert shown("catalog", **catalog) == "catalogue  5 models, 4 free; 5 min old"
    assert shown("catalog", **catalog | {"fetched_at": None, "error": "away"}) == "catalogue  none: away"


def test_the_database() -> None:
    assert shown("database", label="d", state="ok", dropped={"a": 0}) == "database   ok, d"
    assert shown("database", label="d", state="degraded", dropped={"a": 1, "b": 2}).endswith("d; 3 writes were lost")
    assert shown("database", label="d", state="degraded", dropped={"a": 1, "b": 0}).endswith("d; 1 write was lost")


def test_what_cools_down_is_named_and_what_is_over_is_not() -> None:
    cooling = {
        "id": "a/b",
        "name": "b",
        "state": "cooling",
        "reason": "rate limited",
        "until": "2026-11-22T12:00:30Z",
    }
    over = cooling | {"id": "a/c", "name": None, "state": "over"}
    gone = cooling | {"name": None}
    lines = status_lines({"server": None, "failures": [cooling, over, gone]}, NOW, PLAIN)
    assert lines[-3:] == ["cooling down: 2", "  b    rate limited  30 s left", "  a/b  rate limited  30 s left"]


QUOTA: dict[str, Any] = {
    "free_used": 11,
    "free_limit": 50,
    "resets_at": "2026-11-23T00:00:00Z",
    "minute_used": 2,
    "minute_limit": 20,
    "credits_limit": None,
    "credits_left": None,
    "usage_daily": 0,
    "usage_monthly": 0,
}


def test_the_quota() -> None:
    assert shown("quota", **QUOTA).splitlines() == [
        "quota      [#######.......................] 11 of 50 free requests used today",
        "           39 left; resets at 2026-11-23 00:00, in 12 h",
        "           2 of 20 a minute",
    ]
    assert shown("quota", **QUOTA | {"free_limit": None, "minute_limit": None}) == (
        "quota      unknown: OpenRouter has not told it yet"
    )
    spent = QUOTA | {"credits_limit": 10, "credits_left": 2.5, "usage_daily": 0.125, "usage_monthly": 7.5}
    assert shown("quota", **spent).splitlines()[-1] == (
        "credits    $2.50 of $10.00 left, $0.12 spent today, $7.50 this month"
    )


def test_the_account() -> None:
    key = {"state": "valid", "reason": None}
    limit = {"scope": "free", "reason": "free limit per day", "until": "2026-11-22T14:00:00Z"}
    lines = status_lines({"server": None, "key": key, "limits": [limit]}, NOW, PLAIN)[2:]
    assert lines == [
        "account    OpenRouter accepts the key",
        "           limit (free): free limit per day, lifts in 2 h",
    ]
    refused = status_lines({"key": {"state": "refused", "reason": "check it"}}, NOW, Palette(colour=True))
    assert "\x1b[31mcheck it" in refused[-1]


def test_usage() -> None:
    usage = {
        "requests": 200,
        "failed_share": 0.025,
        "attempts": 230,
        "first_token": {"p50": 0.82, "p95": 3.1},
        "tokens_in": 10,
        "tokens_out": 20,
        "cost": 0.5,
    }
    assert shown("usage", **usage).splitlines() == [
        "24 hours   200 requests, 2.5 % failed; 230 attempts",
        "           first token: half within 0.82 s, 95 % within 3.1 s",
        "           10 tokens in, 20 out, $0.5000",
    ]
    assert shown("usage", requests=0) == "24 hours   no requests"
    one = usage | {"requests": 1, "failed_share": 0, "attempts": 1, "tokens_in": 1, "cost": 0}
    first, _, last = shown("usage", **one).splitlines()
    assert (first, last.strip()) == ("24 hours   1 request, 0.0 % failed; 1 attempt", "1 token in, 20 out")
