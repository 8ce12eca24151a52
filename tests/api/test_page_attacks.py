"""What others try with the pages, over real sockets: none of it works, and nothing that is stored becomes markup."""

from __future__ import annotations

import http.client
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests

from ollama_proxy.ledger.ledger import _columns
from ollama_proxy.ledger.record import RequestRecord, Step
from ollama_proxy.observation import Outcome
from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureRow
from ollama_proxy.storage.ledger_table import HourlyFailures, HourlyUsage, LedgerTable
from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer, wait_for

MARKUP = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7331*7331}}"


@pytest.fixture(scope="module")
def server(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """One that every web page may call, so that only the pages' own rules count."""
    folder = tmp_path_factory.mktemp("attacked")
    with ProxyServer(folder, shared_simulator.url, ollama_origins="*") as found:
        yield found


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no Origin: a script of a stranger, or curl"),
        pytest.param({"Origin": "https://evil.example"}, id="another page"),
        pytest.param({"Origin": "null"}, id="a sandboxed frame"),
        pytest.param({"Origin": "http://localhost:3000"}, id="another port of this machine"),
        pytest.param({"Origin": "http://127.0.0.1"}, id="the usual port of this machine"),
        pytest.param({"Origin": "SELF", "Sec-Fetch-Site": "cross-site"}, id="the browser says: another site"),
        pytest.param({"Origin": "SELF", "Sec-Fetch-Site": "same-site"}, id="the browser says: another port"),
        pytest.param({"Origin": "SELF", "Host": "evil.example"}, id="the Host of another"),
        pytest.param({"Origin": "http://evil.example", "Host": "evil.example"}, id="DNS rebinding"),
        pytest.param({"Origin": "SELF.evil.example"}, id="a longer name"),
        pytest.param({"Referer": "SELF/ui/models"}, id="a Referer is no Origin"),
        pytest.param({"HX-Request": "true"}, id="a header that says it is the page"),
        pytest.param({"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"}, id="a forwarded Host"),
    ],
)
@pytest.mark.parametrize("path", ["/ui/models/forget", "/ui/models/forget/", "//ui/models/forget", "/ui/nothing"])
def test_nobody_else_changes_anything(server: ProxyServer, headers: dict[str, str], path: str) -> None:
    headers = {name: value.replace("SELF", server.url) for name, value in headers.items()}
    answer = requests.post(f"{server.url}{path}", data={"all": "1"}, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FORGET"])
def test_no_other_method_does_anything(server: ProxyServer, method: str) -> None:
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    for path in ("/ui", "/ui/models/forget"):
        assert requests.request(method, f"{server.url}{path}", headers=own, timeout=PATIENCE).status_code == 405
        assert requests.request(method, f"{server.url}{path}", timeout=PATIENCE).status_code == 403
    assert server.get("/ui/models/forget").status_code == 405, "GET changes nothing"


def test_what_is_not_there_looks_like_a_page(server: ProxyServer) -> None:
    unknown, method = server.get("/ui/nothing"), server.get("/ui/models/forget")
    for answer, status, words in (
        (unknown, 404, "there is no such page"),
        (method, 405, "this page cannot be asked in this way"),
    ):
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert words in answer.text
        assert "<h1>" in answer.text
    assert method.headers["Allow"] == "POST"
    assert server.get("/uinothing").text == server.get("/nothing").text == "404 page not found"


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}])
def test_the_script_of_the_playground_is_refused_in_json(server: ProxyServer, headers: dict[str, str]) -> None:
    answer = server.post("/ui/playground/chat", {"model": "free", "messages": []}, headers=headers)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json()["error"].startswith("forbidden: ")


@pytest.mark.parametrize("path", ["/ui", "/ui/now", "/ui/requests", "/ui/requests/live", "/ui/usage"])
def test_no_other_page_reads_or_frames(server: ProxyServer, path: str) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Host": "evil.example"},
    ):
        answer = server.get(path, headers=headers)
        assert answer.status_code == 403, headers
        assert "Free requests" not in answer.text
        assert "Access-Control-Allow-Origin" not in answer.headers
    shown = server.get(path).headers
    assert "frame-ancestors 'none'" in shown["Content-Security-Policy"]
    assert shown["X-Frame-Options"] == "DENY"
    assert shown["Cross-Origin-Opener-Policy"] == shown["Cross-Origin-Resource-Policy"] == "same-origin"
    assert shown["Referrer-Policy"] == "same-origin"
    assert "unsafe" not in shown["Content-Security-Policy"]


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../routes.py",
        "../../__init__.py",
        "..%2froutes.py",
        "%2e%2e/routes.py",
        "%2e%2e%2froutes.py",
        "%252e%252e%252froutes.py",
        "..%5croutes.py",
        "..\\routes.py",
        "%00",
        "page.css%00.js",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "file:///etc/passwd",
        "page.css",
        "vendor/htmx.min.js",
        "vendor%2fhtmx.min.js",
        "sums.txt",
        ".",
        "",
        "a" * 5000,
        "%ff%fe",
        "page.000000000000.css",
    ],
)
@pytest.mark.parametrize("base", ["/ui/static/", "/ui/"])
def test_no_other_file_is_ever_opened(server: ProxyServer, base: str, name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.putrequest("GET", f"{base}{name}")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    # "/ui/" itself and "/ui/." as some paths become are the first page; all else is nothing.
    assert answer.status in (400, 404) or (base, name) == ("/ui/", ""), (answer.status, body[:200])
    assert b"root:" not in body
    assert b"import" not in body


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def assert_no_markup(html: str) -> None:
    """Neither an image nor a script of MARKUP came to life, and no template was made of it."""
    page = Tags(html)
    assert "onerror" not in page.attributes
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert str(7331 * 7331) not in html


def test_stored_names_are_never_markup(start_proxy: Callable[..., ProxyServer], tmp_path: Path) -> None:
    """Neither model names nor callers can hold such today; whatever else writes into the tables may."""
    server = start_proxy()
    database = Database(sqlalchemy_url(f"sqlite:///{tmp_path / 'proxy.db'}", tmp_path))
    hour = int(time.time() // 3600) * 3600
    record = RequestRecord(
        "0123456789abcdef", time.time(), MARKUP, MARKUP, MARKUP, MARKUP, f"v/{MARKUP}",
        (Step(MARKUP, MARKUP, 1.0), Step(f"v/{MARKUP}", None, 1.0)),
        2, 0.5, 1.0, 1, 1, 1, 200, Outcome.WHOLE, True, MARKUP,
    )  # fmt: skip
    used = [HourlyUsage(hour, MARKUP, MARKUP, requests=1, whole=1)]
    failures = [HourlyFailures(hour, MARKUP, MARKUP, 3)]
    database.run(LedgerTable(database).record([_columns(record)], usage=lambda _: used, failures=failures), write=True)
    now = time.time()
    row = FailureRow(MARKUP, MARKUP, 1, now, now + 600, MARKUP, None)
    with closing(sqlite3.connect(tmp_path / "proxy.db")) as connection, connection:
        connection.execute(
            "INSERT INTO model_failures (model, blame, count, failed_at, until, reason) VALUES (?, ?, 1, ?, ?, ?)",
            (row.model, row.blame, row.failed_at, row.until, row.reason),
        )
        connection.execute("UPDATE revisions SET revision = revision + 1")
        connection.execute("INSERT INTO revisions (name, revision) VALUES ('failures', 99) ON CONFLICT DO NOTHING")
    wait_for(lambda: "onerror" in server.get("/ui/models").text, what="the failure is known")
    for path in ("", "/models", "/requests", "/requests/live", "/requests/0123456789abcdef", "/usage"):
        html = server.get(f"/ui{path}").text
        assert "onerror" in html, f"{path} shows it, as text"
        assert_no_markup(html)
    database.dispose()


def test_what_is_sent_is_never_markup(server: ProxyServer) -> None:
    sent = {"caller": MARKUP, "model": MARKUP, "order": MARKUP, "span": MARKUP, "forgotten": MARKUP}
    for path in ("/models", "/requests", "/usage", f"/requests/{requests.utils.quote(MARKUP, safe='')}", "/nothing"):
        for params in (sent, {"forgotten": MARKUP}, {"caller": MARKUP}, {"before": MARKUP}):
            assert_no_markup(server.get(f"/ui{path}", params=params).text)
    answer = requests.post(
        f"{server.url}/ui/models/forget", data={"model": MARKUP}, headers={"Origin": server.url}, timeout=PATIENCE
    )
    assert answer.status_code == 404
    assert_no_markup(answer.text)
    assert_no_markup(server.get("/ui", headers={"Host": "evil<img src=x onerror=alert(1)>"}).text)


def test_basic_without_an_admins_key(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(proxy_api_keys="s3cret-key", ready=False)
    for auth in (("admin", "admin"), ("s3cret-key", ""), ("", ""), ("", "S3cret-Key"), ("x", "s3cret-key ")):
        answer = server.get("/ui", auth=auth)
        assert answer.status_code == 401, auth
        post = requests.post(
            f"{server.url}/ui/models/forget",
            data={"all": "1"},
            auth=auth,
            headers={"Origin": server.url},
            timeout=PATIENCE,
        )
        assert post.status_code == 401
    signed_in = {"auth": ("x", "s3cret-key"), "timeout": PATIENCE}
    foreign = requests.post(
        f"{server.url}/ui/models/forget", data={"all": "1"}, headers={"Origin": "https://evil.example"}, **signed_in
    )
    assert foreign.status_code == 403, "a browser that is signed in sends the key along"
