"""What all tests share: the simulator, a proxy in front of it, and the recorded traffic."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.process import Simulator
from tests.servers import ProxyServer


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[Simulator]:
    """One simulator for the whole run; tests use `simulator`, which is the same one, reset."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared_simulator: Simulator, request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """The stand-in OpenRouter, without scenarios and with an empty log.

    Behind the test it says whether a body went up that OpenRouter's OpenAPI document does not allow (where one is at
    hand, see simulator/openapi.py). A test that sends such a body on purpose is marked with `invalid_bodies(reason)`.
    Generated requests (tests/api/test_fuzz.py) are no client's, and go to `shared_simulator`: they are not checked.
    """
    shared_simulator.reset()
    yield shared_simulator
    if request.node.get_closest_marker("invalid_bodies") is None:
        assert not (bad := [entry["invalid"] for entry in shared_simulator.log(invalid=1)]), bad[:3]


@pytest.fixture(scope="session")
def shared_proxy(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """One proxy with the default settings for tests that leave nothing behind in it."""
    with ProxyServer(tmp_path_factory.mktemp("proxy"), shared_simulator.url) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: ProxyServer, simulator: Simulator) -> ProxyServer:
    """The shared proxy in front of the reset simulator. A test that makes a model fail takes `start_proxy`."""
    return shared_proxy


@pytest.fixture(scope="session")
def shared_forgetful(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    forgets = {"failure_cooldown_minutes": 0, "ratelimit_cooldown_minutes": 0, "free_requests_per_minute": 0}
    with ProxyServer(tmp_path_factory.mktemp("forgetful"), shared_simulator.url, **forgets) as proxy:
        yield proxy


@pytest.fixture
def forgetful(shared_forgetful: ProxyServer, simulator: Simulator) -> ProxyServer:
    """A shared proxy that remembers no model's failure: only limits and errors of the account outlive a test in it."""
    return shared_forgetful


@pytest.fixture
def start_proxy(tmp_path: Path, simulator: Simulator) -> Iterator[Callable[..., ProxyServer]]:
    """Starts proxies of the test's own: `start_proxy(free_mode=False, web_concurrency=2, ...)`, see ProxyServer."""
    running: list[ProxyServer] = []

    def start(upstream: str | None = None, **options: Any) -> ProxyServer:
        proxy = ProxyServer(tmp_path, upstream or simulator.url, **options)
        running.append(proxy)
        return proxy

    yield start
    for proxy in running:
        proxy.stop()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded OpenRouter traffic."""
    folder = os.environ.get("OPENROUTER_RECORDINGS", "")
    if not folder:
        pytest.skip("OPENROUTER_RECORDINGS does not name the folder of recorded traffic")
    return Path(folder)
