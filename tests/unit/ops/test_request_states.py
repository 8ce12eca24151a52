"""ops.status.request_states: sums of hours, and the times within which first tokens came."""

from __future__ import annotations

import pytest

from ollama_proxy.ops.status.request_states import quantile, sums
from ollama_proxy.storage.ledger_table import FIRST_TOKEN_BOUNDS, HourlyUsage

COLUMNS = len(FIRST_TOKEN_BOUNDS) + 1


def counts(**columns: int) -> list[int]:
    """`c2=5`: five first tokens in the third column, which are more than 0.5 s and at most 1 s."""
    return [columns.get(f"c{number}", 0) for number in range(COLUMNS)]


@pytest.mark.parametrize(
    ("given", "share", "seconds"),
    [
        pytest.param([], 0.5, None, id="no hour"),
        pytest.param(counts(), 0.5, None, id="no first token"),
        pytest.param(counts(c2=10), 0.5, 0.75, id="in the middle of a column"),
        pytest.param(counts(c2=10), 1, 1.0, id="a column's end"),
        pytest.param(counts(c0=5, c5=5), 0.5, 0.25, id="between two columns"),
        pytest.param(counts(c0=5, c5=5), 0.95, 4.8, id="over an empty column"),
        pytest.param(counts(c11=3), 0.5, 60.0, id="above the last bound"),
        pytest.param(counts(c0=1), 0.95, 0.237, id="one"),
    ],
)
def test_quantiles_are_estimated_from_counts(given: list[int], share: float, seconds: float | None) -> None:
    assert quantile(given, share) == seconds


def test_sums() -> None:
    row = HourlyUsage(
        0, "a", "m", requests=10, whole=6, failed=1, broken=1, left=1, refused=1, attempts=8, microusd=1_500_000,
        tokens_in=5, tokens_out=7, first_token=counts(c0=1),
    )  # fmt: skip
    found = sums(row)
    assert {name: found[name] for name in ("requests", "whole", "failed", "broken", "left", "refused")} == {
        "requests": 10,
        "whole": 6,
        "failed": 1,
        "broken": 1,
        "left": 1,
        "refused": 1,
    }
    assert found["failed_share"] == 0.2
    assert (found["tokens_in"], found["tokens_out"], found["cost"]) == (5, 7, 1.5)
    assert found["first_token"] == {"p50": 0.125, "p95": 0.237}
    assert sums(HourlyUsage(0, "", ""))["failed_share"] == 0.0
