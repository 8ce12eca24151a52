"""A real browser for tests: Debian's chromium, steered by Playwright, which brings its own driver and no browser.

Every page that it opens is watched: an error in the console (a breach of the Content-Security-Policy is one), an error
in a script, and a request to another host are faults.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

#: Without them chromium asks its maker for updates, and a container has no sandbox. The profile is always a fresh one.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_NAMES = ("chromium", "chromium-browser")

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

#: Milliseconds. A machine under load must not fail a test.
PATIENCE = 20_000.0
expect.set_options(timeout=PATIENCE)


def chromium() -> str | None:
    """The browser's program, None if it is not installed."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


@contextmanager
def started(program: str) -> Iterator[Browser]:
    """A running browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """Somebody at a browser, with a profile of their own, who looks at one server.

    `faults` are what went wrong on the pages so far; a test that provokes some takes them out with `expect_faults`.
    """

    def __init__(self, browser: Browser, url: str, *, dark: bool = False, narrow: bool = False, **options: Any) -> None:
        """`options` are those of Playwright's `new_context`: `java_script_enabled`, `http_credentials`, ..."""
        self.url = url
        self.faults: list[str] = []
        self.asked: list[str] = []
        options = {"viewport": NARROW if narrow else WIDE, "color_scheme": "dark" if dark else "light", **options}
        self._context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", **options)
        self._context.set_default_timeout(PATIENCE)
        self._context.on("request", self._requested)
        self._context.on("page", self._opened)
        self.page = self._context.new_page()

    def open(self, path: str) -> Page:
        """The page at `path`, loaded. Raises AssertionError if it is not there."""
        answer = self.page.goto(self.url + path)
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        return self.page

    def expect_faults(self, pattern: str) -> None:
        """Take the faults out that match: there must be one. What only the test itself brought about."""
        found = [fault for fault in self.faults if re.search(pattern, fault)]
        assert found, f"no fault like {pattern!r}: {self.faults}"
        self.faults = [fault for fault in self.faults if fault not in found]

    def close(self) -> None:
        """End it."""
        self._context.close()

    def _opened(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            where = message.location
            self.faults.append(f"{where.get('url', '')}:{where.get('lineNumber', '')}: {message.text}")

    def _requested(self, request: Request) -> None:
        self.asked.append(request.url)
        if not request.url.startswith((f"{self.url}/", "data:", f"blob:{self.url}/")):
            self.faults.append(f"a request to another host: {request.url}")


def scrolls_sideways(page: Page) -> bool:
    """Whether the page is wider than the window."""
    wider: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return wider
