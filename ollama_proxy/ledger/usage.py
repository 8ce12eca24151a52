"""Adds records up to what each caller used of each model in each hour. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import fields

from ollama_proxy.ledger.record import RequestRecord
from ollama_proxy.storage.ledger_table import FIRST_TOKEN_BOUNDS, HOUR, HourlyFailures, HourlyUsage

#: The members of a HourlyUsage that are sums, without the counts of first-token times.
_SUMS = tuple(one.name for one in fields(HourlyUsage) if one.name not in ("hour", "caller", "model", "first_token"))


def hour_of(when: float) -> int:
    """Return the UTC epoch second at which the hour of `when` began."""
    return int(when // HOUR) * HOUR


def used(records: Iterable[RequestRecord], *, counted_as: Callable[[int, str], str]) -> list[HourlyUsage]:
    """Return the sums of `records`. `counted_as` returns the name under which a caller is counted in an hour."""
    sums: dict[tuple[int, str, str], HourlyUsage] = {}
    for record in records:
        hour = hour_of(record.ended_at)
        key = (hour, counted_as(hour, record.caller), record.model or "")
        row = sums.get(key)
        if row is None:
            row = sums[key] = HourlyUsage(*key, first_token=[0] * (len(FIRST_TOKEN_BOUNDS) + 1))
        _add(row, record)
    return list(sums.values())


def _add(row: HourlyUsage, record: RequestRecord) -> None:
    row.requests += 1
    outcome = record.outcome.value
    setattr(row, outcome, getattr(row, outcome) + 1)
    row.attempts += len(record.chain)
    row.free_attempts += record.free_attempts
    row.tokens_in += record.prompt_tokens or 0
    row.tokens_out += record.completion_tokens or 0
    row.microusd += record.cost or 0
    if record.first_token_seconds is not None:
        assert isinstance(row.first_token, list)
        row.first_token[bisect_left(FIRST_TOKEN_BOUNDS, record.first_token_seconds)] += 1


def added_up(rows: Iterable[HourlyUsage]) -> HourlyUsage:
    """Return the sums of `rows`, of no hour, caller or model."""
    total = HourlyUsage(0, "", "", first_token=[0] * (len(FIRST_TOKEN_BOUNDS) + 1))
    for row in rows:
        for name in _SUMS:
            setattr(total, name, getattr(total, name) + getattr(row, name))
        total.first_token = [mine + theirs for mine, theirs in zip(total.first_token, row.first_token, strict=True)]
    return total


def failed(attempts: Iterable[tuple[int, str, str]]) -> list[HourlyFailures]:
    """Return the sums of failed attempts, each given as its hour, its model and what was to blame."""
    return [HourlyFailures(*which, count) for which, count in Counter(attempts).items()]
