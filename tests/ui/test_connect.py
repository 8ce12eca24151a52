"""The page Connect: this server's address in the lines of each client, and who has been here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from ollama_proxy.clients.cards import cards
from ollama_proxy.ui.views.connect import own_address
from tests.servers import ProxyServer, wait_for
from tests.ui.browser import Visitor

PATH = "/ui/connect"

Visit = Callable[..., Visitor]


def test_every_client_has_its_lines_with_this_address(served: ProxyServer, visit: Visit) -> None:
    page = visit(served).open(PATH)
    names = page.eval_on_selector_all(".client .name", "all => all.map(one => one.textContent)")
    assert names == [card.name for card in cards()]
    page.locator("#zed summary").click()
    assert f'"api_url": "{served.url}"' in page.inner_text("#zed")
    assert "SERVER" not in (page.text_content("main") or "")
    assert "This server needs no key" in page.inner_text("main")
    assert "Only programs on the server's own machine" in page.inner_text("main")


def test_the_address_is_the_one_that_the_viewer_uses(served: ProxyServer, visit: Visit) -> None:
    visitor = visit(served)
    visitor.url = served.url.replace("127.0.0.1", "localhost")
    page = visitor.open(PATH)
    assert visitor.url in page.inner_text("pre >> nth=0")
    assert served.url not in (page.text_content("main") or "")


@pytest.mark.parametrize("host", ["x;reboot", "a b", '"><script>', "$(id)", "`id`", "x" * 300, ""])
def test_a_host_that_is_none_is_not_repeated(host: str) -> None:
    assert own_address("http", host, 11434) == "http://localhost:11434"
    assert own_address("https", "box.lan:8443", 1) == "https://box.lan:8443"
    assert own_address("http", "[fd00::1]:80", 1) == "http://[fd00::1]:80"


def test_search_and_links_open_clients(served: ProxyServer, visit: Visit) -> None:
    page = visit(served).open(PATH)
    count = page.locator(".client").count()
    page.fill("#query", "LANGCHAIN")
    expect(page.locator(".client:visible")).to_have_count(1)
    assert page.locator("#langchain").get_attribute("open") is not None
    assert page.locator(".clients:visible h2").all_inner_texts() == ["Libraries"]
    assert page.inner_text("#found") == f"1 of {count} clients"
    page.fill("#query", "nothing like that")
    expect(page.locator("#found")).to_contain_text("No client like that")
    page.fill("#query", "")
    expect(page.locator(".client:visible")).to_have_count(count)
    page = visit(served).open(f"{PATH}#cline")
    assert page.is_visible("#cline p")


def test_copy_buttons_copy_the_lines(served: ProxyServer, visit: Visit) -> None:
    page = visit(served, permissions=["clipboard-read", "clipboard-write"]).open(f"{PATH}#claude-code")
    button = page.locator("#claude-code .copy").first
    button.click()
    expect(button).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#claude-code pre").first.text_content()
    assert copied.startswith(f"export ANTHROPIC_BASE_URL={served.url}\n")


def test_who_was_here(served: ProxyServer, visit: Visit) -> None:
    served.get("/api/tags", headers={"User-Agent": "Zed/0.200.0 (linux)"})
    served.get("/api/tags", headers={"User-Agent": "Evil<b>/1"})
    served.get("/api/nothing", headers={"User-Agent": "codex_cli_rs/1"})
    wait_for(lambda: 'class="seen"' in served.get(PATH).text, what="the client is noted")
    page = visit(served).open(PATH)
    assert page.locator(".seen").count() == 1
    assert "here last" in page.inner_text("#zed summary")
    assert page.inner_text("#codex summary").endswith("not seen yet")
    assert "Evil" not in page.content()


def test_with_keys_it_says_where_the_key_goes(start_proxy: Callable[..., ProxyServer], visit: Visit) -> None:
    server = start_proxy(ready=False, proxy_api_keys="s3cret-key")
    page = visit(server, http_credentials={"username": "me", "password": "s3cret-key"}).open(PATH)
    assert "This server needs a key" in page.inner_text("main")
    assert "s3cret" not in page.content()


def test_it_can_be_read_without_scripts(served: ProxyServer, visit: Visit) -> None:
    page = visit(served, java_script_enabled=False).open(PATH)
    page.locator("#llm summary").click()
    assert f"export OLLAMA_HOST={served.url}" in page.inner_text("#llm")
    assert page.locator(".copy").count() == 0
    assert not page.is_visible("#query")
