"""Where the bars and lines of a plot are: the geometry that templates draw as SVG. Pure.

A plot is WIDTH by HEIGHT units, whatever its size on the screen: it is stretched to the room it has. The last value is
at the right edge, larger values are higher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

WIDTH: Final = 720
HEIGHT: Final = 120

#: The part of a step that its bar takes.
_BAR = 0.78


class Bar(NamedTuple):
    """One part of a bar: `name` says which of the values it is."""

    name: str
    x: float
    y: float
    width: float
    height: float


class Bars(NamedTuple):
    """Bars whose parts are stacked; `top` is the value at the upper edge."""

    bars: Sequence[Bar]
    top: float
    width: int = WIDTH
    height: int = HEIGHT


class Path(NamedTuple):
    """One line as an SVG path, with gaps where nothing is known; `dots`: points that have no neighbours."""

    name: str
    path: str
    dots: str


class Lines(NamedTuple):
    """Lines; `top` is the value at the upper edge."""

    paths: Sequence[Path]
    top: float
    width: int = WIDTH
    height: int = HEIGHT


def stacked(names: Sequence[str], steps: Sequence[Sequence[float]]) -> Bars:
    """Return a bar for each step, from the lower edge up one part for each of `names`, which its values stand for."""
    top = rounded_up(max((sum(values) for values in steps), default=0))
    room = WIDTH / max(len(steps), 1)
    bars = []
    for number, values in enumerate(steps):
        y = float(HEIGHT)
        for name, value in zip(names, values, strict=True):
            if value > 0:
                height = max(value / top * HEIGHT, 0.8)  # what is there is seen
                y -= height
                x = number * room + room * (1 - _BAR) / 2
                bars.append(Bar(name, round(x, 1), round(max(y, 0), 1), round(room * _BAR, 1), round(height, 1)))
    return Bars(bars, top)


def lines(series: Sequence[tuple[str, Sequence[float | None]]]) -> Lines:
    """Return a line for each of the series, whose values are of the same steps; None leaves a gap."""
    top = rounded_up(max((value for _, values in series for value in values if value is not None), default=0))
    return Lines([_line(name, values, top) for name, values in series], top)


def _line(name: str, values: Sequence[float | None], top: float) -> Path:
    room = WIDTH / max(len(values), 1)
    path, dots = [], []
    for number, value in enumerate(values):
        if value is None:
            continue
        point = f"{(number + 0.5) * room:.1f} {HEIGHT - value / top * HEIGHT:.1f}"
        follows = number > 0 and values[number - 1] is not None
        path.append(f"{'L' if follows else 'M'}{point}")
        if not follows and (number + 1 == len(values) or values[number + 1] is None):
            dots.append(f"M{point}h0")
    return Path(name, "".join(path), "".join(dots))


def rounded_up(value: float) -> float:
    """Return the next round number from `value` on: 1, 2, 2.5, 5 or 10 times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10, 20) if step * power >= value * (1 - 1e-9))
