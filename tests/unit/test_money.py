"""Dollars and their millionths."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ollama_proxy.money import in_dollars, micro, micro_allowed, micro_nearest


@pytest.mark.parametrize(
    ("dollars", "cost", "allowed", "nearest"),
    [
        ("0", 0, 0, 0),
        ("0.000123", 123, 123, 123),
        ("0.0000001", 1, 0, 0),
        ("0.0000019", 2, 1, 2),
        ("2", 2_000_000, 2_000_000, 2_000_000),
        ("1000000", 10**12, 10**12, 10**12),
    ],
)
def test_costs_are_rounded_up_and_limits_down(dollars: str, cost: int, allowed: int, nearest: int) -> None:
    assert micro(Decimal(dollars)) == micro(float(dollars)) == cost
    assert micro_allowed(Decimal(dollars)) == allowed
    assert micro_nearest(float(dollars)) == nearest


def test_millionths_that_are_written_as_dollars_are_read_as_the_same() -> None:
    assert all(micro(in_dollars(number)) == number for number in range(0, 3_000_000, 7))
