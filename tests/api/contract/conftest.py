"""The servers of the contract's tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator.process import Simulator
from tests.servers import ProxyServer


@pytest.fixture(scope="package")
def _named_only(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    with ProxyServer(tmp_path_factory.mktemp("named"), shared_simulator.url, free_mode="false") as server:
        yield server


@pytest.fixture
def named_only(_named_only: ProxyServer, simulator: Simulator) -> ProxyServer:
    """A server outside free mode: names mean models and nothing else, as in Ollama."""
    return _named_only
