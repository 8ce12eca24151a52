"""Clients' keys as their holders and admins meet them (docs/contract.md, "Keys")."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests

from ollama_proxy import create_app
from ollama_proxy.config import Settings
from ollama_proxy.storage.database import Database, sqlalchemy_url
from simulator.process import Simulator
from tests.api.nothing_kept import files, tables
from tests.servers import PATIENCE, ROOT, ProxyServer, wait_for

Start = Callable[..., ProxyServer]
OPERATOR = "operators-own-key"


def keys(directory: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`ollama-proxy keys ...` on the database of the servers in `directory`."""
    url = f"sqlite:///{directory / 'proxy.db'}"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "ollama_proxy", "keys", *arguments],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def made(server: ProxyServer, name: str, **wishes: Any) -> str:
    """A new key, made by the operator, that counts by now."""
    answer = server.post("/api/proxy/keys", {"name": name, **wishes}, headers=bearer(OPERATOR))
    assert answer.status_code == 201, answer.text
    key = str(answer.json()["key"])
    counts(server, key)
    return key


def counts(server: ProxyServer, key: str, status: int = 200) -> None:
    """Wait until all workers answer a key with that status: they follow within a second."""

    def answered() -> bool:
        return all(server.get("/api/version", headers=bearer(key)).status_code == status for _ in range(8))

    wait_for(answered, what=f"the key is answered with {status}", seconds=10)


@pytest.fixture(scope="module")
def guarded(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """A server with a key of the settings, in free mode."""
    options: dict[str, Any] = {"proxy_api_keys": OPERATOR, "free_requests_per_minute": 0, "key_in_path": "true"}
    with ProxyServer(tmp_path_factory.mktemp("keys"), shared_simulator.url, ready=False, **options) as server:
        wait_for(lambda: server.get("/api/tags", headers=bearer(OPERATOR)).ok, what="a catalogue")
        yield server


def chat(server: ProxyServer, key: str, model: str = "free") -> requests.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": False}
    return server.post("/api/chat", body, headers=bearer(key))


def sent_of(simulator: Simulator) -> list[dict[str, Any]]:
    """The bodies that went up to a model."""
    return [entry["body"] for entry in simulator.log(method="POST")]


# Required or not


def test_the_first_key_closes_the_server_and_the_last_one_does_not_open_it(start_proxy: Start, tmp_path: Path) -> None:
    server = start_proxy(web_concurrency=2)
    assert server.get("/api/tags").ok
    done = keys(tmp_path, "add", "anna")
    key = done.stdout.removesuffix("\n")
    assert key.startswith("opk_")
    assert "\n" not in key
    assert key not in done.stderr
    counts(server, "", 401)
    counts(server, key)
    assert server.get("/api/tags", headers=bearer(key)).ok
    keys(tmp_path, "disable", "anna")
    counts(server, key, 401)
    keys(tmp_path, "enable", "anna")
    counts(server, key)
    keys(tmp_path, "remove", "ANNA")
    counts(server, key, 401)
    assert server.get("/api/tags").status_code == 401, "the last key is gone"
    server.stop()
    again = start_proxy(ready=False)
    wait_for(lambda: again.get("/api/tags").status_code == 401, what="it is closed after a restart, too")
    assert "a key, and there is none" in again.log()
    keys(tmp_path, "off")
    wait_for(lambda: again.get("/api/tags").ok, what="off opens it")


def test_nobody_is_served_by_a_start_without_the_database(start_proxy: Start, tmp_path: Path) -> None:
    away = tmp_path / "away.db"
    away.mkdir()  # something is there, and it cannot be read
    server = start_proxy(database_url=f"sqlite:///{away}", ready=False)
    for path in ("/api/tags", "/v1/models", "/metrics", "/api/proxy/status"):
        answer = server.get(path, headers=bearer("whatever"))
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), path
        assert "who may call" in answer.text
    assert server.get("/").ok
    assert server.get("/health").ok
    away.rmdir()
    wait_for(lambda: server.get("/api/tags").ok, what="the database is there, and has no keys")


def test_a_database_that_cannot_be_made_has_no_keys_until_it_is_there(start_proxy: Start, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.write_text("no folder for a database")
    server = start_proxy(database_url=f"sqlite:///{folder}/proxy.db")
    assert server.chat().ok
    assert "serves programs on this machine, without a key" in server.log()
    folder.unlink()
    folder.mkdir()
    keys(folder, "add", "anna")
    wait_for(lambda: server.get("/api/tags").status_code == 401, what="its keys count", seconds=10)


def test_a_key_cannot_be_made_by_somebody_without_one(proxy: ProxyServer) -> None:
    answer = proxy.post("/api/proxy/keys", {"name": "mine", "admin": True})
    assert answer.status_code == 403
    assert proxy.get("/api/proxy/keys").status_code == 403
    assert proxy.get("/api/proxy/me").json() == {"name": "127.0.0.1", "key": False}
    assert proxy.get("/api/tags").ok


# Scope

ROUTES_THAT_ANSWER = [
    ("/api/chat", {"messages": [{"role": "user", "content": "hello"}], "stream": False}),
    ("/api/chat", {"messages": [{"role": "user", "content": "hello"}]}),
    ("/api/generate", {"prompt": "hello", "stream": False}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
    ("/v1/completions", {"prompt": "hello"}),
    ("/v1/responses", {"input": "hello"}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}),
]


@pytest.mark.parametrize(("path", "body"), ROUTES_THAT_ANSWER, ids=[path for path, _ in ROUTES_THAT_ANSWER])
def test_free_and_unknown_names_mean_the_best_in_scope_and_fallback_stays_there(
    guarded: ProxyServer, simulator: Simulator, path: str, body: dict[str, Any], scoped: str
) -> None:
    for model in ("free", "free:smart", "gpt-4o", "ember-4:free"):
        answer = guarded.post(path, {**body, "model": model}, headers=bearer(scoped))
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-OpenRouter-Model"] == "tidal/ember-4:free"
        assert answer.headers["X-Proxy-Chain"] == "tidal/ember-4:free"
    assert {sent["model"] for sent in sent_of(simulator)} == {"tidal/ember-4:free"}


@pytest.fixture(scope="module")
def scoped(guarded: ProxyServer) -> str:
    """A key for one chat model and one that embeds."""
    return made(guarded, "scoped", models=["ember-4:free", "*embed*"])


def test_failures_in_scope_name_no_model_out_of_it(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy(proxy_api_keys=OPERATOR, ready=False)
    wait_for(lambda: server.get("/api/tags", headers=bearer(OPERATOR)).ok, what="a catalogue")
    names = [entry["name"] for entry in server.get("/api/tags", headers=bearer(OPERATOR)).json()["models"]]
    key = made(server, "scoped", models=["ember-4:free"])
    simulator.scenario("tidal/ember-4:free", error_name="pool_429")
    said = ""
    for path, body in ROUTES_THAT_ANSWER * 2:
        answer = server.post(path, {**body, "model": "free"}, headers=bearer(key))
        said += f"{answer.text} {dict(answer.headers)}"
    others = [name for name in names if not name.startswith(("free", "ember"))]
    assert len(others) > 3
    assert [name for name in others if name.partition(":")[0] in said] == []
    assert "cooling down" in said
    assert {sent["model"] for sent in sent_of(simulator)} == {"tidal/ember-4:free"}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/api/chat", {"messages": [{"role": "user", "content": "hi"}]}, "model 'cirrus-ultra:free' not found"),
        ("/api/generate", {"prompt": "hi"}, "model 'cirrus-ultra:free' not found"),
        ("/api/show", {}, "model 'cirrus-ultra:free' not found"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, "model 'cirrus-ultra:free'"),
        ("/v1/completions", {"prompt": "hi"}, "model 'cirrus-ultra:free' not found"),
        ("/v1/responses", {"input": "hi"}, "model 'cirrus-ultra:free' not found"),
        ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}, "model 'cirrus-ultra"),
        ("/api/embed", {"input": "hi"}, "not found"),
        ("/v1/embeddings", {"input": "hi"}, "not found"),
    ],
)
def test_a_model_out_of_scope_is_not_there(
    guarded: ProxyServer, simulator: Simulator, scoped: str, path: str, body: dict[str, Any], said: str
) -> None:
    answer = guarded.post(path, {"model": "cirrus-ultra:free", **body}, headers=bearer(scoped))
    assert answer.status_code == 404
    assert said in answer.text
    assert sent_of(simulator) == []


def test_what_others_called_a_model_is_not_shown(guarded: ProxyServer, scoped: str) -> None:
    """Unknown names mean a stand-in: they may be words that are nobody else's. A client looks its own ones up."""
    words = {
        "ember-4:free": OPERATOR,
        "their-own-word": OPERATOR,
        "my-own-word": scoped,
        "tidal/ember-4:free": OPERATOR,
    }
    for word, key in words.items():
        assert chat(guarded, key, word).ok

    def shown(key: str) -> set[str]:
        names = [one["name"] for one in guarded.get("/api/ps", headers=bearer(key)).json()["models"]]
        return {name.removesuffix(":latest") for name in names}

    assert shown(OPERATOR) >= {*words}
    assert "their-own-word" not in shown(scoped)
    assert shown(scoped) >= {"ember-4:free", "my-own-word", "tidal/ember-4:free"}


def test_lists_have_what_is_in_scope(guarded: ProxyServer, scoped: str) -> None:
    assert chat(guarded, OPERATOR, "cirrus-ultra:free").ok
    assert chat(guarded, scoped, "ember-4:free").ok
    tags = [one["name"] for one in guarded.get("/api/tags", headers=bearer(scoped)).json()["models"]]
    models = [one["id"] for one in guarded.get("/v1/models", headers=bearer(scoped)).json()["data"]]
    assert tags == models
    assert next(name for name in tags if not name.startswith("free")) == "ember-4:free"
    assert "cirrus" not in str(tags)
    loaded = guarded.get("/api/ps", headers=bearer(scoped)).text
    assert "ember-4" in loaded
    assert "cirrus" not in loaded
    assert "cirrus" in guarded.get("/api/ps", headers=bearer(OPERATOR)).text
    listed = guarded.get("/api/proxy/models", headers=bearer(scoped)).text
    assert "ember-4" in listed
    assert "cirrus" not in listed
    assert guarded.get("/v1/models/cirrus-ultra:free", headers=bearer(scoped)).status_code == 404
    assert "cirrus" not in guarded.get("/api/experimental/model-recommendations", headers=bearer(scoped)).text


def test_personas_are_in_the_scope_in_which_their_bases_are(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy(proxy_api_keys=OPERATOR, ready=False)
    wait_for(lambda: server.get("/api/tags", headers=bearer(OPERATOR)).ok, what="a catalogue")
    for name, base in (("mine", "ember-4:free"), ("theirs", "cirrus-ultra:free")):
        body = {"model": name, "from": base, "system": f"You are {name}.", "stream": False}
        assert server.post("/api/create", body, headers=bearer(OPERATOR)).ok
    key = made(server, "scoped", models=["ember-4:free"])
    for path, body in PERSONA_ROUTES:
        answer = server.post(path, {**body, "model": "mine"}, headers=bearer(key))
        assert answer.status_code == 200, path
        refused = server.post(path, {**body, "model": "theirs"}, headers=bearer(key))
        assert (refused.status_code, "cirrus" in refused.text) == (404, False), path
    assert {sent["model"] for sent in sent_of(simulator)} == {"tidal/ember-4:free"}
    assert chat(server, OPERATOR, "theirs").ok, "so that it is in use"
    for path in ("/api/tags", "/v1/models", "/api/ps", "/api/proxy/personas", "/api/proxy/status", "/api/proxy/models"):
        told = server.get(path, headers=bearer(key))
        assert told.ok, path
        assert ("theirs" in told.text, "cirrus" in told.text) == (False, False), path
        assert "mine" in told.text or path == "/api/proxy/models", path
    [persona] = server.get("/api/proxy/personas", headers=bearer(key)).json()["personas"]
    assert (persona["name"], persona["means"]) == ("mine:latest", "tidal/ember-4:free")
    assert "system" not in persona
    assert server.get("/v1/models/theirs", headers=bearer(key)).status_code == 404
    changes = [("POST", "/api/create", {"model": "new", "from": "mine"}), ("DELETE", "/api/delete", {"model": "mine"})]
    changes.append(("POST", "/api/copy", {"source": "mine", "destination": "new"}))
    for method, path, body in changes:
        answer = requests.request(method, server.url + path, json=body, headers=bearer(key), timeout=PATIENCE)
        assert answer.status_code == 403, path
    assert server.get("/api/proxy/personas/mine", headers=bearer(key)).status_code == 403
    assert len(server.get("/api/proxy/personas", headers=bearer(OPERATOR)).json()["personas"]) == 2


#: Every route that takes the name of a model that chats.
PERSONA_ROUTES = [*ROUTES_THAT_ANSWER[:1], *ROUTES_THAT_ANSWER[2:], ("/api/show", {})]


def test_ps_shows_a_key_no_word_of_others_that_means_nothing_in_its_scope(guarded: ProxyServer, scoped: str) -> None:
    # Both are answered by what is in the scope: only the words are others'.
    for word in ("openai/gpt-5.1", "EMBER-4:free", "tidal/ember-4:free"):
        assert chat(guarded, OPERATOR, word).ok

    def loaded(key: str) -> set[str]:
        return {one["name"] for one in guarded.get("/api/ps", headers=bearer(key)).json()["models"]}

    assert {"openai/gpt-5.1:latest", "tidal/ember-4:free"} <= loaded(OPERATOR)
    assert {"free:latest", "tidal/ember-4:free"} <= loaded(scoped)
    assert "openai/gpt-5.1:latest" not in loaded(scoped)


def test_a_key_for_free_models_pays_nothing_on_a_server_that_pays(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy(free_mode="false", proxy_api_keys=OPERATOR, ready=False)
    wait_for(lambda: server.get("/api/tags", headers=bearer(OPERATOR)).ok, what="a catalogue")
    key = made(server, "kid", free_only=True)
    listed = [one["id"] for one in server.get("/v1/models", headers=bearer(key)).json()["data"]]
    everything = [one["id"] for one in server.get("/v1/models", headers=bearer(OPERATOR)).json()["data"]]
    paid = next(name for name in everything if name not in listed)
    body = {"messages": [{"role": "user", "content": "hi"}], "plugins": [{"id": "web"}]}
    refused = server.post("/v1/chat/completions", {"model": paid, **body}, headers=bearer(key))
    assert refused.status_code == 404
    assert sent_of(simulator) == []
    answer = server.post("/v1/chat/completions", {"model": "free", **body}, headers=bearer(key))
    assert answer.ok
    [sent] = sent_of(simulator)
    assert "plugins" not in sent
    assert set(sent["provider"]["max_price"].values()) == {"0"}
    assert sent["model"].endswith(":free")


# Rights

#: What a key that is no admin's gets from each route of the application: method, rule, and status.
OPEN_TO_ALL_KEYS = {
    ("GET", "/api/proxy/me"),
    ("GET", "/api/proxy/status"),
    ("GET", "/api/proxy/models"),
    ("GET", "/api/proxy/personas"),
    ("GET", "/api/proxy/log"),
    ("GET", "/api/proxy/log/<request_id>"),
}


def rules() -> list[tuple[str, str]]:
    app = create_app(Settings(openrouter_api_key="sk-or-any", database_url="sqlite:////tmp/none.db"))
    found = [(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or ()]
    return sorted(found)


@pytest.mark.parametrize(("method", "rule"), rules())
def test_every_route_with_a_key_that_is_no_admin_s(guarded: ProxyServer, plain: str, method: str, rule: str) -> None:
    path = re.sub("<[^>]+>", "x", rule)
    answer = requests.request(
        method, f"{guarded.url}{path}", headers=bearer(plain), timeout=PATIENCE, json={} if method != "GET" else None
    )
    changes = method == "DELETE" or rule in ("/api/create", "/api/copy")
    is_admin_s = changes or rule == "/metrics" or rule.startswith(("/api/proxy", "/ui"))
    if is_admin_s and (method, rule) not in OPEN_TO_ALL_KEYS:
        assert answer.status_code == 403, (method, path, answer.text)
    else:
        assert answer.status_code not in (401, 403) or "sign" in answer.text or "cloud" in answer.text


@pytest.fixture(scope="module")
def plain(guarded: ProxyServer) -> str:
    return made(guarded, "plain")


def test_a_key_sees_its_own_rows_only(guarded: ProxyServer, plain: str) -> None:
    other = made(guarded, "other")
    ids = {key: chat(guarded, key).headers["X-Request-Id"] for key in (plain, other)}

    def logged(key: str) -> Any:
        return guarded.get("/api/proxy/log", headers=bearer(key)).json()["requests"]

    wait_for(lambda: logged(plain) and logged(other), what="both are written")
    assert {one["caller"] for one in logged(plain)} == {"plain"}
    assert {"plain", "other"} <= {one["caller"] for one in logged(OPERATOR)}
    assert guarded.get("/api/proxy/log?caller=other", headers=bearer(plain)).status_code == 403
    assert guarded.get(f"/api/proxy/log/{ids[plain]}", headers=bearer(plain)).ok
    assert guarded.get(f"/api/proxy/log/{ids[other]}", headers=bearer(plain)).status_code == 404
    report = guarded.get("/api/proxy/status", headers=bearer(plain)).json()
    names = {"personas", "aliases"}
    names |= {"server", "limits", "catalog", "models", "orders", "in_flight", "requests", "usage"}
    assert report.keys() == names
    assert {one["caller"] for one in report["usage"]["callers"]} == {"plain"}
    assert report["usage"]["requests"] == len(logged(plain))
    assert guarded.get("/api/proxy/status?parts=quota", headers=bearer(plain)).status_code == 403
    mine = guarded.get("/api/proxy/me", headers=bearer(plain)).json()
    assert mine["name"] == "plain"
    served = [one for one in logged(plain) if one["status"] == 200]
    assert mine["used"]["day"]["requests"] == len(served) > 0, "what is refused before it is asked for uses nothing"
    # What is its own goes with it.
    assert guarded.get("/api/proxy/keys/other", headers=bearer(OPERATOR)).ok
    gone = requests.delete(f"{guarded.url}/api/proxy/keys/other", headers=bearer(OPERATOR), timeout=PATIENCE)
    assert gone.json() == {"removed": "other", "requests": 1}
    assert guarded.get("/api/proxy/log?caller=other", headers=bearer(OPERATOR)).json()["requests"] == []
    counts(guarded, other, 401)


def test_a_holder_sees_what_is_used_and_left(guarded: ProxyServer) -> None:
    key = made(guarded, "limited", rpm=100, parallel=3, free_per_day=10, usd_per_day=1.5)
    assert chat(guarded, key).ok
    mine = guarded.get("/api/proxy/me", headers=bearer(key)).json()
    wait_for(
        lambda: (
            {
                name: state["left"]
                for name, state in guarded.get("/api/proxy/me", headers=bearer(key)).json()["left"].items()
            }
            == {"rpm": 99, "parallel": 3, "free_per_day": 9, "usd_per_day": 1.5}
        ),
        what="the request is settled",
    )
    assert (mine["rpm"], mine["usd_per_month"]) == (100, None)
    used = guarded.get("/api/proxy/me", headers=bearer(key)).json()["used"]
    assert (used["day"]["requests"], used["month"]["free_attempts"]) == (1, 1)
    assert used["day"]["resets_at"].endswith("T00:00:00Z")


def test_an_admin_key_and_one_for_the_metrics(guarded: ProxyServer) -> None:
    admin, scraper = made(guarded, "boss", admin=True), made(guarded, "prometheus", metrics=True)
    assert guarded.get("/metrics", headers=bearer(scraper)).ok
    assert guarded.get("/api/proxy/keys", headers=bearer(scraper)).status_code == 403
    assert guarded.get("/metrics", headers=bearer(admin)).ok
    assert made(guarded, "by-boss") != admin
    assert 'caller="prometheus"' in guarded.get("/metrics", headers=bearer(admin)).text
    changed = requests.patch(
        f"{guarded.url}/api/proxy/keys/by-boss", json={"rpm": 3}, headers=bearer(admin), timeout=PATIENCE
    )
    assert changed.json()["rpm"] == 3
    events = guarded.get("/api/proxy/keys/events?limit=1", headers=bearer(admin)).json()["events"]
    assert [(one["by"], one["from"], one["action"], one["key"], one["detail"]) for one in events] == [
        ("boss", "127.0.0.1", "changed", "by-boss", "rpm: 3")
    ]
    foreign = guarded.post("/api/proxy/keys", {"name": "x"}, headers={**bearer(admin), "Origin": "http://localhost:9"})
    assert foreign.status_code == 403


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"rpm": 1}', b'{"name": 5}', b'{"name": "a", "rpm": "many"}'])
def test_a_wish_that_cannot_be_read_is_refused_in_words(guarded: ProxyServer, body: bytes) -> None:
    answer = requests.post(f"{guarded.url}/api/proxy/keys", data=body, headers=bearer(OPERATOR), timeout=PATIENCE)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_body_about_a_key_is_refused_before_it_is_read(guarded: ProxyServer) -> None:
    connection = HTTPConnection("127.0.0.1", guarded.port, timeout=PATIENCE)
    with closing(connection):
        connection.putrequest("POST", "/api/proxy/keys")
        connection.putheader("Authorization", f"Bearer {OPERATOR}")
        connection.putheader("Content-Length", "65537")
        connection.endheaders()
        assert connection.getresponse().status == 413, "nothing of the body was sent"


# A key in the path


def test_a_key_in_the_path_is_a_key_and_no_admin_s(guarded: ProxyServer, plain: str) -> None:
    body = {"model": "free", "messages": [{"role": "user", "content": "hello"}], "stream": False}
    for front in (f"/k/{plain}", f"//k//{plain}", f"/%6b/{plain}"):
        assert guarded.post(f"{front}/api/chat", body, headers=bearer("ollama")).ok, front
        assert guarded.get(f"{front}/v1/models").ok
    assert guarded.get(f"/k/{plain}/api/proxy/me").json()["name"] == "plain"
    for path in ("/metrics", "/ui", "/ui/keys", "/api/proxy/keys", "/api/proxy/doctor"):
        assert guarded.get(f"/k/{OPERATOR}{path}").status_code == 403, path
    for wrong in ("wrong", f"{plain}x", "opk_pathmark", "%2e", ""):  # the last one is of the key "api"
        answer = guarded.get(f"/k/{wrong}/api/tags", headers=bearer(OPERATOR))
        assert answer.status_code == 401, wrong
    assert guarded.get(f"/k/{plain}/k/{plain}/api/tags").status_code == 404
    assert guarded.get(f"/k/{plain}/no-such", headers=bearer(plain)).status_code == 404
    assert plain not in guarded.log()
    assert OPERATOR not in guarded.log()


def test_keys_are_nowhere_but_with_their_holders(guarded: ProxyServer, plain: str) -> None:
    """In no table, file, log line or page, whatever was asked with them."""
    boss = made(guarded, "keeper", admin=True)
    shown = ""
    reports = ("status", "log?limit=500", "keys", "keys/events", "me", "doctor", "models")
    for path in ("/metrics", "/api/ps", "/api/tags", *(f"/api/proxy/{name}" for name in reports)):
        answer = guarded.get(path, headers=bearer(boss))
        assert answer.ok
        shown += f"{dict(answer.headers)} {answer.text}"
    for name in (plain, boss):
        for answer in (chat(guarded, plain, name), guarded.get(f"/v1/models/{name}", headers=bearer(plain))):
            shown += str(dict(answer.headers))
    database = Database(sqlalchemy_url(f"sqlite:///{guarded.directory / 'proxy.db'}", guarded.directory))
    held = {**tables(database), **files(guarded.directory), "pages": shown}
    database.dispose()
    for key in (plain, boss):
        places = [where for where, text in held.items() if (key.encode() if isinstance(text, bytes) else key) in text]  # type: ignore[operator]
        assert places == []


def test_where_it_is_off_a_key_in_the_path_is_a_404_and_in_no_log(start_proxy: Start, tmp_path: Path) -> None:
    server = start_proxy(log_level="debug")
    for path in ("/k/a-plain-word-as-key/api/tags", "//k//a-plain-word-as-key/x?y", "/%6B/a-plain-word-as-key"):
        assert server.get(path).status_code == 404
    wait_for(lambda: server.log().count('/***"') == 3, what="what may be a key in a path is masked")
    assert "a-plain-word" not in server.log()


# The command


def test_the_command_makes_changes_and_lists_keys(tmp_path: Path) -> None:
    made_one = keys(
        tmp_path, "add", "anna", "--models", "a*,!b", "--free-only", "--rpm", "5", "--parallel", "2",
        "--free-day", "50", "--usd-day", "0.5", "--usd-month", "10", "--expires", "2099-12-31", "--metrics",
        "--note", "the phone",
    )  # fmt: skip
    assert len(made_one.stdout.splitlines()) == 1
    listed = keys(tmp_path, "list").stdout
    assert "anna" in listed
    assert "5/min, 2 at once, 50 free/day, $0.50/day, $10.00/month" in listed
    keys(tmp_path, "change", "anna", "--usd-day", "none", "--all-models", "--models", "none")
    shown = keys(tmp_path, "show", "anna", "--json").stdout
    assert '"usd_per_day": null' in shown
    assert '"models": []' in shown
    assert '"free_only": false' in shown
    assert '"rpm": 5' in shown
    assert "already" in keys(tmp_path, "add", "ANNA", code=1).stderr
    assert "no key of that name" in keys(tmp_path, "show", "nobody", code=1).stderr
    assert "number" in keys(tmp_path, "change", "anna", "--rpm", "many", code=2).stderr
    assert '"month"' in keys(tmp_path, "usage", "anna", "--json").stdout
    events = keys(tmp_path, "events").stdout
    assert "command line" in events
    assert events.index("changed") < events.index("added")
    everything = made_one.stderr + listed + shown + events
    assert made_one.stdout.strip() not in everything
