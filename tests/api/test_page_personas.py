"""The page Personas over real sockets: made by form and Modelfile, edited, copied, deleted; and who may not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest
import requests

from ollama_proxy.catalog.persona import Persona
from simulator.process import Simulator
from tests.personas import library_of
from tests.servers import PATIENCE, ProxyServer, wait_for

MARKUP = '</textarea></pre><script>alert("x")</script>'
EMBER = "tidal/ember-4:free"

READ = (
    "/personas",
    "/personas/persona?name=fixed",
    "/personas/new",
    "/personas/edit?name=fixed",
    "/personas/modelfile?name=fixed",
    "/personas/copy?source=fixed",
    "/personas/delete?name=fixed",
    "/personas/download?name=fixed",
)
WRITE = {
    "/personas/new": {"name": "intruder", "base": "free", "system": "x"},
    "/personas/edit": {"name": "fixed", "base": "free", "system": "intruder"},
    "/personas/modelfile": {"name": "intruder", "modelfile": "FROM free\nSYSTEM x"},
    "/personas/copy": {"source": "free", "destination": "intruder"},
    "/personas/delete": {"name": "fixed"},
}

Start = Callable[..., ProxyServer]


def look(server: ProxyServer, path: str) -> requests.Response:
    answer = server.get(f"/ui{path}")
    assert answer.status_code == 200, answer.text
    return answer


def text_of(answer: requests.Response) -> str:
    """The text of a page as people read it."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def send(server: ProxyServer, path: str, fields: Any, *, files: Any = None, **headers: str) -> requests.Response:
    """A form of this server's own page."""
    url, headers = f"{server.url}/ui{path}", {"Origin": server.url} | headers
    return requests.post(url, data=fields, files=files, headers=headers, timeout=PATIENCE, allow_redirects=False)


def went(answer: requests.Response) -> str:
    assert answer.status_code == 303, text_of(answer)
    return str(answer.headers["Location"])


def shown(server: ProxyServer, name: str) -> dict[str, Any]:
    """What POST /api/show says of a persona, once all processes know of it."""
    found: dict[str, Any] = wait_for(lambda: _shown(server, name), what=f"{name} is known")
    return found


def _shown(server: ProxyServer, name: str) -> dict[str, Any]:
    answers = [server.post("/api/show", {"model": name}) for _ in range(4)]
    # A process that does not know it yet has the free models stand in for the name.
    same = all(answer.text == answers[0].text and f"# FROM {name}:latest" in answer.text for answer in answers)
    return answers[0].json() if same else {}


def digests(server: ProxyServer) -> dict[str, str]:
    """The digest of each persona by its name, once all processes know the same."""
    known: list[dict[str, str]] = wait_for(lambda: _digests(server), what="all processes know the same personas")
    return known[0]


def _digests(server: ProxyServer) -> list[dict[str, str]]:
    answers = [server.get("/api/proxy/personas").json()["personas"] for _ in range(4)]
    known = [{one["name"]: one["digest"] for one in answer} for answer in answers]
    return known if all(one == known[0] for one in known) else []


def _if_known(known: dict[str, str], *wanted: str) -> dict[str, str]:
    return known if known.keys() >= set(wanted) else {}


def names(server: ProxyServer) -> set[str]:
    return set(digests(server))


@pytest.fixture(scope="module")
def server(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """A server of two workers with the persona "fixed", and aliases."""
    shared_simulator.reset()
    aliases = "claude-haiku-*=free:fast, gpt-*=no-such-model"
    settings: dict[str, Any] = {"web_concurrency": 2, "free_requests_per_minute": 0, "model_aliases": aliases}
    with ProxyServer(tmp_path_factory.mktemp("personas"), shared_simulator.url, **settings) as server:
        assert server.post("/api/create", {"model": "fixed", "from": "ember-4:free", "system": "still"}).ok
        shown(server, "fixed")
        yield server


def test_a_persona_is_made_by_a_form_and_used(server: ProxyServer, simulator: Simulator) -> None:
    fields = {
        "name": "mario", "base": "ember-4:free", "system": f"You are Mario.\r\n{MARKUP}",
        "parameters": 'temperature 0.7\r\nstop "\\n\\n"\r\nstop User:', "role_0": "user", "text_0": "Who are you?",
        "role_1": "assistant", "text_1": f"Me!\r\n{MARKUP}", "role_2": "user", "text_2": "  ",
    }  # fmt: skip
    assert went(send(server, "/personas/new", fields)) == "/ui/personas/persona?name=mario&done=created"
    page = look(server, "/personas/persona?name=mario&done=created")
    assert MARKUP not in page.text
    for words in (f"You are Mario. {MARKUP}", "temperature 0.7", "Who are you?", "ember-4:free", "It is made."):
        assert words in text_of(page), words
    told = shown(server, "mario")
    assert told["system"] == f"You are Mario.\n{MARKUP}"
    assert [one["content"] for one in told["messages"]] == ["Who are you?", f"Me!\n{MARKUP}"]

    def asked() -> bool:
        assert server.chat("mario").ok
        sent = simulator.chats()[-1]["body"]
        return (sent["model"], sent.get("temperature"), sent.get("stop")) == (EMBER, 0.7, ["\n\n", "User:"])

    wait_for(lambda: all(asked() for _ in range(16)), what="all processes ask with it")
    row = text_of(look(server, "/personas"))
    assert "mario:latest ember-4:free ember-4:free system prompt, 2 parameters, 2 messages" in row
    file = look(server, "/personas/download?name=mario")
    assert file.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert file.headers["Content-Disposition"] == 'attachment; filename="Modelfile"'
    assert file.text == told["modelfile"]
    again = send(server, "/personas/new", fields | {"name": "MARIO:latest", "system": "another"})
    assert (again.status_code, 'there is a persona called "MARIO:latest"' in text_of(again)) == (400, True)
    assert shown(server, "mario") == told


def test_editing_keeps_what_the_form_does_not_show(server: ProxyServer) -> None:
    body = {
        "model": "coder", "from": "ember-4:free", "system": "old", "template": "{{ .Prompt }}", "license": ["MIT"],
        "parameters": {"top_k": 3, "think": "high"}, "requires": "0.14.0",
    }  # fmt: skip
    assert server.post("/api/create", body | {"stream": False}).ok
    form = look(server, "/personas/edit?name=coder")
    assert "top_k 3" in form.text
    assert 'think "high"' in unescape(form.text)
    fields = {"name": "coder:latest", "base": "ember-4:free", "system": "", "parameters": 'top_k 4\nthink "high"'}
    assert went(send(server, "/personas/edit", fields)).endswith("name=coder%3Alatest&done=changed")
    told = wait_for(lambda: _if(shown(server, "coder"), system=""), what="it is changed everywhere")
    assert (told["template"], told["license"], told["requires"]) == ("{{ .Prompt }}", "MIT", "0.14.0")
    assert re.search(r"top_k +4", told["parameters"])
    assert 'think                          "high"' in told["parameters"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/personas/edit", {"base": "ember-4:free", "system": "mine"}),
        ("/personas/modelfile", {"anew": "1", "modelfile": "FROM ember-4:free\nSYSTEM mine"}),
    ],
)
def test_an_old_form_does_not_undo_what_another_admin_did(
    server: ProxyServer, path: str, fields: dict[str, str]
) -> None:
    name = f"raced{len(path)}"
    body = {"model": name, "from": "ember-4:free", "stream": False}
    assert server.post("/api/create", body | {"system": "first"}).ok
    opened = _digest_on(look(server, f"{path}?name={name}"))
    assert server.post("/api/create", body | {"system": "theirs"}).ok
    if path.endswith("edit"):
        more = send(server, path, fields | {"name": name, "digest": opened, "more": "1"})
        assert _digest_on(more) == opened, "a form with more messages is as old as it was"
    refused = send(server, path, fields | {"name": name, "digest": opened})
    assert refused.status_code == 409
    assert "somebody else has changed this persona meanwhile" in text_of(refused)
    assert "mine" in refused.text, "the form is still filled"
    wait_for(lambda: _if(shown(server, name), system="theirs"), what="theirs is still there")
    again = send(server, path, fields | {"name": name, "digest": _digest_on(refused)})
    assert went(again).endswith("&done=changed"), "who has read it may do it"


def _digest_on(answer: requests.Response) -> str:
    [digest] = re.findall(r'name="digest" value="([0-9a-f]{64})"', answer.text)
    return str(digest)


def _if(told: dict[str, Any], **members: Any) -> dict[str, Any]:
    return told if all(told[name] == value for name, value in members.items()) else {}


def test_a_modelfile_goes_in_and_comes_out(server: ProxyServer) -> None:
    text = f'FROM free\r\nSYSTEM """You say {MARKUP}\r\nalways"""\r\nPARAMETER mirostat 1\r\nPARAMETER top_k 3\r\n'
    location = went(send(server, "/personas/modelfile", {"name": "pasted", "modelfile": text}))
    assert location == "/ui/personas/persona?name=pasted&done=created&left_out=mirostat"
    assert "Ollama knows them no more: mirostat" in text_of(look(server, location.removeprefix("/ui")))
    assert shown(server, "pasted")["system"] == f"You say {MARKUP}\nalways"
    out = look(server, "/personas/download?name=pasted").text
    upload = {"file": ("Modelfile", out.encode(), "application/octet-stream")}
    went(send(server, "/personas/modelfile", {"name": "uploaded", "modelfile": ""}, files=upload))
    found = wait_for(lambda: _if_known(digests(server), "uploaded:latest", "pasted:latest"), what="both are known")
    assert found["uploaded:latest"] == found["pasted:latest"]
    anew = {"name": "pasted", "anew": "1", "modelfile": "FROM fixed\nPARAMETER seed 7"}
    assert went(send(server, "/personas/modelfile", anew)).endswith("name=pasted&done=changed")
    wait_for(lambda: _if(shown(server, "pasted"), system="still"), what="it takes over what its base says")
    # A form without a file that was chosen, as a browser sends it.
    nothing = {"file": ("", b"", "application/octet-stream")}
    wrong = send(server, "/personas/modelfile", {"name": "x", "modelfile": f"FRM {MARKUP}"}, files=nothing)
    assert (wrong.status_code, "(line 1): command must be one of" in text_of(wrong)) == (400, True)
    assert MARKUP not in wrong.text
    assert f"FRM {MARKUP}" in unescape(wrong.text), "the form is still filled"
    binary = {"file": ("model.gguf", b"GGUF\xff\xfe\0", "application/octet-stream")}
    assert send(server, "/personas/modelfile", {"name": "x"}, files=binary).status_code == 400
    assert send(server, "/personas/modelfile", b"x" * 5_000_000).status_code == 413
    torn = {"Content-Type": "multipart/form-data; boundary=b"}
    assert send(server, "/personas/modelfile", b"--b\r\nContent-Dis", **torn).status_code == 400


def test_another_name_and_its_end(server: ProxyServer) -> None:
    form = {"source": "free:fast", "destination": "claude-opus-9"}
    assert went(send(server, "/personas/copy", form)).endswith("name=claude-opus-9&done=created")
    wait_for(lambda: all(server.chat("claude-opus-9").ok for _ in range(16)), what="it answers")
    page = text_of(look(server, "/personas/delete?name=claude-opus-9"))
    assert "sets nothing: it is another name" in page
    assert went(send(server, "/personas/delete", {"name": "claude-opus-9"})) == "/ui/personas?done=deleted"
    gone_for_all = "both workers know that it is gone"
    wait_for(lambda: all("claude-opus-9:latest" not in names(server) for _ in range(8)), what=gone_for_all)
    assert server.get("/ui/personas/persona?name=claude-opus-9").status_code == 404
    gone = send(server, "/personas/delete", {"name": "claude-opus-9"})
    assert (gone.status_code, "not found" in text_of(gone)) == (404, True)


@pytest.mark.parametrize(
    ("path", "fields", "status", "words"),
    [
        ("new", {"name": "free", "base": "fixed"}, 400, "this server's own: choose another name"),
        ("new", {"name": "ember-4:free", "base": "fixed"}, 400, "is OpenRouter's model: choose another name"),
        ("new", {"name": "a b", "base": "fixed"}, 400, "invalid model name"),
        ("new", {"name": "", "base": "fixed"}, 400, "invalid model name"),
        ("new", {"name": MARKUP, "base": "fixed"}, 400, "invalid model name"),
        ("new", {"name": "x", "base": "no-such-model"}, 400, 'no model is called "no-such-model" here'),
        ("new", {"name": "x", "base": ""}, 400, "neither 'from' or 'files' was specified"),
        ("new", {"name": "x", "base": "fixed", "parameters": "temprature 1"}, 400, "unknown parameter 'temprature'"),
        ("new", {"name": "x", "base": "fixed", "text_0": "hi", "role_0": "boss"}, 400, "message role must be one of"),
        ("new", {"name": "x", "base": "fixed", "system": "y" * 1_100_000}, 400, "the model is too large"),
        ("edit", {"name": "fixed", "base": "no-such-model", "system": MARKUP}, 400, 'called "no-such-model" here'),
        ("edit", {"name": "no-such-persona", "base": "free"}, 404, "there is no persona of that name"),
        ("copy", {"source": "no-such-model", "destination": "x"}, 404, 'model "no-such-model" not found'),
        ("copy", {"source": "free", "destination": "a b"}, 400, "is invalid"),
        ("copy", {"source": "free", "destination": "fixed"}, 400, 'there is a persona called "fixed"'),
        ("modelfile", {"name": "x", "modelfile": "FROM a\nADAPTER b"}, 400, "models cannot be uploaded"),
        ("modelfile", {"name": "x", "modelfile": "FROM no-such-model"}, 400, 'no model is called "no-such-model" here'),
        ("modelfile", {"name": "x", "modelfile": "FROM free\n" * 2001}, 400, "too many commands: at most 2000"),
        ("modelfile", {"name": "fixed", "modelfile": "FROM free"}, 400, 'there is a persona called "fixed"'),
        ("delete", {"name": "ember-4:free"}, 501, "hide it with a filter"),
    ],
)  # fmt: skip
def test_what_is_refused_in_ollamas_words(
    server: ProxyServer, path: str, fields: dict[str, str], status: int, words: str
) -> None:
    before = names(server)
    answer = send(server, f"/personas/{path}", fields)
    assert (answer.status_code, words in text_of(answer)) == (status, True), text_of(answer)[:500]
    assert "<script>alert" not in answer.text
    if path != "delete" and status != 404 and len(answer.text) < 100_000:
        for value in fields.values():
            assert unescape(answer.text).count(value), "the form is still filled"
    assert names(server) == before
    assert shown(server, "fixed")["system"] == "still"


def test_more_messages_are_asked_for_without_a_script(server: ProxyServer) -> None:
    fields = {"name": "x", "base": "fixed", "system": MARKUP, "role_0": "user", "text_0": "one", "more": "1"}
    answer = send(server, "/personas/new", fields)
    assert answer.status_code == 200
    assert re.findall(r'name="text_(\d+)"', answer.text) == ["0", "1", "2", "3"]
    assert f"\n{MARKUP}" in unescape(answer.text)
    assert "x:latest" not in names(server)


def test_the_page_tells_what_aliases_mean(server: ProxyServer) -> None:
    text = text_of(look(server, "/personas"))
    assert "claude-haiku-* free:fast free:fast" in text
    assert "gpt-* no-such-model nothing no model here is called so" in text


@pytest.mark.parametrize("path", WRITE)
def test_only_a_page_of_this_server_changes_personas(server: ProxyServer, path: str) -> None:
    before = names(server)
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": server.url, "Sec-Fetch-Site": "cross-site"},
        {},
    ):
        url = f"{server.url}/ui{path}"
        assert requests.post(url, data=WRITE[path], headers=headers, timeout=PATIENCE).status_code == 403, headers
    query = "&".join(f"{name}={value}" for name, value in WRITE[path].items())
    assert server.get(f"/ui{path}?{query}").status_code in (200, 404), "a GET only looks"
    assert names(server) == before
    assert shown(server, "fixed")["system"] == "still"


@pytest.mark.parametrize("taken", [False, True])
def test_a_persona_whose_base_is_gone_can_be_edited(start_proxy: Start, taken: bool) -> None:
    server, gone = start_proxy(), "harbor/gone-9:free"
    left = Persona("left:latest", gone, "first", "", (), {}, (), "0" * 64, 1.0, 1.0)
    with library_of(f"sqlite:///{server.directory / 'proxy.db'}") as library:
        library.save(left)
    if taken:
        assert server.post("/api/create", {"model": gone, "from": "free", "system": "thief", "stream": False}).ok
    form = look(server, "/personas/edit?name=left")
    [base] = re.findall(r'name="base" value="([^"]*)"', form.text)
    assert went(send(server, "/personas/edit", {"name": "left", "base": base, "system": "second"}))
    text = look(server, "/personas/download?name=left").text
    fields = {"name": "left", "anew": "1", "modelfile": text.replace("second", "third")}
    assert went(send(server, "/personas/modelfile", fields))
    known = {one["name"]: one for one in server.get("/api/proxy/personas").json()["personas"]}
    assert known["left:latest"]["base"] == gone
    assert server.post("/api/show", {"model": "left"}).json()["system"] == "third"


def test_with_keys_personas_are_an_admins(start_proxy: Start) -> None:
    server = start_proxy(proxy_api_keys="boss=boss-s3cret-key", ready=False)
    boss = {"Authorization": "Bearer boss-s3cret-key"}
    plain = server.post("/api/proxy/keys", {"name": "plain"}, headers=boss).json()["key"]
    wait_for(lambda: server.get("/api/tags", headers={"Authorization": f"Bearer {plain}"}).ok, what="the key counts")
    for key, status in ((plain, 403), ("no-such-key", 401), ("", 401)):
        headers = {"Authorization": f"Bearer {key}", "Origin": server.url} if key else {"Origin": server.url}
        for path in READ:
            assert server.get(f"/ui{path}", headers=headers).status_code == status
        for path, fields in WRITE.items():
            url = f"{server.url}/ui{path}"
            assert requests.post(url, data=fields, headers=headers, timeout=PATIENCE).status_code == status
    made = send(server, "/personas/new", WRITE["/personas/new"], **boss)
    assert made.status_code == 303


def test_a_new_server_says_what_personas_are(start_proxy: Start) -> None:
    text = text_of(look(start_proxy(), "/personas"))
    assert "No persona is made yet" in text
    assert "None. MODEL_ALIASES=" in text
