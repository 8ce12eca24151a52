"""For how long a failure is remembered: the arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.config import Settings
from ollama_proxy.fallback.cooldown import (
    DAY,
    Cooldown,
    believed,
    cooldown_for,
    limit_for,
    merged,
    merged_limit,
)
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.storage.failure_table import FailureRow, LimitRow

NOW = 1_800_000_000.0
YEAR = 365 * DAY
MODEL = "deepseek/deepseek-chat:free"

SETTINGS = Settings(failure_cooldown_minutes=5, ratelimit_cooldown_minutes=1)


def verdict(blame: Blame, retry_in: float | None = None, status: int = 502) -> Verdict:
    return Verdict(blame, status, "message", "reason", None if retry_in is None else NOW + retry_in)


@pytest.mark.parametrize(
    ("blame", "retry_in", "expected"),
    [
        pytest.param(Blame.MODEL_RATE_LIMIT, None, Cooldown(60), id="rate limit"),
        pytest.param(Blame.MODEL_RATE_LIMIT, 7, Cooldown(60, until=NOW + 7), id="rate limit, with a time"),
        pytest.param(Blame.MODEL_RATE_LIMIT, 9e9, Cooldown(60, until=NOW + DAY), id="at most a day"),
        pytest.param(Blame.MODEL_FAILING, None, Cooldown(300, multiply=True), id="failing"),
        pytest.param(Blame.MODEL_FAILING, 600, Cooldown(300, True, NOW + 600), id="failing, with a time"),
        pytest.param(Blame.MODEL_GONE, None, Cooldown(DAY), id="gone or gated"),
        pytest.param(Blame.PRIVACY, None, Cooldown(DAY), id="privacy"),
        pytest.param(Blame.CAPABILITY, None, None, id="capability: nothing"),
        pytest.param(Blame.MODERATION, None, None, id="moderation: nothing"),
        pytest.param(Blame.REQUEST, None, None, id="request: nothing"),
        pytest.param(Blame.NETWORK, None, None, id="network: nothing"),
        pytest.param(Blame.ACCOUNT_LIMIT, 60, None, id="account limit: no model is to blame"),
        pytest.param(Blame.ACCOUNT, 60, None, id="account: no model is to blame"),
        pytest.param(Blame.UNKNOWN_LIMIT, 60, None, id="unknown limit: no model is to blame"),
    ],
)
def test_cooldown_of_a_model(blame: Blame, retry_in: float | None, expected: Cooldown | None) -> None:
    assert cooldown_for(verdict(blame, retry_in), SETTINGS, now=NOW) == expected


@pytest.mark.parametrize(
    ("blame", "retry_in", "expected"),
    [
        pytest.param(Blame.ACCOUNT_LIMIT, 3600, ("free", 3600), id="free limit: until its reset"),
        pytest.param(Blame.STEALTH_LIMIT, 3600, ("stealth", 3600), id="stealth limit: until its reset"),
        pytest.param(Blame.UNKNOWN_LIMIT, None, ("account", 30), id="unknown limit: half a minute for everything"),
        pytest.param(Blame.UNKNOWN_LIMIT, 5, ("account", 5), id="unknown limit with a time"),
        pytest.param(Blame.ACCOUNT, None, ("account", 60), id="account: a minute"),
        pytest.param(Blame.ACCOUNT, 120, ("account", 120), id="account with a time"),
        pytest.param(Blame.ACCOUNT, 9e9, ("account", DAY), id="at most a day"),
        pytest.param(Blame.MODEL_RATE_LIMIT, 60, None, id="a model's limit is not the account's"),
        pytest.param(Blame.REQUEST, None, None, id="request"),
        pytest.param(Blame.NETWORK, None, None, id="network"),
    ],
)
def test_limit_of_the_account(blame: Blame, retry_in: float | None, expected: tuple[str, float] | None) -> None:
    limit = limit_for(verdict(blame, retry_in, status=429), now=NOW)
    assert (None if limit is None else (limit.scope, limit.until - NOW)) == expected
    if limit is not None:
        assert (limit.message, limit.reason, limit.status, limit.updated_at) == ("message", "reason", 429, NOW)


# What becomes of a row


def merge(old: FailureRow | None, began: float, now: float, **more: Any) -> FailureRow:
    """A failure of an attempt from NOW + began to NOW + now."""
    given: dict[str, Any] = {"blame": "failing", "reason": "502", "digest": None} | more
    cooldown = Cooldown(given.get("base", 300), given.get("multiply", True), given.get("until"))
    new = FailureRow(MODEL, given["blame"], 0, NOW + now, NOW + now, given["reason"], given["digest"])
    return merged(old, new, cooldown, began_at=NOW + began)


RATE_LIMIT = {"multiply": False, "base": 60}

# Each step: (began, now, more) -> (count, until - NOW, failed_at - NOW) of the row afterwards.
STORIES: dict[str, list[tuple[tuple[float, float, dict[str, Any]], tuple[int, float, float]]]] = {
    "the first failure cools down for the base time": [((-1, 0, {}), (1, 300, 0))],
    "each later failure adds one base time, at most five": [
        ((-1, 0, {}), (1, 300, 0)),
        ((400, 401, {}), (2, 1001, 401)),
        ((1100, 1101, {}), (3, 2001, 1101)),
        ((2100, 2101, {}), (4, 3301, 2101)),
        ((3400, 3401, {}), (5, 4901, 3401)),
        ((5000, 5001, {}), (6, 6501, 5001)),
    ],
    "no cooldown is longer than a day": [((-1, 0, {"base": 2 * DAY}), (1, DAY, 0))],
    "a rate limit cools down for the base time each time and is not counted": [
        ((-1, 0, RATE_LIMIT), (0, 60, 0)),
        ((100, 101, RATE_LIMIT), (0, 161, 101)),
    ],
    "rate limits between failures leave the count as it is": [
        ((-1, 0, {}), (1, 300, 0)),
        ((400, 401, RATE_LIMIT), (1, 461, 401)),
        ((500, 501, {}), (2, 1101, 501)),
    ],
    "the first failure counts even if its attempt began before a rate limit was met": [
        ((1, 2, RATE_LIMIT), (0, 62, 2)),
        ((-1, 3, {}), (1, 303, 2)),
        ((-1, 4, {}), (1, 304, 2)),
    ],
    "a rate limit after a quiet day ends the count": [
        ((-1, 0, {}), (1, 300, 0)),
        ((1 + DAY, 2 + DAY, RATE_LIMIT), (0, 62 + DAY, 2 + DAY)),
    ],
    "an attempt that began before the last counted failure is not counted": [
        ((-5, 0, {}), (1, 300, 0)),
        ((-4, 10, {}), (1, 310, 0)),
        ((0, 20, {}), (1, 320, 0)),
        ((0.5, 30, {}), (2, 630, 30)),
    ],
    "Retry-After beyond the cooldown wins": [((-1, 0, {"until": NOW + 7200}), (1, 7200, 0))],
    "Retry-After below the cooldown does not shorten it": [((-1, 0, {"until": NOW + 2}), (1, 300, 0))],
    "Retry-After counts for a later failure too": [
        ((-1, 0, {}), (1, 300, 0)),
        ((400, 401, {"until": NOW + 9000}), (2, 9000, 401)),
    ],
    "a known later deadline stays": [
        ((-1, 0, {"base": DAY, "multiply": False}), (0, DAY, 0)),
        ((10, 11, RATE_LIMIT), (0, DAY, 11)),
    ],
    "a quiet day ends the count": [
        ((-1, 0, {}), (1, 300, 0)),
        ((400, 401, {}), (2, 1001, 401)),
        ((401 + DAY, 402 + DAY, {}), (1, 702 + DAY, 402 + DAY)),
    ],
    "exactly a day is not yet more than a day": [
        ((-1, 0, {}), (1, 300, 0)),
        ((DAY - 1, DAY, {}), (2, DAY + 600, DAY)),
    ],
    "a clock put back a little never moves the last failure back": [
        ((-1, 0, {}), (1, 300, 0)),
        ((1, -100, {}), (2, 500, 0)),
    ],
    "a clock put back by a year makes what it wrote before mean nothing": [
        ((YEAR - 1, YEAR, {}), (1, YEAR + 300, YEAR)),
        ((YEAR + 400, YEAR + 401, {}), (2, YEAR + 1001, YEAR + 401)),
        ((-1, 0, {}), (1, 300, 0)),
    ],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_cooldown_arithmetic(story: list[Any]) -> None:
    row = None
    for (began, now, more), (count, until, failed_at) in story:
        row = merge(row, began, now, **more)
        assert (row.count, row.until - NOW, row.failed_at - NOW) == (count, until, failed_at)


def test_the_deadline_that_wins_keeps_its_blame_reason_and_record() -> None:
    gone = merge(None, -1, 0, blame="gone", reason="404", base=DAY / 2, multiply=False, digest="d1")
    row = merge(gone, 1, 2, blame="rate limit", reason="429", **RATE_LIMIT)
    assert (row.blame, row.reason, row.record_digest, row.until) == ("gone", "404", "d1", gone.until)
    row = merge(row, 3, 4, base=DAY, multiply=False)
    assert (row.blame, row.reason, row.record_digest) == ("failing", "502", None)


FAILURES = st.fixed_dictionaries(
    {
        "began": st.integers(-100, 100_000),
        "now": st.integers(-100, 200_000),
        "base": st.sampled_from([1, 60, 300, 86_400, 200_000]),
        "multiply": st.booleans(),
        "until": st.one_of(st.none(), st.integers(0, 200_000).map(lambda seconds: NOW + seconds)),
    }
)


@given(failures=st.lists(FAILURES, min_size=1, max_size=6))
def test_whatever_happens_a_cooldown_is_no_shorter_than_its_failure_asks_and_no_longer_than_a_day(
    failures: list[dict[str, Any]],
) -> None:
    row = None
    for failure in failures:
        row = merge(row, **failure)
        now = NOW + failure["now"]
        assert min(now + failure["base"], now + DAY) <= row.until <= now + DAY
        assert 0 <= row.count <= len(failures)


LIMIT = LimitRow("free", NOW + 600, "day", "message", NOW, 429)


@pytest.mark.parametrize(
    ("old", "until"),
    [
        pytest.param(None, 60, id="the first"),
        pytest.param(LIMIT, 600, id="a known later deadline stays"),
        pytest.param(replace(LIMIT, until=NOW + 30), 60, id="a later one wins"),
        pytest.param(replace(LIMIT, until=NOW + YEAR, updated_at=NOW + YEAR), 60, id="one of a clock a year ahead"),
    ],
)
def test_the_later_limit_wins(old: LimitRow | None, until: float) -> None:
    new = LimitRow("free", NOW + 60, "minute", "other", NOW + 5, 429)
    found = merged_limit(old, new)
    assert (found.until, found.updated_at) == (NOW + until, NOW + 5)
    assert found.reason == ("day" if until == 600 else "minute")


# Clocks


@pytest.mark.parametrize(
    ("written", "until", "expected"),
    [
        pytest.param(0, 300, 300, id="as it is"),
        pytest.param(-YEAR, -YEAR + 300, -YEAR + 300, id="a clock that was behind: over"),
        pytest.param(0, DAY, DAY, id="a day at most"),
        pytest.param(0, DAY + 60, DAY, id="a little more: cut to a day"),
        pytest.param(1800, 2100, 2100, id="clocks that differ by half an hour are borne"),
        pytest.param(1800, DAY + 1800, DAY, id="but never more than a day"),
        pytest.param(3601, 3901, None, id="written more than an hour ahead: not believed"),
        pytest.param(0, DAY + 3601, None, id="reaches more than an hour beyond a day: not believed"),
        pytest.param(YEAR, YEAR + 300, None, id="a clock that was a year ahead"),
        pytest.param(0, float("inf"), None, id="for ever"),
        pytest.param(float("inf"), 300, None, id="written at no time at all"),
    ],
)
def test_what_is_believed_of_a_row(written: float, until: float, expected: float | None) -> None:
    failure = FailureRow(MODEL, "failing", 1, NOW + written, NOW + until, "502", None)
    limit = LimitRow("free", NOW + until, "day", "message", NOW + written, 429)
    for row in (failure, limit):
        found = believed(row, NOW)
        assert found == (None if expected is None else replace(row, until=NOW + expected))
