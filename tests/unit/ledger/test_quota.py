"""What is left of the account: the arithmetic, what processes share, and what is asked when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ollama_proxy.ledger.announcing import Announcer
from ollama_proxy.ledger.key_check import KeyCheck, KeyState, state_in
from ollama_proxy.ledger.quota import (
    STILL_YESTERDAY,
    Quota,
    day_of,
    document_of,
    free_counts,
    free_left,
    free_used,
    may_be_yesterdays,
)
from ollama_proxy.ledger.quota_keeper import ASK_EVERY, DAILY_LIMIT, WATCHED, QuotaKeeper
from ollama_proxy.openrouter.errors.failure import Blame, Verdict
from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.database import REST_SECONDS, Database
from ollama_proxy.storage.failure_table import LimitRow
from ollama_proxy.storage.leases import CLOCKS_DIFFER, Leases
from ollama_proxy.storage.quota_table import DAY, AccountRow, QuotaTable
from ollama_proxy.storage.revisions import FRESH_SECONDS, Revisions
from ollama_proxy.storage.write_behind import WriteBehind
from tests.postgres import postgres_url
from tests.storage_databases import ScriptedDatabase, database

__all__ = ["database", "postgres_url"]

#: Noon of a UTC day.
NOON = 20_000.0 * DAY + DAY / 2


def said(used: int | None, sent_then: int = 0, *, at: float = NOON, limit: int | None = 50) -> AccountRow:
    return AccountRow(counted_at=at, free_used=used, free_limit=limit, sent_then=sent_then)


@pytest.mark.parametrize(
    ("row", "sent", "now", "used"),
    [
        pytest.param(AccountRow(), 3, NOON, 3, id="OpenRouter never said anything"),
        pytest.param(said(None), 3, NOON, 3, id="it does not say how many"),
        pytest.param(said(10), 0, NOON, 10, id="others use the account"),
        pytest.param(said(10), 4, NOON, 14, id="and what was sent since"),
        pytest.param(said(10, sent_then=4), 6, NOON, 12, id="what was sent before is in its count"),
        pytest.param(said(0, sent_then=60), 60, NOON, 60, id="its count lags: ours is believed"),
        pytest.param(said(0, sent_then=60), 65, NOON, 65, id="and what was sent since, too"),
        pytest.param(said(10, sent_then=4), 3, NOON, 10, id="an attempt was taken back"),
        pytest.param(said(45), 2, NOON + DAY, 2, id="a new UTC day starts at zero"),
        pytest.param(said(45, at=NOON + DAY / 2 - 1), 0, NOON + DAY / 2, 0, id="at midnight"),
        pytest.param(said(45), 0, NOON + DAY / 2 - 1, 45, id="but not before"),
    ],
)
def test_what_is_used(row: AccountRow, sent: int, now: float, used: int) -> None:
    assert free_used(row, sent, now) == used


@pytest.mark.parametrize(
    ("row", "sent", "limited", "left"),
    [
        pytest.param(said(10), 5, False, 35, id="the limit less what is used"),
        pytest.param(said(1060, limit=1000), 0, False, 0, id="never less than none"),
        pytest.param(said(10, limit=None), 5, False, None, id="nobody knows the limit"),
        pytest.param(said(10), 5, True, 0, id="OpenRouter's own 429 goes before every count"),
        pytest.param(AccountRow(), 5, True, 0, id="also where nobody knows the limit"),
    ],
)
def test_what_is_left(row: AccountRow, sent: int, limited: bool, left: int | None) -> None:
    assert free_left(row, sent, NOON, limited=limited) == left


def test_what_is_kept_of_the_key() -> None:
    told = {
        "label": "sk-or-v1-abc...def",
        "creator_user_id": "user_2abc",
        "limit": 20,
        "limit_remaining": 12.5,
        "limit_reset": "monthly",
        "usage": 7.5,
        "usage_daily": 1,
        "usage_weekly": "much",
        "usage_monthly": True,
        "is_free_tier": False,
        "expires_at": None,
        "anything": {"else": 1},
    }
    assert document_of(told) == {
        "credits_limit": 20.0,
        "credits_left": 12.5,
        "credits_reset": "monthly",
        "usage": 7.5,
        "usage_daily": 1.0,
        "is_free_tier": False,
    }
    assert document_of({"limit_reset": "x" * 41, "expires_at": "a\nb", "limit": 1e12}) == {}


@pytest.mark.parametrize(
    ("told", "counts"),
    [
        ({"free_model_daily_requests": {"used": 3, "limit": 50, "remaining": 47}}, (3, 50)),
        ({"free_model_daily_requests": {"used": 1060, "limit": 1000}}, (1060, 1000)),
        ({"free_model_daily_requests": {"used": "3", "limit": -1}}, (None, None)),
        ({"free_model_daily_requests": [3, 50]}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_the_days_counts(told: dict[str, Any], counts: tuple[int | None, int | None]) -> None:
    assert free_counts(told) == counts


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict(Blame.ACCOUNT, 502, "m", "API key refused"), KeyState.REFUSED),
        (Verdict(Blame.ACCOUNT, 502, "m", "out of credits"), KeyState.NO_CREDITS),
        (Verdict(Blame.ACCOUNT, 502, "m", "key limit"), KeyState.KEY_LIMIT),
        (Verdict(Blame.ACCOUNT, 502, "m", "out of credits", smaller_max_tokens=7), None),
        (Verdict(Blame.MODEL_FAILING, 502, "m", "HTTP 401 at the provider"), None),
    ],
)
def test_what_a_failure_says_of_the_key(verdict: Verdict, state: KeyState | None) -> None:
    assert state_in(verdict) is state


class Process:
    """A quota keeper as one process has it."""

    def __init__(self, database: Database, name: str = "one") -> None:
        self.now, self.monotonic = NOON, 100.0
        #: By how much the clock of this machine is wrong.
        self.set_by = 0.0
        self.database = ScriptedDatabase(database.url)
        self.behind = WriteBehind(self.database, monotonic=lambda: self.monotonic)
        batches = Batches(self.behind)
        self.revisions = Revisions(self.database, monotonic=lambda: self.monotonic)
        self.asked = 0
        #: Seconds that OpenRouter takes to answer.
        self.takes = 0.0
        self.answer = KeyCheck(KeyState.UNKNOWN)
        self.limits: list[LimitRow] = []
        self.leases = Leases(self.database)
        self.quota = QuotaKeeper(
            QuotaTable(self.database),
            batches=batches,
            revisions=self.revisions,
            leases=self.leases,
            check=self.check,
            limits=lambda: self.limits,
            minute_limit=20,
            holder=lambda: name,
            clock=lambda: self.now + self.set_by,
            monotonic=lambda: self.now - NOON + 1000,
        )
        batches.of(self.quota)

    def check(self) -> KeyCheck:
        self.asked += 1
        self.now += self.takes
        return self.answer

    def says(self, used: int, limit: int = 50, **more: Any) -> None:
        """What OpenRouter will say."""
        counts = {"used": used, "limit": limit, "remaining": max(limit - used, 0)}
        self.answer = KeyCheck(KeyState.VALID, {"free_model_daily_requests": counts, **more})

    def written(self) -> None:
        assert self.behind.flush(10)

    def look(self) -> None:
        """A request comes that looks for news."""
        self.monotonic += FRESH_SECONDS + 0.1
        self.revisions.freshen()

    @property
    def used(self) -> int:
        return self.quota.now().free_used


@pytest.fixture
def pair(database: Database) -> Iterator[tuple[Process, Process]]:
    made = Process(database), Process(database, "two")
    yield made
    for process in made:
        process.database.away = False
        process.monotonic += REST_SECONDS
        process.written()
        process.database.dispose()


def test_all_processes_count_together(pair: tuple[Process, Process]) -> None:
    one, two = pair
    for _ in range(3):
        one.quota.sent()
    two.quota.sent()
    assert (one.used, two.used) == (3, 1), "each knows its own at once"
    one.written()
    two.written()
    assert one.used == 3, "written, and still counted once"
    for process in pair:
        process.look()
    assert (one.used, two.used, one.quota.now().minute_used) == (4, 4, 4)
    one.quota.not_counted()
    assert one.used == 3
    one.written()
    two.look()
    assert (two.used, two.quota.now().minute_used) == (3, 4)


def test_what_is_read_while_it_is_written_counts_once(pair: tuple[Process, Process]) -> None:
    one, two = pair
    one.look()
    one.quota.sent()
    two.quota.sent()
    two.written()
    one.look()
    assert one.used == 2, "the other's, and one that is not written yet"
    one.written()
    one.look()
    assert one.used == 2


def test_the_healthy_path_reads_nothing_for_itself(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    one.quota.answered()
    one.written()
    one.look()
    one.database.take()
    for _ in range(100):
        one.quota.sent()
        one.quota.answered()
        one.quota.free_left()
        one.quota.now()
    assert one.database.take() == []
    one.written()
    assert one.database.take() == ["write"]


def test_midnight(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    one.says(45)
    assert one.quota.ask_if_due()
    one.quota.sent()
    now = one.quota.now()
    assert (now.free_used, now.free_left, now.resets_at) == (46, 4, NOON + DAY / 2)
    one.now += DAY / 2
    now = one.quota.now()
    assert (now.free_used, now.free_left, now.resets_at) == (0, 50, NOON + DAY * 3 / 2)
    one.quota.sent()
    one.written()
    one.look()
    assert (one.used, day_of(one.now)) == (1, int(NOON + DAY / 2))


@pytest.mark.parametrize(
    ("used", "after", "may_be"),
    [
        pytest.param(45, 0, True, id="the same"),
        pytest.param(50, 299, True, id="more"),
        pytest.param(44, 0, False, id="less: it has begun anew"),
        pytest.param(0, 0, False, id="none: nobody asks what day that was"),
        pytest.param(None, 0, False, id="it did not say"),
        pytest.param(45, 300, False, id="long enough after midnight"),
        pytest.param(45, -1, False, id="before midnight"),
        pytest.param(45, DAY, False, id="the last count is two days old"),
    ],
)
def test_whether_a_count_may_be_yesterdays(used: int | None, after: float, may_be: bool) -> None:
    assert may_be_yesterdays(said(45), used, NOON + DAY / 2 + after) is may_be


def test_yesterdays_count_is_not_taken_for_todays(pair: tuple[Process, Process]) -> None:
    one, two = pair
    midnight = NOON + DAY / 2
    one.now = midnight - 60
    one.says(45)
    assert one.quota.ask_if_due()
    one.now = midnight + 10
    one.quota.looked()
    one.quota.sent()
    assert one.quota.ask_if_due()
    assert (one.used, one.quota.now().free_left) == (1, 49), "the answer is not believed"
    one.written()
    two.now = one.now
    two.look()
    assert two.used == 1
    one.now = midnight + STILL_YESTERDAY - 1
    one.quota.looked()
    assert not one.quota.ask_if_due(), "to ask again so soon helps nobody"
    one.now = midnight + STILL_YESTERDAY + WATCHED
    one.says(3)
    assert one.quota.ask_if_due(), "once more, though nobody looks any longer"
    assert one.used == 3
    one.now += ASK_EVERY
    assert not one.quota.ask_if_due()


def test_an_answer_that_comes_after_midnight_may_be_of_the_day_before(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    midnight = NOON + DAY / 2
    one.now = midnight - 1
    one.says(45)
    one.takes = 2.0
    assert one.quota.ask_if_due()
    one.quota.sent()
    assert (one.now, one.used, one.quota.now().counted_at) == (midnight + 1, 1, midnight - 1)
    one.written()
    one.look()
    assert one.used == 1


def test_openrouter_is_asked_by_one_process_at_the_start_and_while_somebody_looks(
    pair: tuple[Process, Process],
) -> None:
    one, two = pair
    one.says(10, is_free_tier=True, limit_remaining=3)
    two.says(11)
    assert one.quota.ask_if_due()
    assert not two.quota.ask_if_due(), "the other asks"
    one.written()
    two.look()
    now = two.quota.now()
    assert (now.free_used, now.free_limit, now.counted_at, now.is_free_tier, now.credits_left) == (
        10,
        50,
        NOON,
        True,
        3,
    )
    for process in pair:
        process.now += ASK_EVERY
        assert not process.quota.ask_if_due(), "nobody looks"
    two.quota.looked()
    two.written()
    one.look()
    assert one.quota.is_watched(), "a look counts in all processes"
    assert one.quota.ask_if_due()
    one.now += WATCHED
    assert not one.quota.is_watched()
    assert not one.quota.ask_if_due()
    assert (one.asked, two.asked) == (2, 0)


def test_after_a_restart_what_was_sent_before_counts_once(pair: tuple[Process, Process]) -> None:
    one, two = pair
    for _ in range(600):
        one.quota.sent()
    one.written()
    two.says(600, 1000)
    assert two.quota.ask_if_due(), "before any request has it look"
    assert two.used == 600
    two.look()
    assert two.used == 600, "looked again before it is written"
    two.quota.sent()
    two.written()
    for process in pair:
        process.look()
    assert (one.used, two.used) == (601, 601)


def test_what_others_sent_unheard_before_openrouter_was_asked_counts_once(pair: tuple[Process, Process]) -> None:
    one, two = pair
    one.look()
    one.quota.sent()
    one.written()
    one.quota.sent()
    for _ in range(600):
        two.quota.sent()
    two.written()
    one.says(602, 1000)
    assert one.quota.ask_if_due()
    one.quota.sent()
    assert one.used == 603
    one.look()
    assert one.used == pytest.approx(603, abs=1), "read again before it is written"
    one.written()
    for process in pair:
        process.look()
    assert (one.used, two.used) == (603, 603)


def test_machines_whose_clocks_differ_see_each_others_looks(pair: tuple[Process, Process]) -> None:
    one, two = pair
    for process in pair:
        process.quota.ask_if_due()
    one.set_by = CLOCKS_DIFFER
    one.quota.looked()
    one.written()
    two.look()
    assert two.quota.is_watched()
    two.now += WATCHED + CLOCKS_DIFFER
    assert not two.quota.is_watched()
    two.quota.looked()
    assert two.quota.is_watched()


def test_a_clock_that_is_set_back_does_not_keep_it_from_asking(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    one.set_by = 3 * DAY
    assert one.quota.ask_if_due()
    one.set_by = 0.0
    one.now += ASK_EVERY
    assert one.quota.ask_if_due()


def test_it_is_asked_again_until_it_has_answered_once(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    assert one.quota.ask_if_due()
    assert not one.quota.ask_if_due()
    one.now += ASK_EVERY
    assert one.quota.ask_if_due()
    assert one.quota.now() == Quota(resets_at=NOON + DAY / 2, minute_limit=20), "nothing is known"


def test_a_look_is_not_written_each_time(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    one.quota.looked()
    one.written()
    one.database.take()
    for _ in range(10):
        one.now += 1
        one.quota.looked()
    one.written()
    assert "write" not in one.database.take()


def test_with_the_database_away_it_goes_on_from_memory(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    one.database.away = True
    one.says(10)
    assert one.quota.ask_if_due()
    for _ in range(5):
        one.quota.sent()
    assert one.used == 15
    one.behind.flush(0.1)
    assert one.used == 15
    one.database.away = False
    one.monotonic += REST_SECONDS
    one.written()
    one.look()
    assert one.used == 15


def test_the_keys_state_follows_what_requests_meet(pair: tuple[Process, Process]) -> None:
    one, two = pair
    states = {
        "API key refused": KeyState.REFUSED,
        "out of credits": KeyState.NO_CREDITS,
        "key limit": KeyState.KEY_LIMIT,
    }
    for reason, state in states.items():
        one.quota.failed(Verdict(Blame.ACCOUNT, 502, "message", reason))
        assert one.quota.key_state is state
        one.written()
        two.look()
        assert two.quota.key_state is state, "all processes know"
    two.quota.answered()
    two.written()
    one.look()
    assert (one.quota.key_state, one.quota.now().key_state) == (KeyState.VALID, KeyState.VALID)


def test_what_was_learned_later_counts_whoever_writes_first(pair: tuple[Process, Process]) -> None:
    one, two = pair
    one.quota.answered()
    two.now += 1
    two.quota.failed(Verdict(Blame.ACCOUNT, 502, "message", "API key refused"))
    two.written()
    one.written()
    for process in pair:
        process.look()
        assert process.quota.key_state is KeyState.REFUSED


@pytest.mark.parametrize(
    ("met", "told", "state"),
    [
        ("API key refused", {}, KeyState.VALID),
        ("out of credits", {}, KeyState.NO_CREDITS),
        ("key limit", {"limit_remaining": 0}, KeyState.KEY_LIMIT),
        ("key limit", {"limit_remaining": 5}, KeyState.VALID),
        ("key limit", {"limit_remaining": None}, KeyState.VALID),
    ],
)
def test_what_openrouter_says_of_a_key_that_was_bad(
    pair: tuple[Process, Process], met: str, told: dict[str, Any], state: KeyState
) -> None:
    one, _ = pair
    one.quota.failed(Verdict(Blame.ACCOUNT, 502, "message", met))
    one.says(1, **told)
    one.quota.ask_if_due()
    assert one.quota.key_state is state


@pytest.mark.parametrize(
    ("before", "at_start", "state"),
    [
        ("API key refused", KeyState.VALID, KeyState.VALID),
        ("out of credits", KeyState.VALID, KeyState.NO_CREDITS),
        ("API key refused", KeyState.UNKNOWN, KeyState.REFUSED),
        (None, KeyState.VALID, KeyState.VALID),
        (None, KeyState.REFUSED, KeyState.REFUSED),
    ],
)
def test_what_the_start_found_out(
    pair: tuple[Process, Process], before: str | None, at_start: KeyState, state: KeyState
) -> None:
    """A new key in the place of a refused one; credits are not told of by GET /key."""
    one, two = pair
    if before is not None:
        one.quota.failed(Verdict(Blame.ACCOUNT, 502, "message", before))
        one.written()
    two.now += 1
    two.quota.found_at_start(at_start, two.now)
    assert two.quota.key_state is at_start
    two.look()
    assert two.quota.key_state is state


def test_a_state_of_the_key_that_a_newer_version_has_stored_is_unknown_here(pair: tuple[Process, Process]) -> None:
    one, two = pair
    newer = QuotaTable(one.database).write({"key_state": "on holiday", "key_state_at": NOON}, {})
    one.database.run(newer, write=True)
    two.look()
    assert two.quota.key_state is KeyState.UNKNOWN
    assert two.quota.now().key_state is KeyState.UNKNOWN
    two.says(1)
    assert two.quota.ask_if_due()
    assert two.quota.key_state is KeyState.VALID


@pytest.mark.parametrize("at_start", [KeyState.VALID, KeyState.REFUSED])
@pytest.mark.parametrize("met", ["API key refused", "out of credits", None])
def test_a_worker_that_begins_days_after_the_start_does_not_take_its_news_for_new(
    pair: tuple[Process, Process], at_start: KeyState, met: str | None
) -> None:
    one, two = pair
    started_at = one.now
    one.now += 3 * DAY
    one.quota.failed(Verdict(Blame.ACCOUNT, 502, "message", met)) if met else one.quota.answered()
    one.written()
    learned = one.quota.key_state
    two.now = one.now + DAY
    two.quota.found_at_start(at_start, started_at)
    two.look()
    two.written()
    one.look()
    assert (one.quota.key_state, two.quota.key_state) == (learned, learned)


class Log:
    """What was logged, with its level."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def info(self, event: str) -> None:
        self.lines.append(("info", event))

    def warning(self, event: str) -> None:
        self.lines.append(("warning", event))

    def take(self) -> list[tuple[str, str]]:
        taken, self.lines = self.lines, []
        return taken


def announcer(process: Process, log: Log, name: str) -> Announcer:
    return Announcer(
        quota=process.quota.now,
        limits=lambda: process.limits,
        leases=process.leases,
        holder=lambda: name,
        log=log,
        clock=lambda: process.now,
    )


def test_most_of_the_day_is_used_is_said_once_a_day_by_one_process(pair: tuple[Process, Process]) -> None:
    one, two = pair
    log = Log()
    announcers = announcer(one, log, "one"), announcer(two, log, "two")
    for process in pair:
        process.says(39)
        process.quota._told(process.answer, process.now)

    def look() -> list[tuple[str, str]]:
        for each in announcers:
            each.look()
        return log.take()

    assert look() == []
    one.quota.sent()
    one.written()
    two.look()
    assert look() == [("warning", "40 of today's 50 free requests are used; 10 are left until 00:00 UTC")]
    one.quota.sent()
    assert look() == []
    for process in pair:
        process.now += DAY
        process.quota._told(process.answer, process.now)
    assert look() == []
    for process in pair:
        process.says(45)
        process.quota._told(process.answer, process.now)
    assert [level for level, _ in look()] == ["warning"], "the next day"


def test_a_limit_is_announced_once_when_it_begins_and_when_it_ends(pair: tuple[Process, Process]) -> None:
    one, two = pair
    log = Log()
    announcers = announcer(one, log, "one"), announcer(two, log, "two")
    midnight = NOON + DAY / 2

    def look(*limits: LimitRow) -> list[tuple[str, str]]:
        for process, each in zip(pair, announcers, strict=True):
            process.limits = list(limits)
            each.look()
        return log.take()

    limit = LimitRow("free", midnight, DAILY_LIMIT, "message", NOON, 429)
    assert look() == []
    assert look(limit) == [("warning", "nothing is sent to free models until 00:00 UTC: free limit per day")]
    assert look(limit) == []
    assert one.quota.free_left() == 0
    for process in pair:
        process.now = midnight + 1
    assert look(limit) == [("info", "the limit has ended: free limit per day")]
    assert look(limit) == []
    assert one.quota.free_left() is None
    again = LimitRow("free", midnight + 60, "free limit per minute", "message", midnight, 429)
    assert [level for level, _ in look(again)] == ["warning"]
    for process in pair:
        process.database.away = True
        process.now += 60
    assert [level for level, _ in look()] == ["info", "info"], "without a database each says it"


def test_a_limit_that_comes_again_after_an_early_end_is_announced_by_whoever_meets_it(
    pair: tuple[Process, Process],
) -> None:
    one, two = pair
    log = Log()
    announcers = announcer(one, log, "one"), announcer(two, log, "two")
    limit = LimitRow("free", NOON + DAY / 2, DAILY_LIMIT, "message", NOON, 429)

    def look(*limits: LimitRow) -> list[str]:
        for process, each in zip(pair, announcers, strict=True):
            process.limits = list(limits)
            each.look()
        return [level for level, _ in log.take()]

    assert look(limit) == ["warning"]
    assert look() == ["info"], "somebody has cleared it"
    two.limits = [limit]
    announcers[1].look()
    assert [level for level, _ in log.take()] == ["warning"]
    assert look(limit) == [], "once"
