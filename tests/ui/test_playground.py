"""The page Playground in a real browser: a chat as a person has it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from simulator.process import Simulator
from tests.servers import ProxyServer
from tests.ui.browser import Visitor

CIRRUS, LUMEN, EMBER = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free", "tidal/ember-4:free"
PATH = "/ui/playground"

#: A red dot.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)

Visit = Callable[..., Visitor]


Start = Callable[..., ProxyServer]


@pytest.fixture(scope="module")
def shared_server(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    forgets = {"failure_cooldown_minutes": 0, "ratelimit_cooldown_minutes": 0, "free_requests_per_minute": 0}
    folder = tmp_path_factory.mktemp("playground")
    with ProxyServer(folder, shared_simulator.url, web_concurrency=2, **forgets) as server:
        yield server


@pytest.fixture
def server(shared_server: ProxyServer, simulator: Simulator) -> ProxyServer:
    """A server of two workers that remembers no model's failure."""
    return shared_server


def say(page: Page, text: str, model: str = "") -> None:
    if model:
        page.select_option("#model", model)
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")


def answered(page: Page, number: int = 1) -> Any:
    """The answer of that number, once it has ended."""
    answer = page.locator(".turn.answer").nth(number - 1)
    expect(answer).to_be_visible()
    expect(answer).not_to_have_attribute("aria-busy", "true")
    return answer


def test_it_lists_what_programs_see(server: ProxyServer, visit: Visit) -> None:
    page = visit(server).open(PATH)
    names = page.eval_on_selector_all("#model option", "options => options.map(one => one.value)")
    listed = server.get("/api/tags").json()["models"]
    assert names == [model["name"] for model in listed if "completion" in model["capabilities"]]
    assert names[0] == "free:latest"
    page = visit(server).open(f"{PATH}?model=ember-4:free")
    assert page.input_value("#model") == "ember-4:free"


def test_a_chat_streams_and_says_who_answered(server: ProxyServer, simulator: Simulator, visit: Visit) -> None:
    simulator.scenario(CIRRUS, error_name="pool_429", times=1)
    simulator.scenario(LUMEN, tokens=12, hold="rest", hold_at=4, times=1)
    page = visit(server).open(PATH)
    say(page, "Hello & <b>you</b>", "cirrus-ultra:free")
    text = page.locator(".turn.answer .text")
    expect(text).to_contain_text("t3")
    expect(page.locator(".turn.answer")).to_have_attribute("aria-busy", "true")
    assert "t11" not in text.inner_text()
    assert page.locator(".turn.asked .text").inner_text() == "Hello & <b>you</b>"
    simulator.release("rest")
    answer = answered(page)
    assert answer.locator(".text").inner_text().split() == [f"t{number}" for number in range(12)]
    facts = answer.locator(".told")
    expect(facts).to_contain_text("Cost$0")
    said = facts.inner_text()
    assert LUMEN in said
    assert f"{CIRRUS} (rate limited upstream" in said
    for name in ("First token", "Total", "Tokens", "12 written", "Request"):
        assert name in said, said
    log = server.get("/api/proxy/log").json()["requests"][0]
    assert (log["route"], log["api"], log["asked"]) == ("/ui/playground/chat", "ollama", "cirrus-ultra:free")
    assert (log["model"], log["outcome"], log["streamed"]) == (LUMEN, "whole", True)


def test_it_is_a_conversation_with_a_system_prompt_and_parameters(
    server: ProxyServer, simulator: Simulator, visit: Visit
) -> None:
    page = visit(server).open(PATH)
    page.locator("summary", has_text="System prompt").click()
    page.fill("#system", "Be brief.")
    page.fill("#temperature", "0.3")
    page.fill("#most-tokens", "50")
    say(page, "one", "ember-4:free")
    answered(page)
    say(page, "two")
    answered(page, 2)
    body = simulator.chats()[-1]["body"]
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["messages"][0]["content"] == "Be brief."
    assert body["messages"][-1]["content"] == "two"
    assert (body["temperature"], body["max_tokens"]) == (0.3, 50)
    page.click("#clear")
    assert page.locator(".turn").count() == 0
    say(page, "three")
    answered(page)
    assert len(simulator.chats()[-1]["body"]["messages"]) == 2, "the system prompt stays, the rest is forgotten"


def test_thinking_is_apart_and_can_be_switched_off(server: ProxyServer, simulator: Simulator, visit: Visit) -> None:
    simulator.scenario(CIRRUS, reasoning="Let me see. ", text="It is blue.", times=1)
    page = visit(server).open(PATH)
    say(page, "which colour?", "cirrus-ultra:free")
    answer = answered(page)
    assert answer.locator(".text").inner_text() == "It is blue."
    thinking = answer.locator(".thinking")
    assert thinking.get_attribute("open") is None, "it closes when the answer begins"
    thinking.locator("summary").click()
    assert "Let me see." in thinking.inner_text()
    page.locator("summary", has_text="System prompt").click()
    page.select_option("#think", "false")
    say(page, "again")
    assert answered(page, 2).locator(".thinking").count() == 0
    page.select_option("#model", "ember-4:free")
    assert page.is_disabled("#think")


def test_stop_ends_the_request_upstream(server: ProxyServer, simulator: Simulator, visit: Visit) -> None:
    simulator.scenario(EMBER, tokens=100, hold="rest", hold_at=5, times=1)
    page = visit(server).open(PATH)
    say(page, "count", "ember-4:free")
    expect(page.locator(".turn.answer .text")).to_contain_text("t4")
    assert page.is_disabled("#send")
    page.click("#stop")
    answer = answered(page)
    expect(answer.locator(".told")).to_contain_text("Stopped")
    assert simulator.log(outcome="client_gone", wait=5), "the upstream connection ends"
    say(page, "go on")
    answered(page, 2)
    roles = [message["role"] for message in simulator.chats()[-1]["body"]["messages"]]
    assert roles == ["user", "assistant", "user"], "what came is part of the conversation"


def test_images_go_to_models_that_see_and_are_made_smaller(
    server: ProxyServer, simulator: Simulator, visit: Visit
) -> None:
    page = visit(server).open(PATH)
    page.select_option("#model", "ember-4:free")
    assert page.is_disabled("#images")
    page.select_option("#model", "lumen-vl-32b:free")
    large = page.evaluate(
        """() => { const c = document.createElement("canvas"); c.width = 3000; c.height = 1500;
        c.getContext("2d").fillRect(0, 0, 3000, 1500); return c.toDataURL().split(",")[1]; }"""
    )
    files = [("dot.png", PNG), ("large.png", base64.b64decode(large))]
    page.locator("summary", has_text="Images").click()
    page.set_input_files("#images", [{"name": n, "mimeType": "image/png", "buffer": data} for n, data in files])
    expect(page.locator("#attached img")).to_have_count(2)
    assert page.eval_on_selector_all("#attached img", "all => all.map(one => one.naturalWidth)") == [1, 1024]
    page.get_by_label("Remove dot.png").click()
    say(page, "what is this?")
    answered(page)
    parts = simulator.chats()[-1]["body"]["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    assert parts[1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    page.set_input_files("#images", [{"name": "no.png", "mimeType": "image/png", "buffer": b"no image"}])
    expect(page.locator("#state")).to_contain_text("no.png cannot be read")
    page.set_input_files("#images", [{"name": "dot.png", "mimeType": "image/png", "buffer": PNG}])
    expect(page.locator("#attached img")).to_have_count(1)
    page.select_option("#model", "ember-4:free")
    assert page.locator("#attached img").count() == 0
    say(page, "and without?")
    answered(page, 2)
    messages = simulator.chats()[-1]["body"]["messages"]
    assert len(messages) == 3
    assert "image_url" not in str(messages), "a model that sees none is not sent those of earlier messages"


def test_errors_are_told_in_words_and_the_question_comes_back(
    start_proxy: Start, simulator: Simulator, visit: Visit
) -> None:
    visitor = visit(start_proxy(ratelimit_wait_seconds=0))
    page = visitor.open(PATH)
    simulator.scenario("*", error_name="free_per_min", reset_in=40, times=1)
    say(page, "hello", "ember-4:free")
    failed = answered(page)
    expect(failed.locator(".error")).to_contain_text("free limit")
    visitor.expect_faults(r"playground/chat.*429")
    assert page.input_value("#prompt") == "hello"


def test_a_break_in_the_middle_is_told(server: ProxyServer, simulator: Simulator, visit: Visit) -> None:
    simulator.scenario(EMBER, tokens=20, in_stream_error=9, error_name="502_network", times=1)
    page = visit(server).open(PATH)
    say(page, "hello", "ember-4:free")
    answer = answered(page)
    assert "t8" in answer.locator(".text").inner_text()
    assert "upstream error" in answer.locator(".error").inner_text()


def test_what_a_model_says_stays_text(server: ProxyServer, simulator: Simulator, visit: Visit) -> None:
    markup = "<img src=x onerror=alert(1)> <script>alert(2)</script>\n\n**bold**"
    simulator.scenario(EMBER, text=markup, reasoning=False, times=1)
    page = visit(server).open(PATH)
    say(page, markup, "ember-4:free")
    answer = answered(page)
    assert answer.locator(".text").text_content() == markup
    assert answer.locator("img, script").count() == 0


def test_copy_and_keyboard(server: ProxyServer, visit: Visit) -> None:
    page = visit(server, permissions=["clipboard-read", "clipboard-write"]).open(PATH)
    page.focus("#prompt")
    page.keyboard.type("first")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second")
    page.keyboard.press("Enter")
    answered(page)
    assert page.locator(".turn.asked .text").text_content() == "first\nsecond"
    page.click("#copy")
    expect(page.locator("#state")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("You:\nfirst\nsecond\n\nModel:\nThis is ")


def test_it_is_asked_by_own_pages_only(server: ProxyServer, simulator: Simulator) -> None:
    body = {"model": "free", "messages": [{"role": "user", "content": "hello"}]}
    foreign: list[dict[str, str]] = [
        {},
        {"Origin": "http://localhost:1234"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
    ]
    for headers in foreign:
        answer = server.post(f"{PATH}/chat", body, headers=headers)
        assert answer.status_code == 403, headers
    assert not simulator.chats()
    own = server.post(f"{PATH}/chat", body, headers={"Origin": server.url, "Sec-Fetch-Site": "same-origin"})
    assert json.loads(own.text.splitlines()[-1])["done"]
    refused = server.post(f"{PATH}/chat", {"messages": []}, headers={"Origin": server.url})
    assert (refused.status_code, refused.json()) == (400, {"error": "model is required"})


def test_what_the_log_has_is_told_as_json(server: ProxyServer) -> None:
    assert server.get(f"{PATH}/answered/0123456789abcdef").json() == {"request": None}
    assert server.get(f"{PATH}/answered/a%00b").json() == {"error": "id must not hold a NUL character"}
    assert server.get(f"{PATH}/chat").status_code == 405


def test_without_scripts_it_says_that_it_needs_them(server: ProxyServer, visit: Visit) -> None:
    page = visit(server, java_script_enabled=False).open(PATH)
    assert "needs JavaScript" in page.inner_text("main")
    assert not page.is_visible("#prompt")


@pytest.mark.prove
def test_without_a_list_it_says_why(start_proxy: Start, simulator: Simulator, visit: Visit) -> None:
    simulator.control("down", {"models": "refuse"})
    server = start_proxy(ready=False)
    assert "There is no model to chat with yet" in visit(server).open(PATH).inner_text("main")
