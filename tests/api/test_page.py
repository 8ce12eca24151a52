"""The pages under /ui over real sockets: what they show of a server that has served, and of one that cannot."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests

from ollama_proxy.ui.views import NAVIGATION
from simulator.process import Simulator
from tests.own_postgres import Postgres, postgres
from tests.servers import PATIENCE, ProxyServer, wait_for

__all__ = ["postgres"]

BEST, SECOND, THIRD = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free", "quarry/schema-12b:free"

ASK = [{"role": "user", "content": "hello"}]
DETAIL = re.compile(r"/ui/requests/[0-9a-f]{16}")

Start = Callable[..., ProxyServer]
Auth = tuple[str, str] | None


class Page(HTMLParser):
    """What a page holds: its text, its links and the files it loads, its forms, its headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]

    @property
    def files(self) -> set[str]:
        found = {one.get("href") for one in self.all("link")} | {one.get("src") for one in self.all("script", "img")}
        return {address for address in found if address}


def look(server: ProxyServer, path: str = "", auth: Auth = None, **headers: str) -> Page:
    answer = server.get(f"/ui{path}", auth=auth, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    return Page(answer.text)


def post(server: ProxyServer, path: str, data: Any = None, auth: Auth = None, **headers: str) -> requests.Response:
    headers = {"Origin": server.url} | headers
    url = f"{server.url}/ui{path}"
    return requests.post(url, data=data, headers=headers, auth=auth, timeout=PATIENCE, allow_redirects=False)


@pytest.fixture(scope="module")
def busy(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """A server with two workers that has served: answers, fallbacks, a failure, a stream that broke, a refusal."""
    shared_simulator.reset()
    folder = tmp_path_factory.mktemp("busy")
    settings = {"web_concurrency": 2, "free_requests_per_minute": 0}
    with ProxyServer(folder, shared_simulator.url, **settings) as server:
        shared_simulator.scenario(BEST, error_name="pool_429", times=2)
        assert server.chat("any-name").headers["X-OpenRouter-Model"] == SECOND
        shared_simulator.scenario(THIRD, tokens=10, in_stream_error=4, error_name="502", times=1)
        assert "error" in server.chat(THIRD, stream=True).text
        assert server.post("/api/chat", {"model": "free", "messages": "no list"}).status_code == 400
        shared_simulator.scenario("*", status=502, body={"error": {"code": 502, "message": "no"}}, times=12)
        assert server.chat().status_code >= 500
        shared_simulator.reset()
        for _ in range(40):
            assert server.post(
                "/v1/chat/completions", {"model": "free", "messages": [{"role": "user", "content": "h"}]}
            ).ok
        wait_for(lambda: len(server.get("/api/proxy/log?limit=100").json()["requests"]) == 44, what="the log")
        yield server


# What they show


def test_now_shows_how_it_is(busy: ProxyServer) -> None:
    page = look(busy)
    for words in ("Free requests today", "of 50", "key accepted", "10 models, 10 free", "2 workers", "Who may call"):
        assert words in page.text, words
    assert "serves programs on this machine, without a key" in page.text
    assert "Nobody asks anything at the moment" in page.text
    assert "rate limited upstream" in page.text, "what cools down"
    live = look(busy, "/now")
    assert "Free requests today" in live.text
    assert not live.all("html"), "a poll gets a part of the page"


def test_now_says_what_is_wrong_before_what_is_worth_a_note(start_proxy: Start, tmp_path: Path) -> None:
    (tmp_path / "filter.txt").write_text("cirrus-ultra:free\nno-such-model\n")
    server = start_proxy(models_filter=tmp_path / "filter.txt", ollama_origins="*")
    text = look(server).text
    wrong, note = "wrong filters 1 lines match no model: no-such-model", "note access OLLAMA_ORIGINS=*"
    assert text.index(wrong) < text.index(note)
    assert text.count("wrong ") == 1, "what is fine is not told"


@pytest.mark.parametrize("order", ["context", "balanced", "fast", "smart", "coding"])
def test_models_shows_each_order_with_its_reasons(busy: ProxyServer, order: str) -> None:
    def looks_agree() -> bool:
        """The page has the order of the report; one worker may learn of a score a moment before the other."""
        text = look(busy, f"/models?order={order}").text
        places = busy.get("/api/proxy/models").json()["orders"]["places"][order]
        at = [text.index(place["name"]) for place in places]
        return at == sorted(at)

    wait_for(looks_agree, what="the page and the report have one order")
    page = look(busy, f"/models?order={order}")
    assert "cooling rate limited upstream, until" in page.text
    for words in ("Score", "Quality", "Success", "First token", "Tokens/s", "Window", "vision", "tools", "thinking"):
        assert words in page.text, words
    assert f"/ui/models?order={order}" in [one["href"] for one in page.all("a") if "aria-current" in one]


def test_an_order_that_there_is_not(busy: ProxyServer) -> None:
    for query in ("order=nothing", "order=all", "order="):
        answer = busy.get(f"/ui/models?{query}")
        assert (answer.status_code, "there is no order" in answer.text) == (400, True)


def test_in_paid_mode_all_models_have_prices(start_proxy: Start) -> None:
    page = look(start_proxy(free_mode=False), "/models?order=all")
    assert "In $/M" in page.text
    assert re.search(r"\$\d", page.text)


def test_failures_are_forgotten_by_a_form(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy(web_concurrency=2)
    simulator.scenario(BEST, error_name="pool_429", times=1)
    simulator.scenario(SECOND, status=502, body={"error": {"code": 502, "message": "no"}}, times=1)
    assert server.chat("any-name").headers["X-OpenRouter-Model"] == THIRD

    def remembered() -> set[frozenset[str]]:
        """What each of the two workers says, as eight answers tell."""
        answers = [server.get("/api/proxy/failures").json()["failures"] for _ in range(8)]
        return {frozenset(one["id"] for one in failures) for failures in answers}

    both, second = frozenset({BEST, SECOND}), frozenset({SECOND})
    wait_for(lambda: remembered() == {both}, what="both workers know of the failures")
    page = look(server, "/models")
    assert {one.get("value") for one in page.all("input") if one.get("name") == "model"} == {BEST, SECOND}
    for nothing in ({}, {"model": ""}, {"all": "0"}, "all=%ff", "x&" * 200):
        assert post(server, "/models/forget", nothing).status_code == 400
    assert post(server, "/models/forget", {"model": "no-such-model"}).status_code == 404
    assert post(server, "/models/forget", "a" * 100_000).status_code == 413
    assert remembered() == {both}
    answer = post(server, "/models/forget", {"model": BEST})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ui/models?forgotten=1")
    assert "1 failure forgotten." in look(server, "/models?forgotten=1").text
    wait_for(lambda: remembered() == {second}, what="both workers have forgotten it")
    assert post(server, "/models/forget", {"all": "1"}).status_code == 303
    wait_for(lambda: remembered() == {frozenset()}, what="all is forgotten")
    wait_for(lambda: "No model has failed lately" in look(server, "/models").text, what="the page says so")


def test_requests_shows_the_newest_and_leads_to_older_ones(busy: ProxyServer) -> None:
    page = look(busy, "/requests")
    details = [
        str(one["href"]) for one in page.all("a") if re.fullmatch(r"/ui/requests/[0-9a-f]{16}", str(one["href"]))
    ]
    [older] = [str(one["href"]) for one in page.all("a") if "before=" in str(one["href"])]
    more = look(busy, older.removeprefix("/ui"))
    rest = [str(one["href"]) for one in more.all("a") if DETAIL.fullmatch(str(one["href"]))]
    log = [f"/ui/requests/{one['id']}" for one in busy.get("/api/proxy/log?limit=100").json()["requests"]]
    assert details + rest == log
    assert not [one for one in more.all("div") if "data-poll" in one], "what is old does not change"
    assert "There are no older ones" in look(busy, "/requests?before=1000").text


def test_requests_are_filtered_by_a_form(busy: ProxyServer) -> None:
    failed = look(busy, "/requests?caller=&model=&failed=1").text
    assert "failed 50" in failed
    assert "broken off" in failed
    assert "answered beacon" not in failed
    assert "refused 400" not in failed
    model = look(busy, f"/requests?model={SECOND}")
    assert "any-name → lumen-vl-32b:free" in model.text
    assert "cirrus-ultra:free: rate limited upstream" in model.text, "the chain"
    assert "No request fits" in look(busy, "/requests?caller=nobody").text
    [poll] = [one for one in model.all("div") if "data-poll" in one]
    assert poll["hx-get"] == "/ui/requests/live?model=orchid%2Flumen-vl-32b%3Afree"
    for query in ("before=x", "before=-1", "caller=%00", "model=a%00b"):
        assert busy.get(f"/ui/requests?{query}").status_code == 400


def test_one_request_with_its_chain_and_times(busy: ProxyServer) -> None:
    [one] = busy.get("/api/proxy/log?model=any-name").json()["requests"]
    page = look(busy, f"/requests/{one['id']}")
    for words in (
        "The whole answer went out.",
        BEST,
        "rate limited upstream",
        SECOND,
        "/api/chat (ollama)",
        "any-name",
    ):
        assert words in page.text, words
    assert page.text.index(BEST) < page.text.rindex(SECOND)
    assert look(busy, f"/requests/{one['id'][:8]}").text.count(one["id"])
    missing = busy.get("/ui/requests/ffffffffffffffff")
    assert (missing.status_code, "no request in the log" in missing.text) == (404, True)


def test_what_is_in_flight_in_all_workers_comes_first(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy(web_concurrency=2)
    simulator.scenario("*", tokens=4, reasoning=False, hold="gate", hold_at=2)
    threads = [threading.Thread(target=server.chat, args=("free:fast",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):  # whoever answers, both workers know
            wait_for(lambda: look(server, "/requests/live").text.count("free:fast →") == 3, what="all three are shown")
        text = wait_for(lambda: _with_all_three(look(server, "/requests").text), what="the page shows them, too")
        assert text.index("In flight") < text.index("free:fast") < text.index("Newest")
        wait_for(lambda: "In flight 3 requests" in look(server).text, what="Now counts them")
    finally:
        simulator.release("gate")
        for thread in threads:
            thread.join(PATIENCE)


def _with_all_three(text: str) -> str:
    return text if text.count("free:fast →") == 3 else ""


def test_usage_adds_up_in_tiles_plots_and_tables(busy: ProxyServer) -> None:
    page = look(busy, "/usage")
    used = busy.get("/api/proxy/usage").json()
    assert used["requests"] == 44
    assert (used["failed"], used["broken"], used["refused"]) == (1, 1, 1)
    assert sum(step["requests"] for step in used["steps"]) == 44
    for words in ("Requests 44", "1 failed, 1 broken off", "By model", "By caller", "127.0.0.1", "model rate limit"):
        assert words in page.text, words
    bars = [one for one in page.all("rect") if "c-failed" in str(one.get("class"))]
    assert bars, "the failed ones are in the plot"
    assert all(one.get("aria-label") or one.get("aria-hidden") for one in page.all("svg"))
    for span, steps in (("24h", 24), ("7d", 28), ("30d", 30)):
        assert len(busy.get(f"/api/proxy/usage?span={span}").json()["steps"]) == steps
        assert "Requests 44" in look(busy, f"/usage?span={span}").text
    assert busy.get("/ui/usage?span=1y").status_code == 400
    assert busy.get("/api/proxy/usage?span=1y").json()["error"].startswith("there is no span '1y': 24h, 7d, 30d")


def test_a_new_server_says_what_to_do(start_proxy: Start) -> None:
    server = start_proxy()
    assert f"curl {server.url}/api/chat" in look(server, "/requests").text
    assert "No requests in this time" in look(server, "/usage").text
    assert "No model has failed lately" in look(server, "/models").text


def test_without_a_log_it_says_so(start_proxy: Start) -> None:
    assert "REQUEST_LOG_DAYS is 0" in look(start_proxy(request_log_days=0), "/requests").text


# For all pages


@pytest.mark.parametrize("page", NAVIGATION, ids=lambda page: page.name)
def test_each_page_has_a_frame_that_people_find_their_way_in(busy: ProxyServer, page: Any) -> None:
    found = look(busy, page.url.removeprefix("/ui"))
    assert len(found.all("h1")) == len(found.all("main")) == len(found.all("header")) == len(found.all("footer")) == 1
    assert found.all("html") == [{"lang": "en"}]
    assert found.all("a")[0] == {"class": "skip", "href": "#content"}
    assert next(one["href"] for one in found.all("a") if one.get("aria-current") == "page") == page.url
    links = {str(one["href"]) for one in found.all("a")}
    assert links >= {one.url for one in NAVIGATION}
    for one in found.all("input"):
        # One that no form sends is a script's, which knows it by its id.
        assert one.get("type") == "hidden" or one.get("name") or one.get("id")
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(address.startswith("/ui") for address in links | found.files if not address.startswith("#"))


def wire_size(server: ProxyServer, path: str) -> int:
    """The bytes of an answer's body, as they come over the wire to a browser."""
    headers = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    with requests.get(f"{server.url}{path}", headers=headers, timeout=PATIENCE, stream=True) as answer:
        assert answer.ok
        return len(answer.raw.read(decode_content=False))


@pytest.mark.parametrize("page", NAVIGATION, ids=lambda page: page.name)
def test_a_first_load_is_small(busy: ProxyServer, page: Any) -> None:
    files = look(busy, page.url.removeprefix("/ui")).files
    size = wire_size(busy, page.url) + sum(wire_size(busy, file) for file in files)
    assert size < 60_000
    polls = [str(one["hx-get"]) for one in look(busy, page.url.removeprefix("/ui")).all("div") if "data-poll" in one]
    for poll in polls:
        assert wire_size(busy, poll) < 5_000


def test_files_may_be_kept_for_good(busy: ProxyServer) -> None:
    for file in look(busy).files:
        plain = requests.get(f"{busy.url}{file}", headers={"Accept-Encoding": "identity"}, timeout=PATIENCE)
        kept = plain.headers["Cache-Control"]
        assert "public" in kept
        assert "max-age=31536000" in kept
        assert "immutable" in kept
        assert plain.headers["Vary"] == "Accept-Encoding"
        assert plain.headers["X-Content-Type-Options"] == "nosniff"
        assert plain.headers["Content-Type"].partition(";")[0] in ("text/css", "text/javascript", "image/svg+xml")
        packed = requests.get(f"{busy.url}{file}", headers={"Accept-Encoding": "gzip"}, timeout=PATIENCE, stream=True)
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.raw.read(decode_content=False)) == plain.content


def test_looks_are_neither_recorded_nor_logged_but_what_is_done_is(start_proxy: Start) -> None:
    server = start_proxy()
    for path in ("", "/now", "/models", "/requests", "/requests/live", "/usage"):
        look(server, path)
    assert post(server, "/models/forget", {"all": "1"}).status_code == 303
    wait_for(lambda: "/models/forget" in server.log(), what="the log")
    lines = [json.loads(line) for line in server.log().splitlines() if '"path":"/ui' in line]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [("POST", "/ui/models/forget", 303)]
    assert server.get("/api/proxy/log").json()["requests"] == []
    assert 'route="/ui/now"' in server.get("/metrics").text


def test_somebody_who_looks_has_the_quota_kept_fresh(start_proxy: Start, tmp_path: Path) -> None:
    """The process that asks OpenRouter once a minute reads in the table that somebody looks."""
    server = start_proxy()

    def looked_at() -> float:
        with closing(sqlite3.connect(tmp_path / "proxy.db")) as database:
            return max((row[0] for row in database.execute("SELECT looked_at FROM account")), default=0.0)

    assert looked_at() == 0
    look(server, "/now")
    wait_for(looked_at, what="the look is written")


def test_switched_off_there_is_nothing(start_proxy: Start) -> None:
    server = start_proxy(ui=False)
    unknown = server.get("/nothing")
    for path in ("/ui", "/ui/", "/ui/models", "/ui/static/page.css"):
        answer = server.get(path)
        assert (answer.status_code, answer.text) == (unknown.status_code, unknown.text) == (404, "404 page not found")
        assert "Content-Security-Policy" not in answer.headers


# With the database away


def test_with_the_database_away_it_shows_what_the_process_knows(
    start_proxy: Start, simulator: Simulator, postgres: Postgres
) -> None:
    server = start_proxy(database_url=postgres.url)
    postgres.kill()
    simulator.scenario(BEST, error_name="pool_429", times=1)
    assert server.chat("any-name").headers["X-OpenRouter-Model"] == SECOND
    now = look(server).text
    assert "It does not answer, or takes no writes" in now
    assert "away" in now
    assert "10 models, 10 free" in now
    assert "rate limited upstream" in now
    assert "Not known: the database is away." in now
    assert "rate limited upstream" in look(server, "/models").text
    assert "The database does not answer" in look(server, "/requests").text
    for path in ("/usage", "/requests/0123456789abcdef"):
        answer = server.get(f"/ui{path}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "the database does not answer now" in answer.text
    assert post(server, "/models/forget", {"model": BEST}).status_code == 303
    assert "Traceback" not in server.log()


def test_a_start_without_the_database_says_so_on_each_page(start_proxy: Start, postgres: Postgres) -> None:
    """Nobody knows who may call. A server that starts beside its database is found so for some seconds."""
    postgres.kill()
    server = start_proxy(database_url=postgres.url, ready=False)
    for path in ("", "/models", "/keys", "/now"):
        answer = server.get(f"/ui{path}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8"), path
        assert "does not know yet who may call: its database, which holds the keys" in Page(answer.text).text
        assert "Retry-After" in answer.headers
    postgres.start()
    wait_for(lambda: server.get("/ui").ok, what="the database is there")


# With keys


def test_with_keys_a_browser_signs_in(start_proxy: Start) -> None:
    server = start_proxy(proxy_api_keys="first-key,s3cret-key", ready=False)
    auth = ("anybody", "s3cret-key")
    asked = server.get("/ui")
    assert (asked.status_code, asked.headers["WWW-Authenticate"]) == (
        401,
        'Basic realm="ollama-proxy", charset="UTF-8"',
    )
    assert "Sign in with any name, and the key as the password" in asked.text
    assert asked.headers["Content-Security-Policy"].startswith("default-src 'self'")
    wait_for(lambda: look(server, auth=auth).text.count("10 models"), what="a catalogue")
    page = look(server, auth=auth)
    assert "signed in with key 2" in page.text
    assert "serves whoever has one of the 2 keys" in page.text
    for path in ("", "/models", "/requests", "/usage", "/now", "/requests/live", *(f[3:] for f in page.files)):
        assert server.get(f"/ui{path}").status_code == 401
        answer = server.get(f"/ui{path}", auth=auth)
        assert answer.status_code == 200
        assert "s3cret" not in answer.text
    assert "WWW-Authenticate" not in server.get("/ui/now", headers={"HX-Request": "true"}).headers
    assert post(server, "/models/forget", {"all": "1"}).status_code == 401
    assert post(server, "/models/forget", {"all": "1"}, auth=auth).status_code == 303
    assert "s3cret" not in server.log()
