"""Amounts of money: dollars, as OpenRouter and people write them, and millionths of a dollar, in which all is counted.

What a request costs is rounded up, what a limit allows is rounded down: together they never let through more than was
said (docs/contract.md, "Keys: limits"). Pure.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

#: Millionths in a dollar.
MICRO = 1_000_000

_MICRO = Decimal(MICRO)


def micro(dollars: Decimal | float) -> int:
    """Return a cost in dollars as millionths, rounded up."""
    # A float is taken as it is written: 0.000123 is 123 millionths, and not a little more.
    amount = dollars if isinstance(dollars, Decimal) else Decimal(repr(dollars))
    return int((amount * _MICRO).to_integral_value(rounding=ROUND_CEILING))


def micro_allowed(dollars: Decimal) -> int:
    """Return a limit in dollars as millionths, rounded down."""
    return int((dollars * _MICRO).to_integral_value(rounding=ROUND_FLOOR))


def micro_nearest(dollars: float) -> int:
    """Return an amount in dollars as the nearest millionths: for statistics, and quicker than `micro`."""
    return round(dollars * MICRO)


def in_dollars(microusd: int) -> float:
    """Return millionths as dollars."""
    return microusd / MICRO
