"""ops.checks: what the findings say about given facts."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.ledger.key_check import KeyState
from ollama_proxy.ledger.quota import Quota
from ollama_proxy.ops.checks import look_at_credits, look_at_quota
from ollama_proxy.ops.machine_checks import clock_error


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        pytest.param({}, [("ok", "no credit limit")], id="nothing said"),
        pytest.param({"limit": None, "limit_remaining": None}, [("ok", "no credit limit")], id="no limit"),
        pytest.param(
            {"limit": 10, "limit_remaining": 2.5}, [("ok", "$2.50 of the key's limit of $10.00")], id="some left"
        ),
        pytest.param({"limit": 10, "limit_remaining": -0.1}, [("note", "$-0.10 of")], id="none left"),
        pytest.param(
            {"free_model_daily_requests": {"used": 3, "limit": 50}, "is_free_tier": True},
            [("ok", "no credit limit"), ("ok", "3 of 50 free requests used today")],
            id="free requests left",
        ),
        pytest.param(
            {"free_model_daily_requests": {"used": 1060, "limit": 1000}},
            [("ok", "no credit limit"), ("WRONG", "again after midnight UTC")],
            id="more free requests used than there are",
        ),
        pytest.param(
            {"limit": "10", "limit_remaining": True, "free_model_daily_requests": [1]},
            [("ok", "no credit limit")],
            id="values of other types",
        ),
    ],
)
def test_credits_and_quota(limits: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    findings = list(look_at_credits(limits))
    assert [finding.grade for finding in findings] == [health for health, _ in expected]
    assert all(words in finding.text for finding, (_, words) in zip(findings, expected, strict=True))


@pytest.mark.parametrize(
    ("date", "error"),
    [
        ("Sun, 22 Nov 2026 05:20:40 GMT", 0.0),
        ("Sun, 22 Nov 2026 05:20:10 GMT", 30.0),
        ("Sun, 22 Nov 2026 06:20:40 GMT", -3600.0),
        ("", None),
        ("yesterday", None),
    ],
)
def test_the_clock_is_compared_with_an_http_date(date: str, error: float | None) -> None:
    assert clock_error(date, 1795324840.0) == error


#: 12:00 UTC on 22 November 2026, and when its day ends.
NOW, MIDNIGHT = 1795348800.0, 1795392000.0


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        pytest.param({}, [("note", "has not told yet")], id="nothing known"),
        pytest.param({"key_state": KeyState.VALID}, [("ok", "accepted")], id="a good key"),
        pytest.param({"key_state": KeyState.REFUSED}, [("WRONG", "(401)")], id="a refused key"),
        pytest.param({"key_state": KeyState.NO_CREDITS}, [("WRONG", "more credits (402)")], id="no credits"),
        pytest.param({"key_state": KeyState.KEY_LIMIT}, [("WRONG", "is used up (403)")], id="the key's limit"),
        pytest.param(
            {"key_state": KeyState.VALID, "free_used": 3, "free_limit": 50, "free_left": 47, "is_free_tier": True},
            [("ok", "accepted"), ("ok", "3 of 50 free requests used today; an account that once")],
            id="some free requests left",
        ),
        pytest.param(
            {"key_state": KeyState.VALID, "free_used": 50, "free_limit": 50, "free_left": 0, "resets_at": MIDNIGHT},
            [("ok", "accepted"), ("WRONG", "50 of 50 free requests used today; free models answer again in 12 h")],
            id="the day's requests are used up",
        ),
        pytest.param(
            {"free_left": 0, "resets_at": MIDNIGHT},
            [("note", "has not told"), ("WRONG", "the day's free requests are used up; free models")],
            id="the same, of nobody knows how many",
        ),
        pytest.param(
            {"key_state": KeyState.VALID, "credits_limit": 10.0, "credits_left": 0.0},
            [("ok", "accepted"), ("note", "$0.00 of the key's limit of $10.00 are left")],
            id="credits",
        ),
    ],
)
def test_what_a_server_knows_of_its_account(quota: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    findings = list(look_at_quota(Quota(**quota), NOW))
    assert [finding.grade for finding in findings] == [grade for grade, _ in expected]
    assert all(words in finding.text for finding, (_, words) in zip(findings, expected, strict=True))
