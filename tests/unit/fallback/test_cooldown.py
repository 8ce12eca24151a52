"""For how long a failure is remembered: the arithmetic, which must be the same as the table's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.config import Settings
from ollama_proxy.fallback.cooldown import DAY, Cooldown, cooldown_for, limit_for, merged
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureRow, FailureTable
from ollama_proxy.storage.migrate import upgrade
from tests.unit.storage.test_failure_table import MODEL, NOW, STORIES

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


def merge(old: FailureRow | None, began: float, now: float, **more: Any) -> FailureRow:
    """`merged` called like the table's `record` in its tests."""
    given_: dict[str, Any] = {"blame": "failing", "reason": "502", "base_seconds": 300, "multiply": True} | more
    new = FailureRow(MODEL, given_["blame"], 0, NOW + now, NOW + now, given_["reason"], given_.get("record_digest"))
    cooldown = Cooldown(given_["base_seconds"], given_["multiply"], given_.get("until_at_least"))
    return merged(old, new, cooldown, began_at=NOW + began)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_memory_reckons_like_the_table(story: list[Any]) -> None:
    row = None
    for (began, now, more), (count, until, failed_at) in story:
        row = merge(row, began, now, **more)
        assert (row.count, row.until - NOW, row.failed_at - NOW) == (count, until, failed_at)


FAILURES = st.fixed_dictionaries(
    {
        "began": st.integers(-100, 100_000),
        "now": st.integers(-100, 200_000),
        "blame": st.sampled_from(["failing", "rate limit", "gone"]),
        "base_seconds": st.sampled_from([1, 60, 300, 86_400]),
        "multiply": st.booleans(),
        "until_at_least": st.one_of(st.none(), st.integers(0, 200_000).map(lambda seconds: NOW + seconds)),
        "record_digest": st.sampled_from([None, "d1", "d2"]),
    }
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> FailureTable:
    url = sqlalchemy_url("", tmp_path_factory.mktemp("cooldown"))
    upgrade(url)
    return FailureTable(Database(url))


@given(failures=st.lists(FAILURES, min_size=1, max_size=5))
def test_memory_and_table_agree_on_any_failures(table: FailureTable, failures: list[dict[str, Any]]) -> None:
    table.clear()
    row = None
    for failure in failures:
        failure = dict(failure)
        began, now = failure.pop("began"), failure.pop("now")
        row = merge(row, began, now, **failure)
        assert table.record(MODEL, began_at=NOW + began, now=NOW + now, reason="502", **failure) == row
