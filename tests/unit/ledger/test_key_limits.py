"""Which request of a key is let through, what the others are told, and the windows in which they count."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ollama_proxy.access.keys import Limits
from ollama_proxy.ledger.key_limits import SHORTLY, dollars, left_headers, refusal
from ollama_proxy.ledger.key_windows import day_end, minute_end, month_end, windows_at
from ollama_proxy.storage.key_usage_table import Standing, Windows

#: 3 h and 12 minutes before midnight.
NOW = datetime(2026, 11, 24, 20, 48, tzinfo=UTC).timestamp()
DAY, MONTH = 2_000_000, 20_000_000

ALL = Limits(per_minute=10, parallel=2, free_per_day=20, microusd_per_day=DAY, microusd_per_month=MONTH)


@pytest.mark.parametrize(
    ("limits", "standing", "microusd", "free"),
    [
        (Limits(), Standing(10**9, 10**9, 10**9, 10**9, 99, 10**9, 10**9, 10**9), 10**9, True),
        (ALL, Standing(), 1, False),
        (ALL, Standing(), DAY, False),
        (ALL, Standing(day=DAY - 5, reserved_day=2), 3, False),
        (ALL, Standing(minute=9, under_way=1, free=18, reserved_free=1), 0, True),
        (ALL, Standing(day=DAY, month=MONTH), 0, True),
        (ALL, Standing(day=DAY, month=MONTH), 0, False),
        (ALL, Standing(free=20), 5, False),
    ],
    ids=[
        "no limits",
        "nothing used",
        "exactly the cap",
        "what is left is enough for it",
        "one more of each",
        "a free request of a key that has spent its dollars",
        "one that costs nothing and is not free",
        "one that costs, of a key that has had its free requests",
    ],
)
def test_may_begin(limits: Limits, standing: Standing, microusd: int, free: bool) -> None:
    assert refusal(limits, standing, microusd=microusd, free=free, now=NOW) is None


@pytest.mark.parametrize(
    ("standing", "microusd", "free", "said", "retry_after", "settling"),
    [
        (
            Standing(day=DAY),
            1,
            False,
            "this key's limit of $2.00 a day is reached; it resets at 00:00 UTC, in 3 h 12 min",
            11_520,
            False,
        ),
        (
            Standing(day=DAY, month=MONTH),
            1,
            False,
            "this key's limit of $20.00 a month is reached; it resets on 1 December at 00:00 UTC, in 7 days",
            529_920,
            False,
        ),
        (
            Standing(day=DAY - 30_000),
            50_001,
            False,
            "$0.03 is left of this key's limit of $2.00 a day, and this request may cost up to $0.050001: ask for "
            "fewer tokens, or wait; it resets at 00:00 UTC, in 3 h 12 min",
            11_520,
            False,
        ),
        (
            Standing(day=DAY - 5, reserved_day=3),
            3,
            False,
            "this key's limit of $2.00 a day is reached by requests that are still under way: try again when they have "
            "ended",
            SHORTLY,
            True,
        ),
        (
            Standing(free=20),
            0,
            True,
            "this key's limit of 20 free requests a day is reached; it resets at 00:00 UTC, in 3 h 12 min",
            11_520,
            False,
        ),
        (
            Standing(free=22),
            0,
            True,
            "this key's limit of 20 free requests a day is reached; it resets at 00:00 UTC, in 3 h 12 min",
            11_520,
            False,
        ),
        (
            Standing(free=19, reserved_free=1),
            0,
            True,
            "this key's limit of 20 free requests a day is reached by requests that are still under way: try again "
            "when they have ended",
            SHORTLY,
            True,
        ),
        (
            Standing(minute=10),
            0,
            False,
            "this key's limit of 10 requests a minute is reached; it resets at 20:49 UTC, in 60 s",
            60,
            False,
        ),
        (
            Standing(under_way=2),
            0,
            False,
            "this key's limit of 2 requests at a time is reached: wait until one has ended",
            1,
            True,
        ),
        (
            Standing(minute=10, under_way=2, day=DAY),
            1,
            False,
            "this key's limit of $2.00 a day is reached; it resets at 00:00 UTC, in 3 h 12 min",
            11_520,
            False,
        ),
    ],
    ids=[
        "the day's dollars",
        "the month's, which end later than the day's",
        "too little is left for this one",
        "others may leave enough",
        "the day's free requests",
        "more than that, by further attempts",
        "free requests under way",
        "the minute",
        "at a time",
        "of several the one that holds longest",
    ],
)
def test_refused(standing: Standing, microusd: int, free: bool, said: str, retry_after: int, settling: bool) -> None:
    found = refusal(ALL, standing, microusd=microusd, free=free, now=NOW)
    assert found is not None
    assert (found.error.message, found.error.retry_after) == (said, retry_after)
    assert (found.error.status, found.settling) == (429, settling)


def test_a_request_that_can_never_pass_is_wrong() -> None:
    found = refusal(ALL, Standing(day=DAY), microusd=DAY + 1, free=False, now=NOW)
    assert found is not None
    said = "this request may cost up to $2.01, which is more than this key's limit of $2.00 a day: ask for fewer tokens"
    assert (found.error.message, found.error.status, found.error.retry_after) == (said, 400, None)


@pytest.mark.parametrize(
    ("limits", "standing", "microusd", "free", "headers"),
    [
        (Limits(per_minute=1, parallel=1), Standing(), 5, True, {}),
        (Limits(microusd_per_day=DAY), Standing(day=1, reserved_day=2), 3, False, {"X-Key-Remaining-Usd": "1.999994"}),
        (ALL, Standing(month=MONTH - 7), 0, False, {"X-Key-Remaining-Usd": "0.000007", "X-Key-Remaining-Free": "20"}),
        (ALL, Standing(day=DAY + 9), 0, True, {"X-Key-Remaining-Usd": "0.000000", "X-Key-Remaining-Free": "19"}),
        (Limits(free_per_day=5), Standing(free=4, reserved_free=3), 0, True, {"X-Key-Remaining-Free": "0"}),
    ],
    ids=["no such limit", "used, reserved and this one", "the month has less", "never below nothing", "free ones"],
)
def test_what_is_left(limits: Limits, standing: Standing, microusd: int, free: bool, headers: dict[str, str]) -> None:
    assert left_headers(limits, standing, microusd=microusd, free=free) == headers


@pytest.mark.parametrize(
    ("microusd", "up", "said"),
    [(2_000_000, False, "2.00"), (1, False, "0.000001"), (1_230_000, False, "1.23"), (1_234_567, True, "1.24")],
)
def test_dollars(microusd: int, up: bool, said: str) -> None:
    assert dollars(microusd, up=up) == said


@pytest.mark.parametrize(
    ("moment", "windows", "day", "month"),
    [
        ((2026, 11, 24, 23, 59, 59), ("d2026-11-24", "m2026-11", "t2026-11-24T23:59"), (2026, 11, 25), (2026, 12, 1)),
        ((2026, 11, 25, 0, 0, 0), ("d2026-11-25", "m2026-11", "t2026-11-25T00:00"), (2026, 11, 26), (2026, 12, 1)),
        ((2026, 12, 31, 12, 0, 0), ("d2026-12-31", "m2026-12", "t2026-12-31T12:00"), (2027, 1, 1), (2027, 1, 1)),
        ((2028, 2, 29, 12, 0, 0), ("d2028-02-29", "m2028-02", "t2028-02-29T12:00"), (2028, 3, 1), (2028, 3, 1)),
    ],
    ids=["the last second", "midnight", "the year's end", "a leap day"],
)
def test_windows(
    moment: tuple[int, ...], windows: tuple[str, str, str], day: tuple[int, ...], month: tuple[int, ...]
) -> None:
    now = datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]
    assert windows_at(now) == Windows(*windows)
    assert day_end(now) == datetime(*day, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]
    assert month_end(now) == datetime(*month, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]
    assert minute_end(now) == now // 60 * 60 + 60
