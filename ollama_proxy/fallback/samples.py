"""What is measured of one model: its latest attempts, and sums over them that fade. Pure: samples and times in.

Nothing here is swept or ticked: whoever reads says what time it is, and what is older than that counts less
(docs/contract.md, "Scores"). Times are UTC epoch seconds, durations seconds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import NamedTuple

#: Half of what was measured is forgotten after so long, with further samples or without.
HALF_LIFE = 1800.0
#: The sums never weigh more than so many samples, so that a busy model's next ones still count.
MOST_COUNTED = 20.0

#: The latest attempts that are kept one by one, and for how long each of them means something.
KEPT = 15
KEPT_SECONDS = 7200.0
#: Fewer of them than this say nothing about a model.
ENOUGH = 5
#: So many bad ones in a row are enough, whatever came before: a model that turns bad is left at once.
BAD_IN_A_ROW = 3
#: So many first tokens make a usual one.
ENOUGH_FOR_USUAL = 3

#: A clock may be so far ahead of ours. What was written by one further ahead is not believed.
CLOCKS_DIFFER = 3600.0


class Sample(NamedTuple):
    """One attempt with a model that was answered, or whose failure is the model's.

    `first_token` counts from the attempt's own start; a long time-out has its length there, a short one None.
    `tokens` came within `seconds` after the first one. `weight` is of a failure: 1, or less for what says less.
    `renews` says that the model is judged anew: what was measured before this means nothing any more.
    """

    at: float
    answered: bool
    first_token: float | None = None
    tokens: float = 0.0
    seconds: float = 0.0
    weight: float = 1.0
    renews: bool = False


class Recent(NamedTuple):
    """What is kept of each of the latest attempts."""

    at: float
    answered: bool
    first_token: float | None

    def is_bad(self, slow: float) -> bool:
        """It was not answered, or not within `slow` seconds."""
        return not self.answered or (self.first_token is not None and self.first_token >= slow)


class Measured(NamedTuple):
    """What is measured of a model. The sums are as they were at `at`: read them through `faded`.

    `timed` is how many first tokens are in `waited`. What was measured up to `since` means nothing any more.
    `recent` are the latest attempts, the oldest first.
    """

    at: float = 0.0
    ok: float = 0.0
    failed: float = 0.0
    timed: float = 0.0
    waited: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0
    since: float = 0.0
    recent: tuple[Recent, ...] = ()

    @property
    def counted(self) -> float:
        """How many samples are in the sums, as far as they still count."""
        return self.ok + self.failed

    @property
    def first_token(self) -> float | None:
        """The mean time to the first token, None if none was measured."""
        return self.waited / self.timed if self.timed > 0 else None

    @property
    def speed(self) -> float | None:
        """Tokens a second, None if that was not measured."""
        return self.tokens / self.seconds if self.tokens > 0 and self.seconds > 0 else None


NOTHING = Measured()


def faded(measured: Measured, now: float) -> Measured:
    """Return `measured` with its sums as they count at `now`."""
    age = now - measured.at
    if age <= 0 or not measured.at:
        return measured._replace(at=max(measured.at, now))
    return _times(measured, 0.5 ** (age / HALF_LIFE))._replace(at=now)


def _times(measured: Measured, factor: float) -> Measured:
    return measured._replace(
        ok=measured.ok * factor,
        failed=measured.failed * factor,
        timed=measured.timed * factor,
        waited=measured.waited * factor,
        tokens=measured.tokens * factor,
        seconds=measured.seconds * factor,
    )


def added(measured: Measured, sample: Sample) -> Measured:
    """Return what is measured of a model after one more sample.

    A sample that is older than `since` changes nothing. Samples may come in any order: an older one counts as faded.
    """
    if sample.at <= measured.since:
        return measured
    if sample.renews:
        # The sample itself is just behind `since`, and so are all that come later.
        measured = Measured(since=sample.at - 1e-3, recent=tuple(one for one in measured.recent if one.at > sample.at))
    # Every request comes here: plain arithmetic in one place, where `faded` would make the tuple several times.
    now = max(sample.at, measured.at)
    old = 0.5 ** ((now - measured.at) / HALF_LIFE)
    new = 0.5 ** ((now - sample.at) / HALF_LIFE)
    ok = measured.ok * old + new * sample.answered
    failed = measured.failed * old + new * sample.weight * (not sample.answered)
    if ok + failed > MOST_COUNTED:
        less = MOST_COUNTED / (ok + failed)
        ok, failed, old, new = ok * less, failed * less, old * less, new * less
    first = sample.first_token
    return Measured(
        now,
        ok,
        failed,
        measured.timed * old + new * (first is not None),
        measured.waited * old + new * (first or 0.0),
        measured.tokens * old + new * sample.tokens,
        measured.seconds * old + new * sample.seconds,
        measured.since,
        _with(measured.recent, Recent(sample.at, sample.answered, first)),
    )


def added_all(measured: Measured, samples: Iterable[Sample]) -> Measured:
    """Return what is measured of a model after all of `samples`."""
    for sample in samples:
        measured = added(measured, sample)
    return measured


def _with(recent: tuple[Recent, ...], one: Recent) -> tuple[Recent, ...]:
    if recent and recent[-1].at > one.at:
        return tuple(sorted({*recent, one}, key=lambda each: each.at)[-KEPT:])
    return (*recent[-(KEPT - 1) :], one)


def forgotten(now: float) -> Measured:
    """Return what is known of a model after all that was measured up to `now` has been forgotten."""
    return Measured(since=now)


def believed(measured: Measured, now: float) -> Measured:
    """Return what any machine may have written as it is to be read at `now`: nothing of a clock that is far ahead."""
    return NOTHING if max(measured.at, measured.since) > now + CLOCKS_DIFFER else measured


# What the latest attempts say


def latest(measured: Measured, now: float) -> tuple[Recent, ...]:
    """Return the latest attempts that still mean something at `now`, the oldest first."""
    recent = measured.recent
    if not recent or recent[0].at > now - KEPT_SECONDS:
        return recent
    return tuple(one for one in recent if one.at > now - KEPT_SECONDS)


def usual_first_token(measured: Measured, now: float) -> float | None:
    """Return the median time to the first token of the latest attempts; None if there are too few."""
    times = [one.first_token for one in latest(measured, now) if one.first_token is not None]
    if len(times) < ENOUGH_FOR_USUAL:
        return None
    times.sort()  # each attempt asks: three times as quick as the library's median
    middle = len(times) // 2
    return times[middle] if len(times) % 2 else (times[middle - 1] + times[middle]) / 2


def earlier_first_token(measured: Measured) -> float | None:
    """Return the median time to the first token of the kept answers, few or old as they may be; None without any.

    A time-out does not count: it says how long was waited, not how long the model takes.
    """
    times = [one.first_token for one in measured.recent if one.answered and one.first_token is not None]
    return statistics.median(times) if times else None


def badness(measured: Measured, now: float, slow: float) -> str:
    """Return in words why the model is measured to be bad; "" if it is not.

    It is bad if at least `ENOUGH` of its latest attempts are known and the median first token took `slow` seconds or
    more, or fewer than half were answered; or if the last `BAD_IN_A_ROW` were all slow or unanswered.
    """
    recent = latest(measured, now)
    last = recent[-BAD_IN_A_ROW:]
    if len(last) == BAD_IN_A_ROW and all(one.is_bad(slow) for one in last):
        return f"the last {BAD_IN_A_ROW} attempts were slow or failed"
    if len(recent) < ENOUGH:
        return ""
    answered = sum(one.answered for one in recent)
    if answered * 2 < len(recent):
        return f"answered {answered} of {len(recent)}"
    usual = usual_first_token(measured, now)
    if usual is not None and usual >= slow:
        return f"first token after {usual:.0f} s"
    return ""
