"""All pages of a server that has served traffic with failures, in a real browser: do they load, read and look well?"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from simulator.process import Simulator
from tests.own_postgres import Postgres, postgres
from tests.servers import ProxyServer, wait_for
from tests.ui.browser import Visitor, scrolls_sideways
from tests.ui.traffic import CIRRUS, LAPTOP, LUMEN, SETTINGS, make_traffic

__all__ = ["postgres"]

Visit = Callable[..., Visitor]
Start = Callable[..., ProxyServer]

PAGES = ("/ui", "/ui/models", "/ui/requests", "/ui/usage", "/ui/playground", "/ui/keys", "/ui/personas", "/ui/connect")
ALL = [*PAGES, "/ui/models?order=smart", "/ui/requests?failed=1", "/ui/usage?span=30d", "/ui/requests/{broken}"]


def request_of(server: ProxyServer, outcome: str) -> dict[str, Any]:
    """The newest request in the log that ended so."""
    log: list[dict[str, Any]] = server.get("/api/proxy/log?limit=500").json()["requests"]
    return next(one for one in log if one["outcome"] == outcome)


def opened(visitor: Visitor, server: ProxyServer, path: str) -> Page:
    return visitor.open(path.format(broken=request_of(server, "broken")["id"]))


def rows(table: Locator) -> list[str]:
    """The text of each row of a table's body, its spaces made one."""
    return [" ".join(text.split()) for text in table.locator("tbody tr").all_inner_texts()]


def test_pages_have_no_fault(served: ProxyServer, visit: Visit, axe: Any) -> None:
    """Loads, scripts, other hosts (see `visit`); what axe-core calls serious; no scrolling sideways."""
    visitor = visit(served, dark=True, narrow=True)
    for path in PAGES:
        page = visitor.open(path)
        assert axe(page) == [], path
        assert not scrolls_sideways(page), path


@pytest.mark.prove
@pytest.mark.parametrize(("dark", "narrow"), list(product((False, True), (False, True))))
def test_no_page_has_a_fault_with_all_of_it_open(
    served: ProxyServer, visit: Visit, axe: Any, dark: bool, narrow: bool
) -> None:
    visitor = visit(served, dark=dark, narrow=narrow)
    for path in ALL:
        page = opened(visitor, served, path)
        page.eval_on_selector_all("main details", "all => { for (const one of all) one.open = true; }")
        assert axe(page) == [], path
        assert not scrolls_sideways(page), path


def test_the_navigation_leads_to_each_page(served: ProxyServer, visit: Visit) -> None:
    page = visit(served).open("/ui")
    names = page.locator("nav.pages a").all_inner_texts()
    assert names == ["Now", "Models", "Requests", "Usage", "Playground", "Keys", "Personas", "Connect"]
    for name in names:
        page.locator("nav.pages a", has_text=name).click()
        expect(page.locator("h1")).to_have_text(name)
        assert page.locator("nav.pages [aria-current=page]").all_inner_texts() == [name]
        assert page.title().startswith(f"{name} · ")


def test_now_says_what_the_report_says(served: ProxyServer, visit: Visit) -> None:
    page = visit(served).open("/ui")
    report = served.get("/api/proxy/status").json()
    quota, catalog = report["quota"], report["catalog"]
    tile = page.locator("[aria-labelledby=t-quota] .value").first
    used, limit = (int(part) for part in tile.inner_text().split(" of "))
    assert limit == quota["free_limit"]
    assert 0 < used <= quota["free_used"]
    assert page.locator("[aria-labelledby=t-list] .value").inner_text().split()[0] == str(catalog["models"])
    cooling = {one["name"] for one in report["failures"] if one["state"] == "cooling"}
    shown = page.get_by_label("Models that cool down").locator("tbody tr td:first-child").all_inner_texts()
    assert {name.strip() for name in shown} == cooling
    assert CIRRUS.split("/")[1] in cooling


def test_times_are_the_viewers(served: ProxyServer, visit: Visit) -> None:
    """The browser is in Berlin, an hour ahead of UTC in winter and two in summer."""
    ended = request_of(served, "broken")["ended_at"]
    page = visit(served).open("/ui/requests")
    utc = visit(served, java_script_enabled=False).open("/ui/requests")
    text = utc.locator(f'time[datetime="{ended}"]').inner_text()
    assert text.endswith(" UTC")
    mine = page.locator(f'time[datetime="{ended}"]').inner_text()
    assert (int(mine[:2]) - int(text[:2])) % 24 in (1, 2)
    assert mine[2:] == text[2:].removesuffix(" UTC")


def test_models_shows_each_order(served: ProxyServer, visit: Visit) -> None:
    page = visit(served).open("/ui/models")
    report = served.get("/api/proxy/models").json()["orders"]
    for order in page.locator("nav .tabs a").all_inner_texts():
        page.locator("nav .tabs a", has_text=order).click()
        table = page.get_by_label(f"Models in the order {order}")
        names = table.locator("tbody .name b").all_inner_texts()
        assert names == [place["name"] for place in report["places"][order]]


def test_requests_are_those_of_the_log(served: ProxyServer, visit: Visit) -> None:
    page = visit(served).open("/ui/requests")
    log = served.get("/api/proxy/log?limit=40").json()["requests"]
    table = page.get_by_label("Requests that have ended")
    links = table.locator("tbody a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert links == [f"/ui/requests/{one['id']}" for one in log]
    page.check("input[name=failed]")
    page.click("form.filter [type=submit]")
    failed = served.get("/api/proxy/log?failed=1").json()["requests"]
    assert len(rows(table)) == len(failed) >= 1
    page.locator("text=Show all").click()
    page.fill("input[name=caller]", LAPTOP)
    page.press("input[name=caller]", "Enter")
    assert len(rows(table)) == len(served.get(f"/api/proxy/log?caller={LAPTOP}").json()["requests"]) > 1
    page.fill("input[name=caller]", "nobody<b>")
    page.press("input[name=caller]", "Enter")
    expect(page.locator(".empty")).to_contain_text("No request fits")


def test_a_request_tells_its_chain(served: ProxyServer, visit: Visit) -> None:
    log = served.get("/api/proxy/log?limit=500").json()["requests"]
    one = next(one for one in log if len(one["chain"]) == 2 and one["chain"][0]["model"] == CIRRUS)
    page = visit(served).open("/ui/requests")
    page.locator(f"a[href$='{one['id']}']").click()
    chain = rows(page.locator("[aria-labelledby=chain] table"))
    assert [LUMEN in chain[1], CIRRUS in chain[0], "rate limited upstream" in chain[0]] == [True] * 3
    assert one["caller"] in page.inner_text("main")
    page.locator("a", has_text=one["caller"]).click()
    assert page.input_value("input[name=caller]") == one["caller"]


def test_usage_adds_up(served: ProxyServer, visit: Visit) -> None:
    page = visit(served).open("/ui/usage")
    day = served.get("/api/proxy/usage?span=24h").json()
    assert page.locator(".tile .value").first.inner_text() == str(day["requests"])
    models = page.get_by_label("Model", exact=True).locator("tbody tr th").all_inner_texts()
    assert models == [one["model"] or "nobody answered" for one in day["models"]]
    for name in ("7 days", "30 days", "24 hours"):
        page.locator("nav .tabs a", has_text=name).click()
        assert page.locator("nav .tabs [aria-current]").inner_text() == name
        assert page.locator(".tile .value").first.inner_text() == str(day["requests"])


@pytest.mark.prove
def test_polls_bring_what_is_new(served: ProxyServer, simulator: Simulator, visit: Visit) -> None:
    simulator.scenario("quarry/vision-lite:free", hold="now", times=1)
    visitor = visit(served)
    page = visitor.open("/ui")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(served.chat, "vision-lite:free")
        try:
            expect(page.get_by_label("Requests in flight")).to_contain_text("vision-lite:free")
        finally:
            simulator.release("now")
        assert answer.result().status_code == 200
    expect(page.locator("main")).to_contain_text("Nobody asks anything")


@pytest.mark.prove
def test_forget_forgets(start_proxy: Start, simulator: Simulator, visit: Visit) -> None:
    server = start_proxy(web_concurrency=2, **SETTINGS)
    make_traffic(simulator, server, limit=True)
    known = "/api/proxy/failures"
    wait_for(lambda: CIRRUS in server.get(known).text and server.get(known).json()["limits"], what="it is remembered")
    page = visit(server).open("/ui/models")
    remembered = page.locator("[aria-labelledby=remembered]")
    before = len(rows(remembered))
    page.get_by_label("Forget the failures of cirrus-ultra:free").click()
    expect(page.locator("main")).to_contain_text("1 failure forgotten")
    assert len(rows(remembered)) == before - 1
    assert "cirrus-ultra" not in remembered.inner_text()
    page.get_by_role("button", name="Forget all").click()
    expect(remembered).to_have_count(0)
    wait_for(lambda: server.get(known).json() == {"failures": [], "limits": []}, what="both workers know")
    assert server.chat(CIRRUS).status_code == 200


def test_the_keyboard_reaches_everything(served: ProxyServer, visit: Visit) -> None:
    page = visit(served).open("/ui/models")
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    controls = page.locator("main :is(a, button, input:not([type=hidden]), select, summary)").count()
    seen = set()
    for _ in range(controls + 10):
        page.keyboard.press("Tab")
        focus = "[...document.querySelectorAll('main *')].indexOf(document.activeElement)"
        seen.add(page.evaluate(focus))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body"), "focus can be seen"
    assert len(seen - {-1}) >= controls


def test_without_scripts_pages_can_be_read(served: ProxyServer, visit: Visit) -> None:
    visitor = visit(served, java_script_enabled=False)
    for path in ALL:
        page = opened(visitor, served, path)
        assert len(page.inner_text("main")) > 150, path
    page = visitor.open("/ui/requests")
    page.check("input[name=failed]")
    page.click("form.filter [type=submit]")
    assert "failed=1" in page.url


@pytest.mark.prove
def test_a_new_server_says_what_to_do(start_proxy: Start, visit: Visit, axe: Any) -> None:
    visitor = visit(start_proxy())
    for path in PAGES:
        assert axe(visitor.open(path)) == []
    assert "No request yet" in visitor.open("/ui/requests").inner_text("main")
    assert "No requests in this time" in visitor.open("/ui/usage").inner_text("main")


def test_with_keys_the_pages_want_one(start_proxy: Start, visit: Visit) -> None:
    server = start_proxy(ready=False, proxy_api_keys="s3cret-key")
    stranger = server.get("/ui")
    assert (stranger.status_code, stranger.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
    assert server.get("/api/tags").headers["WWW-Authenticate"] == "Bearer"
    visitor = visit(server, http_credentials={"username": "me", "password": "s3cret-key"})
    for path in PAGES:
        page = visitor.open(path)
        assert "s3cret" not in page.content()
        assert "signed in" in page.inner_text("footer")
    assert "This server needs a key" in visitor.open("/ui/connect").inner_text("main")
    page = visitor.open("/ui/playground")
    page.fill("#prompt", "hello")
    page.press("#prompt", "Enter")
    expect(page.locator(".turn.answer .text")).to_contain_text("speaking")


@pytest.mark.prove
def test_with_the_database_away_pages_say_so(
    start_proxy: Start, simulator: Simulator, visit: Visit, postgres: Postgres
) -> None:
    server = start_proxy(database_url=postgres.url, **SETTINGS)
    make_traffic(simulator, server)
    visitor = visit(server)
    visitor.open("/ui")
    postgres.kill()
    for path in ("/ui", "/ui/models", "/ui/playground", "/ui/connect"):
        assert visitor.open(path).locator("h1").count() == 1, path
    expect(visitor.open("/ui").locator("main")).to_contain_text("Chats go on from memory")
    expect(visitor.open("/ui/requests").locator("main")).to_contain_text("The database does not answer")
    visitor.page.goto(f"{server.url}/ui/usage")
    expect(visitor.page.locator("body")).to_contain_text("the database does not answer")
    visitor.expect_faults("503")
    page = visitor.open("/ui/playground")
    page.fill("#prompt", "hello")
    page.press("#prompt", "Enter")
    expect(page.locator(".turn.answer .text")).to_contain_text("speaking")
