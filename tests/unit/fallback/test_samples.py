"""What is measured of a model: how samples add up, fade and are judged."""

from __future__ import annotations

import pytest

from ollama_proxy.fallback.samples import (
    CLOCKS_DIFFER,
    HALF_LIFE,
    KEPT,
    KEPT_SECONDS,
    MOST_COUNTED,
    NOTHING,
    Measured,
    Sample,
    added,
    added_all,
    badness,
    believed,
    faded,
    forgotten,
    latest,
    usual_first_token,
)

NOW = 1_800_000_000.0
SLOW = 10.0


def after(*outcomes: float | None, every: float = 1.0) -> Measured:
    """What is measured after some attempts: the seconds to their first tokens, None for a failure. The last is now."""
    start = NOW - every * (len(outcomes) - 1)
    return added_all(
        NOTHING,
        (
            Sample(start + every * place, answered=one is not None, first_token=one)
            for place, one in enumerate(outcomes)
        ),
    )


def test_half_of_it_is_forgotten_after_a_half_life() -> None:
    measured = added_all(NOTHING, [Sample(NOW, True, 2.0, 100, 4.0), Sample(NOW, False, weight=0.5)])
    assert (measured.ok, measured.failed, measured.first_token, measured.speed) == (1, 0.5, 2.0, 25.0)
    later = faded(measured, NOW + HALF_LIFE)
    assert (later.ok, later.failed, later.first_token, later.speed) == (0.5, 0.25, 2.0, 25.0)


def test_samples_add_up_alike_in_any_order() -> None:
    samples = [Sample(NOW + at, at % 3 != 0, at / 10) for at in range(0, 3000, 300)]
    one, other = added_all(NOTHING, samples), added_all(NOTHING, reversed(samples))
    assert one.recent == other.recent
    assert one[:-2] == pytest.approx(other[:-2])


def test_a_busy_model_s_next_samples_still_count() -> None:
    measured = after(*[1.0] * 200)
    assert measured.counted == pytest.approx(MOST_COUNTED, rel=0.01)
    assert len(measured.recent) == KEPT
    worse = added_all(measured, [Sample(NOW, False)] * 10)
    assert worse.failed / worse.counted > 0.3


def test_a_clock_that_was_set_back_makes_nothing_larger() -> None:
    measured = after(1.0, 1.0)
    assert faded(measured, NOW - 5000) == measured
    assert added(measured, Sample(NOW - 100, True)).ok < measured.ok + 1


def test_what_is_judged_anew_knows_only_that() -> None:
    bad = after(*[None] * 8)
    renewed = added(bad, Sample(NOW + 5, True, 2.0, renews=True))
    assert (renewed.ok, renewed.failed, len(renewed.recent)) == (1, 0, 1)
    assert added(renewed, Sample(NOW, False)) == renewed, "an older sample that comes late means nothing"
    assert badness(renewed, NOW + 5, SLOW) == ""


def test_what_was_forgotten_stays_so() -> None:
    assert added(forgotten(NOW), Sample(NOW - 1, False)).recent == ()
    assert added(forgotten(NOW), Sample(NOW + 1, False)).failed == 1


@pytest.mark.parametrize(("ahead", "counts"), [(CLOCKS_DIFFER - 1, True), (CLOCKS_DIFFER + 1, False)])
def test_a_clock_far_ahead_is_not_believed(ahead: float, counts: bool) -> None:
    measured = added(NOTHING, Sample(NOW + ahead, True))
    assert (believed(measured, NOW) is measured) is counts


@pytest.mark.parametrize(
    ("outcomes", "bad"),
    [
        pytest.param([], "", id="nothing is known"),
        pytest.param([12.0, 12.0], "", id="two say nothing"),
        pytest.param([12.0, 12.0, 12.0], "the last 3 attempts were slow or failed", id="three in a row are enough"),
        pytest.param([1.0] * 12 + [None, 12.0, None], "the last 3 attempts were slow or failed", id="it turned bad"),
        pytest.param([None, 1.0, None, 1.0], "", id="four say nothing"),
        pytest.param([None, 1.0, None, 1.0, None], "answered 2 of 5", id="fewer than half"),
        pytest.param([None, 1.0, None, 1.0], "", id="half of them"),
        pytest.param([14.0, 2.0, 14.0, 14.0, 2.0], "first token after 14 s", id="the median is slow"),
        pytest.param([14.0, 2.0, 14.0, 2.0, 2.0], "", id="the median is not"),
        pytest.param([9.9] * 6, "", id="just under"),
        pytest.param([10.0] * 6, "the last 3 attempts were slow or failed", id="just at it"),
    ],
)
def test_when_a_model_is_bad(outcomes: list[float | None], bad: str) -> None:
    assert badness(after(*outcomes), NOW, SLOW) == bad


def test_a_time_out_counts_as_its_length() -> None:
    timed_out = added_all(NOTHING, [Sample(NOW, False, 16.0)] * 4)
    assert usual_first_token(timed_out, NOW) == 16.0
    assert timed_out.first_token == 16.0


def test_after_two_hours_the_latest_attempts_mean_nothing() -> None:
    bad = after(*[None] * 6)
    assert badness(bad, NOW + KEPT_SECONDS - 10, SLOW)
    assert badness(bad, NOW + KEPT_SECONDS, SLOW) == ""
    assert latest(bad, NOW + KEPT_SECONDS) == ()


def test_the_usual_first_token_needs_three() -> None:
    assert usual_first_token(after(1.0, 2.0), NOW) is None
    assert usual_first_token(after(1.0, None, 9.0, 2.0), NOW) == 2.0
