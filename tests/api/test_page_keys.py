"""The page Keys over real sockets: keys made, changed, removed by forms; the key shown once; nobody else may."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests

from ollama_proxy.storage.database import Database, sqlalchemy_url
from simulator.process import Simulator
from tests.api.nothing_kept import files, tables
from tests.own_postgres import Postgres, postgres
from tests.servers import PATIENCE, ProxyServer, wait_for

__all__ = ["postgres"]

BOSS = "boss-s3cret-key"
MARKUP = "<script>alert(1)</script>"
NEW_KEY = re.compile(r"opk_[A-Za-z0-9]{33}")

#: All routes of the page that are read, and all that change something, with fields that would.
READ = ("/keys", "/keys/new", "/keys/key?name=plain", "/keys/remove?name=plain", "/keys/events")
WRITE = {
    "/keys/new": {"name": "intruder", "admin": "1"},
    "/keys/key": {"name": "plain", "admin": "1"},
    "/keys/switch": {"name": "plain", "to": "disabled"},
    "/keys/remove": {"name": "plain"},
}

Start = Callable[..., ProxyServer]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def look(server: ProxyServer, path: str, key: str = BOSS, **headers: str) -> requests.Response:
    return server.get(f"/ui{path}", headers=bearer(key) | headers)


def text_of(answer: requests.Response) -> str:
    """The text of a page as people read it."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def send(server: ProxyServer, path: str, fields: Any, key: str = BOSS, **headers: str) -> requests.Response:
    """A form of this server's own page."""
    headers = {"Origin": server.url} | bearer(key) | headers
    url = f"{server.url}/ui{path}"
    return requests.post(url, data=fields, headers=headers, timeout=PATIENCE, allow_redirects=False)


def told(server: ProxyServer) -> dict[str, dict[str, Any]]:
    """All keys as the API tells of them, by name."""
    found: list[dict[str, Any]] = server.get("/api/proxy/keys", headers=bearer(BOSS)).json()["keys"]
    return {one["name"]: one for one in found}


def add(server: ProxyServer, **fields: str) -> str:
    """Make a key by the form, and return it; it counts on all processes then."""
    answer = send(server, "/keys/new", fields)
    assert answer.status_code == 200, answer.text
    [key] = set(NEW_KEY.findall(answer.text))
    wait_for(lambda: all(server.get("/api/tags", headers=bearer(key)).ok for _ in range(16)), what="the key counts")
    return key


@pytest.fixture(scope="module")
def guarded(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """A server of two workers with a key of the settings, which is an admin's, and the plain key "plain"."""
    shared_simulator.reset()
    folder = tmp_path_factory.mktemp("guarded")
    settings = {"proxy_api_keys": f"boss={BOSS}", "web_concurrency": 2, "free_requests_per_minute": 0, "ready": False}
    with ProxyServer(folder, shared_simulator.url, **settings) as server:
        wait_for(lambda: server.get("/api/tags", headers=bearer(BOSS)).ok, what="a catalogue")
        yield server


@pytest.fixture(scope="module")
def plain(guarded: ProxyServer) -> str:
    return add(guarded, name="plain")


def test_a_key_is_made_and_shown_once(guarded: ProxyServer) -> None:
    fields = {
        "name": "anna", "models": "*ember*\r\nnothing-like-it", "free_only": "1", "free_per_day": "10", "rpm": "60",
        "usd_per_day": "0.5", "expires": "2030-01-31", "note": MARKUP,
    }  # fmt: skip
    answer = send(guarded, "/keys/new", fields)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert "Location" not in answer.headers
    [key] = NEW_KEY.findall(answer.text)
    assert "This line matches no model now: nothing-like-it" in text_of(answer)
    made = told(guarded)["anna"]
    assert (made["models"], made["free_only"], made["free_per_day"]) == (["*ember*", "nothing-like-it"], True, 10)
    assert (made["rpm"], made["parallel"], made["usd_per_day"]) == (60, None, 0.5)
    assert (made["expires"], made["admin"], made["note"]) == ("2030-02-01T00:00:00Z", False, MARKUP)
    for path in (*READ, "/keys/key?name=anna", "/keys/remove?name=anna"):
        shown = look(guarded, path)
        assert key not in shown.text + str(shown.headers)
    wait_for(lambda: guarded.get("/api/tags", headers=bearer(key)).ok, what="the key counts")
    again = send(guarded, "/keys/new", fields)
    assert (again.status_code, NEW_KEY.findall(again.text)) == (409, []), "the page is loaded again"
    assert "there is a key called 'anna' already" in text_of(again)


def test_the_list_says_what_each_may_and_has_used(guarded: ProxyServer, simulator: Simulator) -> None:
    key = add(guarded, name="tablet", free_per_day="4", usd_per_month="20", metrics="1", note=MARKUP)
    ask = {"model": "ember-4:free", "messages": [{"role": "user", "content": "hello"}], "stream": False}
    for _ in range(3):
        assert guarded.post("/api/chat", ask, headers=bearer(key)).ok
    row = wait_for(lambda: _with(_row(look(guarded, "/keys"), "tablet"), "3 of 4 free today"), what="it is counted")
    for words in (f"{key[:8]}…", "metrics", "active", "all", "$0 of $20.00 this month", "never", MARKUP):
        assert words in row, words
    assert time.strftime("%Y-%m-%d", time.gmtime()) in row or "23:5" in time.strftime("%H:%M", time.gmtime())
    assert "boss in PROXY_API_KEYS" in text_of(look(guarded, "/keys"))
    page = text_of(look(guarded, "/keys/key?name=TABLET"))
    assert "Today 3 3 " in page
    assert "3 of 4 free today" in page


def _row(answer: requests.Response, name: str) -> str:
    [row] = [row for row in re.findall(r"<tr.*?</tr>", answer.text, re.DOTALL) if f"<b>{name}</b>" in row]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split())


def _with(text: str, words: str) -> str:
    return text if words in text else ""


def test_a_form_that_is_wrong_comes_back_filled(guarded: ProxyServer) -> None:
    for fields, status, words in (
        ({"name": "x", "rpm": "six", "note": MARKUP}, 400, "a whole number, 1 or more, or nothing for no limit"),
        ({"name": "x", "usd_per_day": "-1"}, 400, "dollars, 0 to 1000000"),
        ({"name": "x", "expires": "2020-01-01"}, 400, "this has passed already"),
        ({"name": "a b", "models": "</textarea><b>"}, 400, "a name has 1 to 40 letters"),
        ({"name": "opk_1234"}, 400, "this looks like a key"),
        ({"name": ""}, 400, "a name has 1 to 40 letters"),
        ({"name": "BOSS"}, 409, "a key of PROXY_API_KEYS is called"),
        ({"name": "x", "models": "a\0"}, 400, "a line has at most"),
    ):
        answer = send(guarded, "/keys/new", fields)
        assert answer.status_code == status, fields
        assert words in text_of(answer)
        assert "<b>" not in re.sub(r"<b>[A-Z][a-z ]+:</b>|ollama<b>proxy</b>|<b>boss</b>", "", answer.text)
        for name, value in fields.items():
            filled = f'value="{value}"'.replace("<", "&lt;").replace(">", "&gt;")
            assert name == "models" or filled in answer.text, (name, value)
    assert "x" not in told(guarded)
    assert send(guarded, "/keys/new", "a" * 600_000).status_code == 413
    assert send(guarded, "/keys/new", "x&" * 200).status_code == 400


def test_a_key_is_changed_switched_and_removed(guarded: ProxyServer) -> None:
    key = add(guarded, name="phone", expires="2030-01-31T18:00Z", rpm="5")
    form = {"name": "phone", "rpm": "", "note": "new", "expires": "2030-01-31T18:00:00Z"}
    done = send(guarded, "/keys/key", form)
    assert (done.status_code, done.headers["Location"]) == (303, "/ui/keys/key?name=phone&done=changed")
    assert "It is changed." in text_of(look(guarded, "/keys/key?name=phone&done=changed"))
    changed = told(guarded)["phone"]
    assert (changed["rpm"], changed["note"], changed["expires"]) == (None, "new", "2030-01-31T18:00:00Z")
    nothing = send(guarded, "/keys/key", form)
    assert nothing.status_code == 303, "nothing to change is no mistake"
    wrong = send(guarded, "/keys/key", form | {"parallel": "0"})
    assert (wrong.status_code, "Requests at a time: a whole number" in text_of(wrong)) == (400, True)
    assert send(guarded, "/keys/switch", {"name": "phone"}).status_code == 400
    assert send(guarded, "/keys/switch", {"name": "phone", "to": "disabled"}).status_code == 303
    wait_for(lambda: guarded.get("/api/tags", headers=bearer(key)).status_code == 401, what="it is refused")
    assert "disabled" in _row(look(guarded, "/keys"), "phone")
    assert send(guarded, "/keys/switch", {"name": "phone", "to": "enabled"}).status_code == 303
    asking = text_of(look(guarded, "/keys/remove?name=phone"))
    assert "its requests in the log, and its sums in Usage" in asking
    gone = send(guarded, "/keys/remove", {"name": "phone"})
    assert (gone.status_code, gone.headers["Location"]) == (303, "/ui/keys?done=removed")
    assert "phone" not in told(guarded)
    events = text_of(look(guarded, "/keys/events"))
    actions = ("removed", "enabled", "disabled", "changed", "added")
    at = [events.index(f"phone {action} boss 127.0.0.1") for action in actions]
    assert at == sorted(at), "the newest first, with who and from where"
    for path in ("/keys/key?name=phone", "/keys/remove?name=phone", "/keys/key"):
        assert look(guarded, path).status_code == 404
    assert send(guarded, "/keys/remove", {"name": "phone"}).status_code == 404
    assert look(guarded, "/keys/events?before=x").status_code == 400


def form_on(answer: requests.Response) -> dict[str, str]:
    """The fields of the form on a page as a browser would send them back, but for what stands in a text area."""
    main = answer.text.split('action="/ui/keys/key"')[1]
    found = {}
    for tag in re.findall(r"<input [^>]*>", main):
        attributes = {name: unescape(value) for name, value in re.findall(r'(\S+)="([^"]*)"', tag)}
        if attributes["type"] != "checkbox" or " checked" in tag:
            found[attributes["name"]] = attributes["value"]
    return found


def test_an_old_form_does_not_undo_what_another_admin_did(guarded: ProxyServer) -> None:
    add(guarded, name="shared", admin="1", usd_per_day="10")
    opened = form_on(look(guarded, "/keys/key?name=shared"))
    change = {"admin": False, "usd_per_day": 1}
    patched = requests.patch(f"{guarded.url}/api/proxy/keys/shared", json=change, headers=bearer(BOSS), timeout=5)
    assert patched.ok, patched.text
    done = send(guarded, "/keys/key", opened | {"note": "laptop"})
    assert done.status_code == 303, text_of(done)
    now = told(guarded)["shared"]
    assert (now["admin"], now["usd_per_day"], now["note"]) == (False, 1.0, "laptop")
    refused = send(guarded, "/keys/key", opened | {"usd_per_day": "20"})
    assert refused.status_code == 409
    assert "somebody else has changed this meanwhile: Dollars a day" in text_of(refused)
    assert told(guarded)["shared"]["usd_per_day"] == 1.0
    again = form_on(refused)
    assert (again["usd_per_day"], again.get("admin"), again["note"]) == ("20", None, "laptop")
    assert send(guarded, "/keys/key", again).status_code == 303, "who has read it may do it"
    now = told(guarded)["shared"]
    assert (now["admin"], now["usd_per_day"], now["note"]) == (False, 20.0, "laptop")


@pytest.mark.parametrize("path", WRITE)
def test_only_a_page_of_this_server_changes_keys(guarded: ProxyServer, plain: str, path: str) -> None:
    before = told(guarded)
    other_port = "http://127.0.0.1:1" if not guarded.url.endswith(":1") else "http://127.0.0.1:2"
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": other_port},
        {"Origin": "http://localhost:8080"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": guarded.url, "Sec-Fetch-Site": "cross-site"},
        {},
    ):
        url, fields = f"{guarded.url}/ui{path}", WRITE[path]
        answer = requests.post(url, data=fields, headers=bearer(BOSS) | headers, timeout=PATIENCE)
        assert (answer.status_code, NEW_KEY.findall(answer.text)) == (403, []), headers
    for key, status in ((plain, 403), ("no-such-key", 401)):
        assert send(guarded, path, WRITE[path], key).status_code == status
    without = requests.post(f"{guarded.url}/ui{path}", data=WRITE[path], headers={"Origin": guarded.url}, timeout=5)
    assert without.status_code == 401
    for method in ("PUT", "PATCH", "DELETE"):
        options = {"headers": bearer(BOSS) | {"Origin": guarded.url}, "timeout": PATIENCE}
        assert requests.request(method, f"{guarded.url}/ui{path}", **options).status_code == 405
    assert told(guarded) == before


def test_looking_changes_nothing_and_is_for_admins(guarded: ProxyServer, plain: str) -> None:
    def events() -> Any:
        return guarded.get("/api/proxy/keys/events", headers=bearer(BOSS)).json()["events"]

    before, done = told(guarded), events()
    for path in (*READ, *(f"{path}?name=plain&to=disabled&admin=1&rpm=1" for path in WRITE)):
        answer = look(guarded, path)
        assert answer.status_code in (200, 405), path
        assert not NEW_KEY.search(answer.text)
        assert look(guarded, path, plain).status_code == (403 if answer.ok else 405)
        assert look(guarded, path, "no-such-key").status_code == 401
    assert (told(guarded), events()) == (before, done)


def test_a_server_without_keys_only_explains(start_proxy: Start) -> None:
    server = start_proxy()
    page = server.get("/ui/keys")
    assert (page.status_code, "<form" in page.text) == (200, False)
    assert "ollama-proxy keys add me --admin" in text_of(page)
    for path in READ[1:]:
        assert server.get(f"/ui{path}").status_code == 403
    for path, fields in WRITE.items():
        url = f"{server.url}/ui{path}"
        answer = requests.post(url, data=fields, headers={"Origin": server.url}, timeout=PATIENCE)
        assert (answer.status_code, NEW_KEY.findall(answer.text)) == (403, []), path
    assert server.get("/api/tags").ok, "keys are not required"


def test_the_key_is_in_no_place_but_the_answer(start_proxy: Start, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'kept.db'}"
    server = start_proxy(database_url=url, proxy_api_keys=f"boss={BOSS}", log_level="debug", ready=False)
    key = add(server, name="holder", admin="1")
    for path in ("/keys", "/keys/key?name=holder", "/keys/events", ""):
        shown = look(server, path, key)
        assert shown.status_code == 200
        assert key not in shown.text + str(shown.headers)
    send(server, "/keys/new", {"name": "other", "note": "x"}, key)
    metrics = server.get("/metrics", headers=bearer(key)).text
    assert server.terminate() == 0
    database = Database(sqlalchemy_url(url, tmp_path))
    written = b"".join(files(tmp_path).values()) + repr(tables(database)).encode()
    database.dispose()
    assert b"holder" in written
    assert key.encode() not in written + metrics.encode() + server.log().encode()


def test_with_the_database_away_forms_come_back(start_proxy: Start, postgres: Postgres) -> None:
    server = start_proxy(database_url=postgres.url, proxy_api_keys=f"boss={BOSS}", ready=False)
    add(server, name="holder")
    persona = {"name": "mario", "base": "free", "system": "You are Mario."}
    wait_for(lambda: send(server, "/personas/new", persona).status_code in (303, 400), what="a catalogue")
    postgres.kill()
    for path in READ:
        assert look(server, path).status_code == (200 if path == "/keys/new" else 503), path
    made = send(server, "/keys/new", {"name": "other", "note": "a note"})
    assert (made.status_code, NEW_KEY.findall(made.text)) == (503, [])
    assert 'value="a note"' in made.text
    assert "the database does not answer now" in text_of(made)
    for path, fields in WRITE.items():
        assert send(server, path, fields | {"name": "holder"}).status_code == 503, path
    known = look(server, "/personas/persona?name=mario")
    assert "You are Mario." in text_of(known), "what is known is shown"
    for path, fields in (
        ("/personas/new", persona | {"name": "luigi"}),
        ("/personas/edit", persona | {"system": "You are Luigi."}),
        ("/personas/modelfile", {"name": "x", "modelfile": "FROM free\nSYSTEM You are Luigi."}),
        ("/personas/copy", {"source": "mario", "destination": "luigi"}),
    ):
        refused = send(server, path, fields)
        assert (refused.status_code, "the database does not answer now" in text_of(refused)) == (503, True), path
        assert all(value in refused.text for value in fields.values()), path
    assert send(server, "/personas/delete", {"name": "mario"}).status_code == 503
