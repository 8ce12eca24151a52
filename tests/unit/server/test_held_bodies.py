"""What requests hold for their bodies, and who is refused when there is no room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ollama_proxy.errors import Unavailable
from ollama_proxy.server.held_bodies import HeldBody, held_bytes, largest_body, most_held_bytes

MEGABYTE = 1 << 20
TOTAL = 16 * MEGABYTE


@pytest.fixture(autouse=True)
def nothing_is_held() -> Iterator[None]:
    assert held_bytes() == 0
    yield
    assert held_bytes() == 0


def test_what_is_held_is_released_once() -> None:
    one, other = HeldBody(TOTAL, 5), HeldBody(TOTAL, 7)
    one.grow(3)
    assert held_bytes() == 15
    one.release()
    one.release()
    assert held_bytes() == 7
    del other
    assert held_bytes() == 0


@pytest.mark.parametrize(
    ("held", "size", "fits"),
    [
        pytest.param(0, 14 * MEGABYTE, True, id="seven eighths are for large bodies"),
        pytest.param(0, 14 * MEGABYTE + 1, False, id="and no more"),
        pytest.param(13 * MEGABYTE, 2 * MEGABYTE, False, id="a large one beside others"),
        pytest.param(14 * MEGABYTE, MEGABYTE, True, id="a small one finds room when large ones do not"),
        pytest.param(16 * MEGABYTE - 9, 10, False, id="up to the total"),
    ],
)
def test_who_finds_room(held: int, size: int, fits: bool) -> None:
    others = [HeldBody(TOTAL, min(MEGABYTE, held - start)) for start in range(0, held, MEGABYTE)]
    if fits:
        HeldBody(TOTAL, size).release()
    else:
        with pytest.raises(Unavailable) as refused:
            HeldBody(TOTAL, size)
        assert refused.value.status == 503
        assert refused.value.retry_after
    for one in others:
        one.release()


def test_a_body_that_grows_over_what_there_is_keeps_what_it_had() -> None:
    body = HeldBody(TOTAL, 14 * MEGABYTE)
    with pytest.raises(Unavailable):
        body.grow(1)
    assert held_bytes() == 14 * MEGABYTE
    body.release()


@pytest.mark.parametrize(
    ("total", "largest"),
    [(TOTAL, 14 * MEGABYTE), (MEGABYTE, MEGABYTE), (1000, 1000)],
    ids=["seven eighths", "a small total is all for small bodies", "a very small one"],
)
def test_the_largest_body(total: int, largest: int) -> None:
    assert largest_body(total) == largest


def test_the_most_since_it_was_last_asked() -> None:
    most_held_bytes()
    body = HeldBody(TOTAL, 9)
    body.release()
    body.grow(2)
    assert [most_held_bytes(), most_held_bytes()] == [9, 2]
    body.release()
    assert [most_held_bytes(), most_held_bytes()] == [2, 0]
