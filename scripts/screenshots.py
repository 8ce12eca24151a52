"""Render the pictures of the pages for README.md from a server with the traffic of tests/ui (`make screenshots`).

Needs chromium; nothing of it leaves the machine. Run from the project's folder: `python -m scripts.screenshots`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import requests

from simulator.process import Simulator
from tests.servers import ProxyServer, wait_for
from tests.ui.browser import Visitor, chromium, started
from tests.ui.traffic import HOME, LAPTOP, SETTINGS, make_traffic

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
PICTURES = {"now": "/ui", "models": "/ui/models?order=balanced"}
#: CSS pixels. The width of a laptop's window; what is below is cut off.
SIZE = {"width": 1280, "height": 800}


def under_way(server: ProxyServer, simulator: Simulator) -> list[requests.Response]:
    """Answers that have begun and go on until they are closed."""
    simulator.scenario("*", tokens=500, token_delay=0.3)
    messages = [{"role": "user", "content": "Tell me a story."}]
    return [
        server.post(
            "/api/chat", {"model": model, "messages": messages}, stream=True, headers={"X-Forwarded-For": address}
        )
        for address, model in ((LAPTOP, "free:coding"), (HOME, "anchor-mini:free"))
    ]


def render(folder: Path) -> None:
    """Write all pictures. Raises RuntimeError without chromium."""
    program = chromium()
    if program is None:
        raise RuntimeError("chromium is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    settings = {**SETTINGS, "database_url": "sqlite:///proxy.db", "web_concurrency": 2}
    with (
        tempfile.TemporaryDirectory() as home,
        Simulator() as simulator,
        ProxyServer(Path(home), simulator.url, **settings) as server,
        started(program) as browser,
    ):
        made = make_traffic(simulator, server, times=2)
        log = "/api/proxy/log?limit=500"
        wait_for(lambda: len(server.get(log).json()["requests"]) >= made, what="the log is written")
        answers = under_way(server, simulator)
        flying = "/api/proxy/status?parts=in_flight"
        looks = 8  # at one worker and the other

        def seen() -> bool:
            return all(len(server.get(flying).json()["in_flight"]) == len(answers) for _ in range(looks))

        wait_for(seen, what="both workers know of all")
        visitor = Visitor(browser, server.url, viewport=SIZE)
        for name, path in PICTURES.items():
            page = visitor.open(path)
            page.screenshot(path=folder / f"{name}.png")
            sys.stdout.write(f"docs/images/{name}.png\n")
        for answer in answers:
            answer.close()
        assert not visitor.faults, visitor.faults


if __name__ == "__main__":
    render(FOLDER)
