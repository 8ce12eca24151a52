"""What a page that is left open does: it asks again every five seconds, quietly, and stops when that is of no use."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.servers import ProxyServer
from tests.ui.browser import Visitor

Visit = Callable[..., Visitor]

POLLS = {"/ui": "/ui/now", "/ui/requests": "/ui/requests/live", "/ui/requests?failed=1": "/ui/requests/live?failed=1"}
LOOK = "htmx.trigger('#live', 'look')"
#: As a browser has it for a tab that is not seen.
HIDE = "Object.defineProperty(document, 'hidden', {get: () => window.isHidden, configurable: true}); isHidden = true"
SHOW = "isHidden = false; document.dispatchEvent(new Event('visibilitychange'))"


def asked(visitor: Visitor, path: str) -> int:
    """How often that path was asked for so far."""
    return visitor.asked.count(visitor.url + path)


def answers(page: Page, path: str, status: int) -> None:
    """Let polls be answered with this status, as by a server that has changed its mind."""

    def answer(route: Route) -> None:
        route.fulfill(status=status, body="")

    page.route(f"**{path}", answer)


@pytest.mark.parametrize("path", POLLS)
def test_a_page_asks_again_every_five_seconds(served: ProxyServer, visit: Visit, path: str) -> None:
    visitor = visit(served)
    visitor.page.clock.install()
    page = visitor.open(path)
    page.wait_for_function("window.htmx")
    for times in (1, 2, 3):
        with page.expect_response(served.url + POLLS[path]):
            page.clock.run_for(5000)
        assert asked(visitor, POLLS[path]) == times
    page.clock.run_for(4000)
    assert asked(visitor, POLLS[path]) == 3
    expect(page.locator("#poll-status")).to_be_empty()
    # What a poll brings is in the viewer's time as well.
    expect(page.locator("time[data-time]")).to_have_count(0)


def test_a_hidden_page_asks_nothing_and_asks_at_once_when_it_is_seen(served: ProxyServer, visit: Visit) -> None:
    visitor = visit(served)
    visitor.page.clock.install()
    page = visitor.open("/ui")
    page.wait_for_function("window.htmx")
    page.evaluate(HIDE)
    page.clock.run_for(60_000)
    assert asked(visitor, "/ui/now") == 0
    with page.expect_response(f"{served.url}/ui/now"):
        page.evaluate(SHOW)


def test_a_poll_that_fails_is_told_quietly_and_goes_on(served: ProxyServer, visit: Visit) -> None:
    visitor = visit(served)
    page = visitor.open("/ui/requests")
    before = page.inner_text("#live")
    answers(page, "/ui/requests/live", 503)
    page.evaluate(LOOK)
    expect(page.locator("#poll-status")).to_have_text("The server did not answer. Trying again.")
    assert page.inner_text("#live") == before, "what was there stays"
    page.unroute("**/ui/requests/live")
    page.evaluate(LOOK)
    expect(page.locator("#poll-status")).to_be_empty()
    visitor.expect_faults("503")


def test_after_a_401_a_page_stops(served: ProxyServer, visit: Visit) -> None:
    visitor = visit(served)
    visitor.page.clock.install()
    page = visitor.open("/ui")
    page.wait_for_function("window.htmx")
    answers(page, "/ui/now", 401)
    page.evaluate(LOOK)
    expect(page.locator("#poll-status")).to_have_text("Signed out. Load the page again to sign in.")
    page.clock.run_for(60_000)
    page.evaluate(LOOK)
    assert asked(visitor, "/ui/now") == 1
    visitor.expect_faults("401")


def test_the_keyboard_stays_where_it_was(served: ProxyServer, visit: Visit) -> None:
    """A poll replaces the table; the link that has the focus has it again."""
    page = visit(served).open("/ui/requests")
    link = page.locator("#live td a").first
    link.focus()
    name = link.get_attribute("id")
    with page.expect_response(f"{served.url}/ui/requests/live"):
        page.evaluate(LOOK)
    page.wait_for_function("id => document.activeElement && document.activeElement.id === id", arg=name)
