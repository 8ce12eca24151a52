"""Keys and Personas in a real browser: what an admin does there, with and without scripts, dark and narrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from simulator.process import Simulator
from tests.servers import ProxyServer, wait_for
from tests.ui.browser import Visitor, scrolls_sideways

Visit = Callable[..., Visitor]

BOSS = "boss-s3cret-key"
MARKUP = '</textarea></pre><script>alert("x")</script><img src=x onerror=alert(1)>'
SIGNED_IN = {"http_credentials": {"username": "me", "password": BOSS}}

PAGES = (
    "/ui/keys",
    "/ui/keys/new",
    "/ui/keys/key?name=tablet",
    "/ui/keys/remove?name=tablet",
    "/ui/keys/events",
    "/ui/personas",
    "/ui/personas/persona?name=mario",
    "/ui/personas/new",
    "/ui/personas/edit?name=mario",
    "/ui/personas/modelfile?name=mario",
    "/ui/personas/copy?source=mario",
    "/ui/personas/delete?name=mario",
)


@pytest.fixture(scope="module")
def guarded(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """A server with a key of everything, a persona that holds markup wherever one may, and aliases."""
    shared_simulator.reset()
    settings: dict[str, Any] = {"proxy_api_keys": f"boss={BOSS}", "ready": False, "web_concurrency": 2}
    settings["model_aliases"] = "claude-haiku-*=free:fast, gpt-*=no-such-model"
    boss = {"Authorization": f"Bearer {BOSS}"}
    with ProxyServer(tmp_path_factory.mktemp("guarded"), shared_simulator.url, **settings) as server:
        wait_for(lambda: server.get("/api/tags", headers=boss).ok, what="a catalogue")
        key = {
            "name": "tablet", "note": MARKUP, "models": ["*ember*", "<b>"], "rpm": 60, "parallel": 2, "metrics": True,
            "free_per_day": 0, "usd_per_day": 0.5, "usd_per_month": 20, "expires": "2030-01-31", "free_only": True,
        }  # fmt: skip
        assert server.post("/api/proxy/keys", key, headers=boss).ok
        persona = {
            "model": "mario", "from": "ember-4:free", "system": MARKUP, "template": "{{ .Prompt }}", "license": MARKUP,
            "parameters": {"stop": [MARKUP], "top_k": 3}, "messages": [{"role": "user", "content": MARKUP}],
        }  # fmt: skip
        assert server.post("/api/create", persona | {"stream": False}, headers=boss).ok
        yield server


@pytest.mark.parametrize(("dark", "narrow"), list(product((False, True), (False, True))))
def test_pages_have_no_fault(guarded: ProxyServer, visit: Visit, axe: Any, dark: bool, narrow: bool) -> None:
    """Loads, scripts, other hosts (see `visit`); what axe-core calls serious; no scrolling sideways; no markup."""
    visitor = visit(guarded, dark=dark, narrow=narrow, **SIGNED_IN)
    for path in PAGES:
        page = visitor.open(path)
        assert axe(page) == [], path
        assert not scrolls_sideways(page), path
        assert page.locator("main img, main script").count() == 0, path
        assert "s3cret" not in page.content()


def test_a_key_from_its_making_to_its_end(guarded: ProxyServer, visit: Visit) -> None:
    visitor = visit(guarded, permissions=["clipboard-read", "clipboard-write"], **SIGNED_IN)
    page = visitor.open("/ui/keys")
    page.get_by_role("button", name="Add a key").click()
    page.fill("#f-name", "anna")
    page.fill("#f-free_per_day", "10")
    page.fill("#f-usd_per_day", "lots")
    page.check("#f-free_only")
    page.get_by_role("button", name="Add the key").click()
    expect(page.locator("[role=alert]")).to_contain_text("Dollars a day: dollars, 0 to 1000000")
    expect(page.locator("#f-usd_per_day")).to_have_attribute("aria-invalid", "true")
    visitor.expect_faults("400")
    page.fill("#f-usd_per_day", "0.5")
    page.fill("#f-expires", "2030-01-31")
    page.get_by_role("button", name="Add the key").click()
    page.get_by_role("button", name="Copy: The key").click()
    key = page.get_by_label("The key", exact=True).inner_text()
    assert re.fullmatch(r"opk_[A-Za-z0-9]{33}", key)
    assert page.evaluate("navigator.clipboard.readText()") == key
    assert key not in page.url
    holder = {"Authorization": f"Bearer {key}"}
    wait_for(lambda: all(guarded.get("/api/tags", headers=holder).ok for _ in range(16)), what="the key counts")
    page.get_by_role("link", name="What it may do").click()
    assert page.input_value("#f-expires") == "2030-01-31"
    assert page.is_checked("#f-free_only")
    assert key not in page.content()
    page.uncheck("#f-free_only")
    page.fill("#f-note", MARKUP)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("[role=status]").first).to_contain_text("It is changed.")
    assert not page.is_checked("#f-free_only")
    page.get_by_role("button", name="Disable").click()
    expect(page.locator("main")).to_contain_text("It is disabled")
    wait_for(lambda: guarded.get("/api/tags", headers=holder).status_code == 401, what="it is refused")
    page.get_by_role("button", name="Enable").click()
    page.get_by_role("button", name="Remove…").click()
    expect(page.locator("h1")).to_have_text("Remove anna?")
    page.get_by_role("link", name="Keep it").click()
    page.get_by_role("button", name="Remove…").click()
    page.get_by_role("button", name="Remove anna").click()
    expect(page.locator("[role=status]").first).to_contain_text("The key is removed")
    page.get_by_role("link", name="What was done to keys").click()
    assert _column(page, 3)[:5] == ["removed", "enabled", "disabled", "changed", "added"]


def _column(page: Page, number: int) -> list[str]:
    return page.locator(f"tbody tr td:nth-child({number})").all_inner_texts()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_persona_from_its_making_to_its_end(
    guarded: ProxyServer, visit: Visit, tmp_path: Path, scripts: bool
) -> None:
    page = visit(guarded, java_script_enabled=scripts, **SIGNED_IN).open("/ui/personas")
    page.get_by_role("button", name="New persona").click()
    page.fill("#f-name", "luigi")
    page.fill("#f-base", "ember-4:free")
    page.fill("#f-system", f"You are Luigi.\n{MARKUP}")
    page.fill("#f-parameters", 'temperature 0.5\nstop "\\n\\n"')
    page.get_by_role("button", name="More messages").click()
    page.fill("#f-text-3", "It is me, Luigi!")
    page.select_option("#f-role-3", "assistant")
    page.press("#f-name", "Enter")  # as the first button, not as "More messages"
    expect(page.locator("h1")).to_have_text("luigi:latest")
    assert page.get_by_label("The system prompt", exact=True).inner_text() == f"You are Luigi.\n{MARKUP}"
    page.get_by_role("button", name="Edit", exact=True).click()
    assert page.input_value("#f-system") == f"You are Luigi.\n{MARKUP}"
    assert page.input_value("#f-text-0") == "It is me, Luigi!"
    page.fill("#f-parameters", "top_k 4")
    page.get_by_role("button", name="Save").click()
    assert page.get_by_label("The parameters", exact=True).inner_text() == "top_k 4"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "Modelfile")
    assert "PARAMETER top_k 4" in (tmp_path / "Modelfile").read_text()
    page.get_by_role("button", name="Copy…").click()
    page.fill("#f-name", "luigi:two")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("h1")).to_have_text("luigi:two")
    _delete(page, "luigi:two")
    page.get_by_role("link", name="luigi:latest").click()
    _delete(page, "luigi:latest")
    page.get_by_role("button", name="From a Modelfile").click()
    page.fill("#f-name", "luigi")
    page.set_input_files("#f-file", tmp_path / "Modelfile")
    page.get_by_role("button", name="Make it").click()
    assert page.get_by_label("The system prompt", exact=True).inner_text() == f"You are Luigi.\n{MARKUP}"
    _delete(page, "luigi:latest")


def _delete(page: Page, name: str) -> None:
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name=f"Delete {name}").click()
    expect(page.locator("[role=status]").first).to_contain_text("The persona is deleted.")
    expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)
