"""What a process remembers of failures, by an injected clock. How processes share it: test_memory_shared.py."""

from __future__ import annotations

import pytest

from ollama_proxy.fallback.memory import FailureMemory
from ollama_proxy.openrouter.errors.failure import Blame
from tests.unit.catalog.free_models import model
from tests.unit.fallback.failures import DAY, MINUTE, SETTINGS, START, A, B, Clock, fail, left


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alone(clock: Clock) -> FailureMemory:
    """A memory without a database."""
    return FailureMemory(SETTINGS, clock=clock)


# The arithmetic, as far as it is about this module


@pytest.mark.parametrize(
    ("blame", "retry_in", "seconds"),
    [
        pytest.param(Blame.MODEL_RATE_LIMIT, None, MINUTE, id="rate limit"),
        pytest.param(Blame.MODEL_RATE_LIMIT, 5, MINUTE, id="rate limit: at least the cooldown"),
        pytest.param(Blame.MODEL_RATE_LIMIT, 600, 600, id="rate limit: until Retry-After"),
        pytest.param(Blame.MODEL_FAILING, None, 5 * MINUTE, id="failing"),
        pytest.param(Blame.MODEL_GONE, None, DAY, id="gone"),
        pytest.param(Blame.PRIVACY, None, DAY, id="privacy"),
        pytest.param(Blame.CAPABILITY, None, None, id="capability"),
        pytest.param(Blame.MODERATION, None, None, id="moderation"),
        pytest.param(Blame.REQUEST, None, None, id="request"),
        pytest.param(Blame.NETWORK, None, None, id="network"),
        pytest.param(Blame.ACCOUNT, None, None, id="account"),
        pytest.param(Blame.ACCOUNT_LIMIT, 600, None, id="account limit"),
    ],
)
def test_who_cools_down(
    alone: FailureMemory, clock: Clock, blame: Blame, retry_in: float | None, seconds: float | None
) -> None:
    fail(alone, clock, 0, blame, retry_in=retry_in)
    assert left(alone, clock) == seconds
    assert left(alone, clock, B) is None


def test_the_cooldown_grows_with_failures_and_ends(alone: FailureMemory, clock: Clock) -> None:
    at = 0.0
    for count in (1, 2, 3, 4, 5, 5):
        fail(alone, clock, at)
        assert left(alone, clock) == count * 5 * MINUTE
        at += count * 5 * MINUTE + 2
        clock.at(at - 2)
        assert left(alone, clock) is None


def test_rate_limits_do_not_make_later_failures_count_more(alone: FailureMemory, clock: Clock) -> None:
    for at in (0, 100, 200):
        fail(alone, clock, at, Blame.MODEL_RATE_LIMIT)
    fail(alone, clock, 300)
    assert left(alone, clock) == 5 * MINUTE


def test_parallel_failures_count_as_one(alone: FailureMemory, clock: Clock) -> None:
    for number in range(50):
        fail(alone, clock, number / 100, began=-1)
    assert left(alone, clock) == 5 * MINUTE
    assert [row.count for row in alone.rows()] == [1]


def test_the_later_deadline_wins_and_keeps_its_reason(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0, Blame.PRIVACY, reason="privacy")
    fail(alone, clock, 10, reason="502")
    cooling = alone.cooling(A, clock.now)
    assert cooling is not None
    assert (cooling.until, cooling.reason, cooling.blame) == (START + DAY, "privacy", "privacy")


@pytest.mark.parametrize(
    ("began", "cleared"),
    [
        pytest.param(11, True, id="began after the failure"),
        pytest.param(10, False, id="began at the same instant"),
        pytest.param(9, False, id="began before it"),
    ],
)
def test_a_success_clears_only_failures_older_than_its_start(
    alone: FailureMemory, clock: Clock, began: float, cleared: bool
) -> None:
    fail(alone, clock, 10)
    clock.at(20)
    alone.succeeded(A, began_at=START + began)
    assert (left(alone, clock) is None) is cleared


def test_after_a_success_the_count_starts_again(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0)
    fail(alone, clock, 400)
    alone.succeeded(A, began_at=START + 1100)
    fail(alone, clock, 1200)
    assert left(alone, clock) == 5 * MINUTE


def test_a_quiet_day_ends_the_count(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0)
    fail(alone, clock, 400)
    fail(alone, clock, 401 + DAY)
    assert left(alone, clock) == 5 * MINUTE


def test_a_gone_model_returns_when_its_own_record_changes(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0, Blame.MODEL_GONE)
    changed = model(A.id, context=4096)
    assert left(alone, clock) == DAY
    assert left(alone, clock, changed) is None
    # And from then on it is judged by what it does now.
    fail(alone, clock, 100, model=changed)
    assert left(alone, clock, changed) == 5 * MINUTE


def test_a_failing_model_does_not_return_with_a_new_record(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0)
    assert left(alone, clock, model(A.id, context=4096)) == 5 * MINUTE


# Limits of the account


@pytest.mark.parametrize(
    ("blame", "retry_in", "for_free", "for_paid"),
    [
        pytest.param(Blame.ACCOUNT_LIMIT, 600, 600, None, id="the free limit is about free models"),
        pytest.param(Blame.ACCOUNT, None, MINUTE, MINUTE, id="the account: everything, for a minute"),
        pytest.param(Blame.UNKNOWN_LIMIT, None, 30, 30, id="an unknown limit: everything, for half a minute"),
        pytest.param(Blame.STEALTH_LIMIT, 600, None, None, id="the stealth limit is no limit of the account"),
        pytest.param(Blame.MODEL_FAILING, None, None, None, id="a failing model is none"),
    ],
)
def test_limits(
    alone: FailureMemory,
    clock: Clock,
    blame: Blame,
    retry_in: float | None,
    for_free: float | None,
    for_paid: float | None,
) -> None:
    fail(alone, clock, 0, blame, retry_in=retry_in)
    for free, seconds in ((True, for_free), (False, for_paid)):
        row = alone.limit(clock.now, free=free)
        assert (None if row is None else row.until - clock.now) == seconds
        assert alone.limit(clock.now + 601, free=free) is None


def test_the_later_limit_wins(alone: FailureMemory, clock: Clock) -> None:
    fail(alone, clock, 0, Blame.ACCOUNT_LIMIT, retry_in=600, reason="day")
    fail(alone, clock, 1, Blame.ACCOUNT_LIMIT, retry_in=60, reason="minute")
    fail(alone, clock, 2, Blame.ACCOUNT, reason="key")
    row = alone.limit(clock.now, free=True)
    assert row is not None
    assert row.reason == "day"


def test_the_stealth_limit_closes_all_stealth_models_and_no_other(alone: FailureMemory, clock: Clock) -> None:
    one, other = model("stealth/one"), model("stealth/other")
    assert one.is_stealth
    fail(alone, clock, 0, Blame.STEALTH_LIMIT, model=one, retry_in=3600)
    assert (left(alone, clock, one), left(alone, clock, other), left(alone, clock)) == (3600, 3600, None)


def test_without_a_database_nothing_is_asked(alone: FailureMemory, clock: Clock) -> None:
    alone.freshen()
    assert list(alone.rows()) == []
