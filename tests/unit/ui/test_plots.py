"""ui.plots: where bars and lines are."""

from __future__ import annotations

import pytest

from ollama_proxy.ui.plots import HEIGHT, WIDTH, lines, rounded_up, stacked


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (-3, 1), (0.13, 0.2), (1, 1), (1.01, 2), (2.2, 2.5), (3, 5), (61, 100), (100, 100), (2e9, 2e9)],
)
def test_the_upper_edge_is_a_round_number(value: float, top: float) -> None:
    assert rounded_up(value) == pytest.approx(top)


def test_bars_are_stacked_from_the_lower_edge() -> None:
    plot = stacked(("good", "bad"), [(50, 50), (0, 0), (25, 0)])
    assert plot.top == 100
    assert [(bar.name, bar.y, bar.height) for bar in plot.bars] == [
        ("good", HEIGHT / 2, HEIGHT / 2),
        ("bad", 0, HEIGHT / 2),
        ("good", HEIGHT * 3 / 4, HEIGHT / 4),
    ]
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH for bar in plot.bars)
    assert plot.bars[0].x == plot.bars[1].x < plot.bars[2].x


def test_what_is_there_is_seen_however_small() -> None:
    assert stacked(("one",), [(1,), (1_000_000,)]).bars[0].height > 0.5


def test_lines_have_gaps_where_nothing_is_known() -> None:
    plot = lines([("p50", [1, None, 2, 4, None]), ("p95", [None, None, None, None, 5])])
    assert plot.top == 5
    first, second = plot.paths
    assert first.path == "M72.0 96.0M360.0 72.0L504.0 24.0"
    assert first.dots == "M72.0 96.0h0", "a point without neighbours would not be seen as a line"
    assert second.path == "M648.0 0.0"
    assert second.dots == "M648.0 0.0h0"


def test_a_plot_of_nothing() -> None:
    assert stacked(("one",), []).bars == []
    assert lines([("p50", [None, None])]).paths[0].path == ""
