"""Personas among processes: who knows what when, who may change them, and what GUIs send."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer, wait_for

#: Seconds within which every process knows of a change; twice the promise, because the machine is busy.
SOON = 2.0
BASE = "ember-4:free"


def create(server: ProxyServer, name: str, **fields: Any) -> requests.Response:
    return server.post("/api/create", {"model": name, "from": BASE, **fields})


def delete(server: ProxyServer, name: str) -> requests.Response:
    return requests.delete(f"{server.url}/api/delete", json={"name": name}, timeout=PATIENCE)


def systems(server: ProxyServer, name: str, asks: int = 12) -> set[str]:
    """What several connections, which fall to different workers, are shown of a persona; "" where it is unknown."""

    def ask(_: int) -> str:
        answer = server.post("/api/show", {"model": name})
        return str(answer.json()["system"]) if answer.ok and "SYSTEM" in answer.json()["modelfile"] else ""

    with ThreadPoolExecutor(asks) as threads:
        return set(threads.map(ask, range(asks)))


def test_what_one_worker_makes_the_other_knows(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(web_concurrency=2, strict_models="true")
    assert create(server, "mario", system="one").ok
    wait_for(lambda: systems(server, "mario") == {"one"}, what="both know it", seconds=SOON)
    assert create(server, "luigi", **{"from": "mario"}).ok, "who writes knows all that was written, at once"
    assert create(server, "mario", system="two").ok
    wait_for(lambda: systems(server, "mario") == {"two"}, what="both know the change", seconds=SOON)
    assert delete(server, "mario").ok
    wait_for(lambda: systems(server, "mario") == {""}, what="both know that it is gone", seconds=SOON)


def test_a_worker_that_does_not_know_it_yet_never_answers_without_its_system_prompt(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    server = start_proxy(web_concurrency=2)

    def ask(name: str) -> None:
        with ThreadPoolExecutor(8) as threads:  # connections of their own, which fall to both workers
            assert all(threads.map(lambda _: server.chat(name, f"who is {name}?").ok, range(8)))

    ask("nobody")  # an unknown name stays the free models'
    for name in ("mario", "luigi", "peach"):
        assert create(server, name, system=f"You are {name}.").ok
        ask(name)
        asked = [call["body"]["messages"] for call in simulator.log() if f"who is {name}?" in str(call["body"])]
        assert len(asked) >= 8
        assert all(messages[0] == {"role": "system", "content": f"You are {name}."} for messages in asked)


def test_fifty_writes_and_deletes_at_once_leave_one_whole_state(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(web_concurrency=2, strict_models="true")

    def act(number: int) -> int:
        if number % 2:
            return delete(server, "mario").status_code
        text = str(number)
        return create(server, "mario", system=text, license=text, parameters={"seed": number}).status_code

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(act, range(50))) <= {200, 404}
    assert create(server, "other").ok
    wait_for(lambda: len(systems(server, "mario")) == 1, what="both see one state", seconds=SOON)
    shown = server.post("/api/show", {"model": "mario"})
    if shown.status_code == 200:
        found = shown.json()
        assert found["system"] == found["license"]
        assert f"seed                           {found['system']}" in found["parameters"]


PAGES = {
    "no page": ({}, 200),
    "a page of this server": ({"Origin": "OWN"}, 200),
    "an extension that writes the server's own origin": ({"Origin": "OWN"}, 200),
    "a page that is named": ({"Origin": "https://chat.example"}, 200),
    "another page of this machine": ({"Origin": "http://localhost:3000"}, 403),
    "a page that a pattern allows": ({"Origin": "chrome-extension://abc"}, 403),
    "a foreign page": ({"Origin": "https://evil.example"}, 403),
}


@pytest.fixture(scope="module")
def paged(shared_simulator: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    origins = "https://chat.example,chrome-extension://*"
    with ProxyServer(tmp_path_factory.mktemp("pages"), shared_simulator.url, ollama_origins=origins) as server:
        yield server


@pytest.mark.parametrize("case", PAGES.values(), ids=PAGES)
def test_which_pages_may_change_personas(paged: ProxyServer, case: tuple[dict[str, str], int]) -> None:
    headers, status = {name: paged.url if text == "OWN" else text for name, text in case[0].items()}, case[1]
    for method, path, body in (
        ("POST", "/api/create", {"model": "mario", "from": BASE, "stream": False}),
        ("POST", "/api/copy", {"source": BASE, "destination": "mario"}),
        ("DELETE", "/api/delete", {"name": "mario"}),
    ):
        answer = requests.request(method, paged.url + path, json=body, headers=headers, timeout=PATIENCE)
        assert answer.status_code == status, path
    assert requests.get(f"{paged.url}/api/tags", headers=headers, timeout=PATIENCE).ok is ("evil" not in str(headers))


GUIS = {
    "Open WebUI": (
        {"model": "mario", "from": BASE, "system": "You are Mario.", "parameters": {"num_ctx": 8192}, "stream": True},
        {"source": "mario", "destination": "luigi"},
        {"model": "luigi", "name": "luigi"},
    ),
    "Enchanted, Page Assist": (
        {"name": "mario", "from": BASE},
        {"source": "mario", "destination": "luigi"},
        {"name": "luigi"},
    ),
}


@pytest.mark.parametrize("bodies", GUIS.values(), ids=GUIS)
def test_what_guis_send(paged: ProxyServer, bodies: tuple[Any, Any, Any]) -> None:
    made, copied, removed = bodies
    assert paged.post("/api/create", made).text.endswith('{"status":"success"}\n')
    assert paged.post("/api/copy", copied).status_code == 200
    assert requests.delete(f"{paged.url}/api/delete", json=removed, timeout=PATIENCE).status_code == 200
    assert delete(paged, "mario").status_code == 200


def test_a_key_of_the_settings_may_change_personas_and_nobody_without_one(
    start_proxy: Callable[..., ProxyServer],
) -> None:
    server = start_proxy(proxy_api_keys="sesame", ready=False)
    assert create(server, "mario").status_code == 401
    headers = {"Authorization": "Bearer sesame"}
    wait_for(lambda: requests.get(f"{server.url}/api/tags", headers=headers, timeout=PATIENCE).ok, what="a catalogue")
    answer = server.post("/api/create", {"model": "mario", "from": BASE}, headers=headers)
    assert answer.ok


def test_while_the_database_cannot_be_written_what_is_known_is_used(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(strict_models="true")
    assert create(server, "mario", system="You are Mario.").ok
    with closing(sqlite3.connect(server.directory / "proxy.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        copy = server.post("/api/copy", {"source": "mario", "destination": "luigi"})
        for answer in (create(server, "luigi"), copy, delete(server, "mario")):
            assert answer.status_code == 503
            assert answer.json() == {"error": "the database does not answer now: try again"}
            assert answer.headers["Retry-After"] == "5"
        assert server.chat("mario").ok
    assert delete(server, "luigi").status_code == 404, "nothing was written half"
    assert systems(server, "mario", asks=1) == {"You are Mario."}
