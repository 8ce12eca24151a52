"""The current catalogue for requests: at a start they wait a moment for the first one."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.errors import Unavailable
from ollama_proxy.fallback.backend import START_PATIENCE, Backend
from tests.unit.catalog.free_models import catalog_of, record

CATALOG = catalog_of(record("a/a:free"))


class Keeper:
    """A keeper whose first catalogue may come while somebody waits for it."""

    last_error = "the model list has not been fetched yet"

    def __init__(self, *, now: Catalog | None = None, later: Catalog | None = None, has_failed: bool = False) -> None:
        self._now = now
        self._later = later
        self.has_failed = has_failed
        self.waited: list[float] = []

    def current(self) -> Catalog | None:
        return self._now

    def wait_ready(self, timeout: float) -> bool:
        self.waited.append(timeout)
        self._now = self._later
        return self._now is not None


def backend_of(keeper: Keeper) -> Backend:
    unused: Any = None
    return Backend(unused, unused, unused, keeper, unused, unused, unused)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keeper", "waited"),
    [
        pytest.param(Keeper(now=CATALOG), [], id="there is one: nobody waits"),
        pytest.param(Keeper(later=CATALOG), [START_PATIENCE], id="there will be one soon"),
    ],
)
def test_a_catalogue(keeper: Keeper, waited: list[float]) -> None:
    assert backend_of(keeper).catalog() is CATALOG
    assert keeper.waited == waited


@pytest.mark.parametrize(
    ("keeper", "waited"),
    [
        pytest.param(Keeper(), [START_PATIENCE], id="none came in time"),
        pytest.param(Keeper(has_failed=True), [], id="fetching it has failed: there is nothing to wait for"),
    ],
)
def test_no_catalogue(keeper: Keeper, waited: list[float]) -> None:
    with pytest.raises(Unavailable) as caught:
        backend_of(keeper).catalog()
    assert "has not been fetched yet" in caught.value.message
    assert keeper.waited == waited
