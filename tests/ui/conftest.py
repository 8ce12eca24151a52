"""What the tests of the pages share: a browser, a server that has served traffic, and axe-core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from simulator.process import Simulator
from tests.npm import installed
from tests.servers import ProxyServer, wait_for
from tests.ui.browser import Visitor, chromium, started
from tests.ui.traffic import SETTINGS, make_traffic

JS = Path(__file__).parent / "js"

#: What axe-core calls them; its other two are "moderate" and "minor".
_BAD = ("serious", "critical")


# Not for the whole run: a steered browser keeps an event loop in this thread, where tests of others start their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running chromium; skips where there is none."""
    program = chromium()
    if program is None:
        pytest.skip("chromium is not installed")
    with started(program) as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """`visit(server, dark=, narrow=, ...)` is a new Visitor. Behind the test their pages must have had no fault."""
    visitors: list[Visitor] = []

    def begin(server: ProxyServer, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, server.url, **options))
        return visitors[-1]

    yield begin
    for visitor in visitors:
        visitor.close()
    assert not (faults := [fault for visitor in visitors for fault in visitor.faults]), "\n".join(faults)


@pytest.fixture(scope="module")
def served(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """A server of two workers that has served traffic with failures, all of which is in its log."""
    shared_simulator.reset()
    folder = tmp_path_factory.mktemp("served")
    with ProxyServer(folder, shared_simulator.url, web_concurrency=2, **SETTINGS) as server:
        made = make_traffic(shared_simulator, server)

        def written() -> bool:
            return len(server.get("/api/proxy/log?limit=500").json()["requests"]) >= made

        wait_for(written, what=f"{made} requests in the log")
        yield server


@pytest.fixture(scope="session")
def axe_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core, pinned in js/package-lock.json; skips without npm or its registry."""
    folder = installed(JS, tmp_path_factory.mktemp("axe"))
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


@pytest.fixture
def axe(axe_source: str) -> Callable[[Page], list[str]]:
    """`axe(page)`: the serious and critical faults that a page has for people who see, hear or move otherwise."""

    def look(page: Page) -> list[str]:
        page.evaluate(axe_source)
        found: dict[str, Any] = page.evaluate("axe.run()")
        return [
            f"{one['impact']}: {one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found["violations"]
            if one["impact"] in _BAD
            for node in one["nodes"][:3]
        ]

    return look
