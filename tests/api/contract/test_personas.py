"""docs/contract.md, "Personas": create, copy, delete, what is shown and listed of them, and blobs, row by row."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ollama_proxy.modelfile.parser import parse
from simulator.process import Simulator
from tests.api.contract.wire import JSON, NDJSON, PLAIN_JSON, Row, check, post, send
from tests.personas import library_of
from tests.servers import ProxyServer
from tests.unit.catalog.personas import persona

CREATE = "/api/create"
ABSENT = "pull model manifest: file does not exist"
DIGEST = f"sha256:{'a' * 64}"
BASE = "ember-4:free"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def _shared(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    with ProxyServer(tmp_path_factory.mktemp("personas"), shared_simulator.url, model_aliases="gpt-*=free") as server:
        yield server


@pytest.fixture
def server(_shared: ProxyServer, simulator: Simulator) -> Iterator[ProxyServer]:
    """A server without personas."""
    yield _shared
    for name in personas(_shared):
        assert delete(_shared, name).status == 200


def personas(server: ProxyServer) -> list[str]:
    """The names of all personas, as they are listed."""
    return [model["name"] for model in server.get("/api/tags").json()["models"] if is_persona(model)]


def is_persona(tag: Json) -> bool:
    return tag["modified_at"] > "2026-07" and not tag["name"].startswith("free:")


def delete(server: ProxyServer, name: str) -> Any:
    return send(server, Row("DELETE", "/api/delete", {"name": name}))


def create(server: ProxyServer, model: str, **fields: Any) -> list[str]:
    """The status lines of a creation that succeeds."""
    answer = check(server, Row("POST", CREATE, {"model": model, **{"from": BASE}, **fields}, type=NDJSON))
    assert answer.body.endswith(b"\n")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert all(set(line) == {"status"} for line in lines), lines
    return [line["status"] for line in lines]


def show(server: ProxyServer, name: str, **fields: Any) -> Json:
    shown: Json = check(server, Row("POST", "/api/show", {"model": name, **fields})).json()
    return shown


def entry(server: ProxyServer, name: str) -> Json:
    """The entry of a name in /api/tags."""
    [found] = [model for model in server.get("/api/tags").json()["models"] if model["name"] == name]
    assert isinstance(found, dict)
    return found


def new(text: str) -> str:
    """The line of a layer that was not there before."""
    return f"creating new layer sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def old(text: str) -> str:
    return new(text).replace("creating new", "using existing")


def early(body: Any, error: str) -> Row:
    """Refused before the stream begins."""
    return post(CREATE, body, 400, error, type=JSON)


def first(body: Json, error: str) -> Row:
    """Refused as the first event of the stream."""
    return post(CREATE, {"model": "new", **body}, 400, error, type=PLAIN_JSON)


GO = "json: cannot unmarshal {} into Go {}"
REFUSED = {
    "1 no body": early(b"", "missing request body"),
    "1 bad JSON": early(b"{", "unexpected EOF"),
    "1 not an object": early(b"[]", GO.format("array", "value of type api.CreateRequest")),
    "1 a type": early(
        {"parameters": []}, GO.format("array", "struct field CreateRequest.parameters of type map[string]interface {}")
    ),
    "1 a message": early(
        {"messages": [{"role": 1}]}, GO.format("number", "struct field CreateRequest.messages.role of type string")
    ),
    "1 a digest": early({"files": {"x": 1}}, GO.format("number", "struct field CreateRequest.files of type string")),
    "2 an absolute path": early({"files": {"/x": DIGEST}}, "file path must be relative"),
    "2 a path that goes up": early({"files": {"a/../x": DIGEST}}, "file path must be relative"),
    "2 an empty path": early({"draft_files": {"": DIGEST}}, "file path must be relative"),
    "3 no digest": early({"files": {"x": ""}}, "invalid digest format"),
    "3 no digest of an adapter": early({"adapters": {"x": ""}}, "invalid digest format"),
    "4 a draft that is not there": early(
        {"draft_quantize": "q4", "adapters": {"x": ""}}, "--draft-quantize requires a DRAFT model"
    ),
    "5 no name": early({"from": BASE}, "invalid model name"),
    "5 not a name": early({"model": "a b", "from": "!"}, "invalid model name"),
    "5 here and there": early({"model": "x:local:cloud", "from": BASE}, "invalid model name"),
    "the virtual model": early({"model": "free", "from": BASE}, '"free" is this server\'s own: choose another name'),
    "a name like it": early({"name": "FREE:mine"}, '"FREE:mine" is this server\'s own: choose another name'),
    "a listed name": early({"model": "ember-4:free"}, '"ember-4:free" is OpenRouter\'s model: choose another name'),
    "a short one": early({"model": "Ember-4"}, '"Ember-4" is OpenRouter\'s model: choose another name'),
    "one that would hide it": early(
        {"model": "ember-4:latest"}, '"ember-4:latest" is OpenRouter\'s model: choose another name'
    ),
    "a full id": early(
        {"model": "tidal/ember-4:free"}, '"tidal/ember-4:free" is OpenRouter\'s model: choose another name'
    ),
    "an embedding model": early({"model": "embed-small"}, '"embed-small" is OpenRouter\'s model: choose another name'),
    "6 a base that is no name": first({"from": "!"}, "invalid model name"),
    "6 a base here and there": first({"from": "x:local:cloud"}, "invalid model name"),
    "7 a remote host": first({"from": BASE, "remote_host": "http://[x"}, "bad remote"),
    "6 before 7": first({"from": "!", "remote_host": "http://[x"}, "invalid model name"),
    "7 before 8": first({"from": "nosuch", "remote_host": "http://[x"}, "bad remote"),
    "7 another host": first(
        {"from": BASE, "remote_host": "https://ollama.com"}, "this server cannot run this remote model"
    ),
    "8 no such base": first({"from": "nosuch", "stream": False}, ABSENT),
    "8 a paid base": first({"from": "vertex/omni-4", "stream": False}, ABSENT),
    "8 a base of ollama.com": first({"from": "x:cloud", "stream": False}, ABSENT),
    "8 one of two": first(
        {"from": "beacon-24b", "stream": False},
        f"{ABSENT} (say which one you mean, 'harbor/beacon-24b:free' or 'lantern/beacon-24b:free')",
    ),
    "9 nothing to make it of": first({}, "neither 'from' or 'files' was specified"),
    "9 as older programs send it": first(
        {"modelfile": "FROM x", "files": None}, "neither 'from' or 'files' was specified"
    ),
    "10 no files": first({"files": {}}, "unknown type"),
    "10 files of no kind": first({"files": {"x.txt": DIGEST}}, "unknown type"),
    "10 weights": first({"files": {"x.gguf": DIGEST}}, "models cannot be uploaded here"),
    "10 weights besides": first({"from": BASE, "files": {"x.gguf": DIGEST}}, "models cannot be uploaded here"),
    "11 a draft model": first({"from": BASE, "draft_files": {"x": DIGEST}}, "DRAFT cannot be used with remote models"),
    "12 adapters": first(
        {"from": BASE, "adapters": {"x": DIGEST, "y": DIGEST}}, "only one adapter is currently supported"
    ),
    "12 an adapter": first({"from": BASE, "adapters": {"x": DIGEST}}, "models cannot be uploaded here"),
    "13 a window": first(
        {"from": BASE, "info": {"context_length": "x"}}, 'info field "context_length" must be a number'
    ),
    "13 a broken window": first(
        {"from": BASE, "info": {"context_length": 1.5}}, 'info field "context_length" must be a non-negative integer'
    ),
    "13 a family": first({"from": BASE, "info": {"model_family": 1}}, 'info field "model_family" must be a string'),
    "14 a template": first(
        {"from": BASE, "template": "{{ .Prompt", "license": 1}, "template error: template: :1: unclosed action"
    ),
    "15 quantising": first(
        {"from": BASE, "quantize": "q4_K_M"}, "quantization is only supported for F16, BF16 and F32 models"
    ),
    "16 a license": first({"from": BASE, "license": 1}, GO.format("number", "value of type []string")),
    "16 licenses": first({"from": BASE, "license": ["x", 1]}, GO.format("number", "value of type string")),
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
def test_create_refuses_in_ollamas_order_and_words(server: ProxyServer, row: Row) -> None:
    check(server, row)
    assert personas(server) == []


def test_an_unknown_base_is_pulled_and_refused_behind_the_200(server: ProxyServer) -> None:
    answer = check(server, Row("POST", CREATE, {"model": "new", "from": "nosuch"}, type=NDJSON))
    assert answer.body.decode() == '{"status":"pulling manifest"}\n{"error":"' + ABSENT + '"}\n'
    assert personas(server) == []


def test_the_lines_of_a_creation_name_each_layer_by_its_sha256(server: ProxyServer) -> None:
    said = create(
        server,
        "mario",
        system="You are Mario.",
        template="{{ .Prompt }}",
        license=["MIT", "BSD"],
        parameters={"temperature": 0.6},
        messages=[{"role": "user", "content": "hi"}],
    )
    assert said == [
        f"using existing layer sha256:{entry(server, BASE)['digest']}",
        new("{{ .Prompt }}"),
        new("You are Mario."),
        new("MIT"),
        new("BSD"),
        new('{"temperature":0.6}'),
        new('[{"content":"hi","role":"user"}]'),
        "writing manifest",
        "success",
    ]


def test_inherited_layers_come_first_and_replaced_ones_last(server: ProxyServer) -> None:
    create(server, "mario", system="You are Mario.", template="a", license="MIT", parameters={"temperature": 0.6})
    said = create(server, "luigi", **{"from": "mario"}, system="You are Luigi.", license="BSD", template="a")
    assert said[1:-2] == [
        old("MIT"),
        old('{"temperature":0.6}'),
        old("a"),
        new("You are Luigi."),
        new("BSD"),
    ]


def test_without_a_stream_there_is_one_object(server: ProxyServer) -> None:
    body = {"name": "mario", "from": BASE, "stream": False}
    check(server, Row("POST", CREATE, body, want='{"status":"success"}', type=PLAIN_JSON))
    assert personas(server) == ["mario:latest"]


def test_what_is_inherited_merged_and_replaced(server: ProxyServer) -> None:
    create(
        server,
        "mario",
        system="You are Mario.",
        license="MIT",
        parameters={"temperature": 0.6, "stop": ["a", "b"], "top_k": 1},
        messages=[{"role": "user", "content": "hi"}],
        requires="0.14.0",
    )
    create(server, "luigi", **{"from": "mario"}, system="", license=["BSD"], messages=[],
           parameters={"stop": ["c"], "top_k": None, "seed": 3, "made_up": "x"})  # fmt: skip
    assert delete(server, "mario").status == 200, "nothing is built on it"
    luigi = show(server, "luigi")
    assert luigi["system"] == "You are Mario."
    assert luigi["license"] == "MIT\nBSD"
    assert luigi["messages"] == [{"role": "user", "content": "hi"}]
    assert luigi["requires"] == "0.14.0"
    assert luigi["parameters"].splitlines() == [
        'made_up                        "x"',
        "num_ctx                        100000",
        "seed                           3",
        'stop                           "c"',
        "temperature                    0.6",
        "top_k                          1",
    ]
    create(server, "luigi", **{"from": "luigi"}, messages=[{"role": "user", "content": "ho"}])
    assert show(server, "luigi")["messages"] == [{"role": "user", "content": "ho"}], "messages replace"
    create(server, "luigi")
    assert "messages" not in show(server, "luigi"), "an existing one is replaced without a word"


def test_a_name_is_one_whatever_its_case_and_keeps_its_spelling(server: ProxyServer) -> None:
    create(server, "Mario:V2", system="one")
    create(server, "MARIO:v2", system="two")
    create(server, "mario", system="three")
    assert personas(server) == ["Mario:latest", "Mario:V2"]
    assert show(server, "mario:v2")["system"] == "two"


def test_show_has_ollamas_keys_in_order(server: ProxyServer) -> None:
    create(server, "mario", system="You are\nMario.", license="MIT", messages=[{"role": "user", "content": "hello"}])
    shown = show(server, "mario")
    assert list(shown) == [
        *("license", "modelfile", "parameters", "template", "system", "details", "messages", "model_info"),
        *("capabilities", "modified_at"),
    ]
    base = show(server, BASE)
    assert shown["details"] == base["details"]
    assert shown["details"]["parent_model"] == "", "else what /save keeps of a chat would lose the system prompt"
    assert shown["capabilities"] == base["capabilities"]
    assert shown["template"] == base["template"]
    assert shown["model_info"] == base["model_info"] | {"general.basename": "mario"}
    assert shown["modelfile"] == (
        '# Modelfile generated by "ollama show"\n'
        "# To build a new Modelfile based on this, replace FROM with:\n"
        "# FROM mario:latest\n"
        "\n"
        f"FROM {BASE}\n"
        'SYSTEM "You are\nMario."\n'
        "LICENSE MIT\n"
        "MESSAGE user hello\n"
    )
    assert show(server, "MARIO:latest", system="asked")["system"] == "asked"


def test_a_modelfile_that_is_shown_makes_the_same_again(server: ProxyServer) -> None:
    create(
        server,
        "mario",
        system='He said "hi".\n\n"""\n',
        template="{{ .Tools }}<tools>{{ .Prompt }}\n",
        license=["MIT\n", " x"],
        parameters={"temperature": 0.7, "stop": ['"', "\n"], "num_ctx": 1048576, "top_p": 1.0, "use_mmap": True},
        messages=[{"role": "user", "content": " a "}, {"role": "assistant", "content": "b\nc"}],
        requires="0.14.0",
    )
    # Three marks at a line's end cannot be said in a Modelfile, so the first round changes them.
    for _ in range(2):
        before = entry(server, "mario:latest")["digest"]
        again = parse(show(server, "mario")["modelfile"]).as_request("again")
        check(server, Row("POST", CREATE, {**again, "stream": False}, type=PLAIN_JSON))
        check(server, Row("POST", "/api/copy", {"source": "again", "destination": "mario"}, want="", type=""))
        after = entry(server, "mario:latest")["digest"]
    assert before == after


def test_listed_newest_first_behind_the_virtual_models(server: ProxyServer) -> None:
    create(server, "a", system="a")
    create(server, "b", **{"from": "embed-small"})
    create(server, "a", system="aa")
    listed = [model["name"] for model in server.get("/api/tags").json()["models"]]
    assert listed[4:7] == ["a:latest", "b:latest", listed[6]]
    assert all(name.startswith("free:") for name in listed[:4])
    mine = entry(server, "a:latest")
    assert mine["size"] == entry(server, BASE)["size"] + 2
    assert re.fullmatch("[0-9a-f]{64}", mine["digest"])
    assert mine["details"] == entry(server, BASE)["details"]
    assert entry(server, "b:latest")["capabilities"] == ["embedding"]
    assert [model["id"] for model in server.get("/v1/models").json()["data"]] == listed


def test_a_model_whose_name_a_persona_has_is_not_listed_twice(server: ProxyServer) -> None:
    with library_of(f"sqlite:///{server.directory / 'proxy.db'}") as library:  # the model appeared later
        library.save(persona(BASE, "free:fast", modified=time.time()))
    create(server, "mario")  # whoever writes knows all that was written
    delete(server, "mario")
    listed = [model["name"] for model in server.get("/api/tags").json()["models"]]
    assert listed.count(BASE) == 1
    assert [model["id"] for model in server.get("/v1/models").json()["data"]] == listed
    assert server.chat("tidal/ember-4:free").headers["X-OpenRouter-Model"] == "tidal/ember-4:free"


def test_messages_of_blanks_are_not_kept(server: ProxyServer) -> None:
    create(server, "mario", messages=[{"role": "user", "content": " \n"}, {"role": "user", "content": "hi"}])
    assert show(server, "mario")["messages"] == [{"role": "user", "content": "hi"}]


def test_a_loaded_persona_is_in_ps_until_it_is_deleted(server: ProxyServer) -> None:
    create(server, "mario", system="x")
    server.post("/api/generate", {"model": "mario"})
    [loaded] = [model for model in server.get("/api/ps").json()["models"] if model["name"] == "mario:latest"]
    assert loaded["digest"] == entry(server, "mario:latest")["digest"]
    delete(server, "mario")
    assert "mario:latest" not in server.get("/api/ps").text


def test_a_persona_is_pulled_with_its_own_layer(server: ProxyServer) -> None:
    create(server, "mario", system="x")
    answer = check(server, Row("POST", "/api/pull", {"model": "mario"}, type=NDJSON))
    lines = [json.loads(line) for line in answer.body.splitlines()]
    digest, size = entry(server, "mario:latest")["digest"], entry(server, "mario:latest")["size"]
    assert lines[1] == {
        "status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": size, "completed": size,
    }  # fmt: skip
    assert [line["status"] for line in lines[2:]] == ["verifying sha256 digest", "writing manifest", "success"]


COPIES = {
    "no body": post("/api/copy", b"", 400, "missing request body"),
    "no source": post("/api/copy", {"destination": "x"}, 400, 'source "" is invalid'),
    "no destination": post("/api/copy", {"source": "x"}, 400, 'destination "" is invalid'),
    "here and there": post("/api/copy", {"source": "free", "destination": "x:local:cloud"}, 400,
                           'destination "x:local:cloud" is invalid'),
    "no name": post("/api/copy", {"source": 'a"b', "destination": "x"}, 400, 'source "a\\"b" is invalid'),
    "an unknown source": post("/api/copy", {"source": "nosuch", "destination": "x"}, 404, 'model "nosuch" not found'),
    "a paid source": post("/api/copy", {"source": "omni-4", "destination": "x"}, 404, 'model "omni-4" not found'),
    "to a listed name": post(
        "/api/copy", {"source": "free", "destination": "ember-4"}, 400,
        '"ember-4" is OpenRouter\'s model: choose another name',
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", COPIES.values(), ids=COPIES)
def test_copy_refuses(server: ProxyServer, row: Row) -> None:
    check(server, row)
    assert personas(server) == []


def copied(source: str, destination: str) -> Row:
    return Row("POST", "/api/copy", {"source": source, "destination": destination}, want="", type="")


def test_a_copy_has_the_same_digest_and_a_time_of_its_own(server: ProxyServer) -> None:
    create(server, "mario", system="x")
    before = entry(server, "mario:latest")
    answer = check(server, copied("MARIO", "org/Luigi:v1"))
    assert "content-type" not in answer.headers
    after = entry(server, "org/Luigi:v1")
    assert after["digest"] == before["digest"]
    assert after["modified_at"] > before["modified_at"]
    check(server, copied("mario", "mario"))
    check(server, copied("ember-4", "ember-4"))
    assert entry(server, "mario:latest") == before


def test_a_copy_to_a_name_on_this_machine_is_one_that_can_be_used(server: ProxyServer) -> None:
    create(server, "mario", system="x")
    check(server, copied("mario:local", "luigi:local"))
    assert personas(server) == ["luigi:latest", "mario:latest"]
    assert show(server, "luigi:local")["system"] == "x"
    assert delete(server, "luigi:local").status == 200
    check(server, copied("mario:local", "mario"))


def test_one_that_was_stored_with_that_tag_can_be_deleted(server: ProxyServer) -> None:
    create(server, "mario")
    with library_of(f"sqlite:///{server.directory / 'proxy.db'}") as library:
        library.save(persona("mario:local"))
    assert delete(server, "mario:local").status == 200
    assert personas(server) == ["mario:latest"]


@pytest.mark.parametrize("name", ["gpt-4o", "claude-haiku-4-5", "beacon-24b", "llama3"])
def test_any_listed_model_can_have_a_name_that_programs_have_built_in(server: ProxyServer, name: str) -> None:
    check(server, copied("tidal/ember-4:free", name))
    assert entry(server, f"{name}:latest")["digest"] == entry(server, BASE)["digest"], "it is the same model"
    assert server.chat(name).headers["X-OpenRouter-Model"] == "tidal/ember-4:free"
    check(server, copied("free:fast", name))
    assert show(server, name)["modelfile"].endswith("\nFROM free:fast\n"), "the destination was overwritten"


def removal(body: Any, status: int, error: str) -> Row:
    return Row("DELETE", "/api/delete", body, status, {"error": error})


DELETIONS = {
    "no body": removal(b"", 400, "missing request body"),
    "no name": removal({}, 400, "model is required"),
    "not a name": removal({"name": "!bad"}, 400, 'name "!bad" is invalid'),
    "here and there": removal(
        {"model": "x:local:cloud"}, 400, 'use either :local or :cloud, not both: "x:local:cloud"'
    ),
    "an unknown one": removal({"model": "NoSuch"}, 404, "model 'NoSuch' not found"),
    "a known paid one": removal({"model": "omni-4"}, 404, "model 'omni-4' not found"),
    "an alias": removal({"model": "gpt-4o"}, 404, "model 'gpt-4o' not found"),
    "OpenRouter's": removal({"name": "ember-4"}, 501, "ember-4 is OpenRouter's: hide it with a filter"),
    "an embedding model": removal({"name": "embed-small"}, 501, "embed-small is OpenRouter's: hide it with a filter"),
    "the virtual one": removal({"name": "free"}, 501, "free:latest is this server's own: it cannot be deleted"),
}


@pytest.mark.parametrize("row", DELETIONS.values(), ids=DELETIONS)
def test_delete_refuses(server: ProxyServer, row: Row) -> None:
    check(server, row)


def test_what_is_deleted_is_gone(server: ProxyServer) -> None:
    create(server, "mario")
    answer = check(server, Row("DELETE", "/api/delete", {"model": "", "name": "MARIO:latest"}, want="", type=""))
    assert "content-type" not in answer.headers
    assert personas(server) == []
    check(server, removal({"model": "mario"}, 404, "model 'mario' not found"))
    assert send(server, Row("POST", "/api/delete", {"model": "mario"})).status == 405


BLOBS = {
    "a digest of no form": post("/api/blobs/sha256:0", b"x", 400, "invalid digest format"),
    "an upload": post(
        f"/api/blobs/{DIGEST}", b"x", 501, "files cannot be uploaded: the models of this server are OpenRouter's"
    ),
    "whether it exists": Row("HEAD", f"/api/blobs/{DIGEST}", None, 404, ""),
}


@pytest.mark.parametrize("row", BLOBS.values(), ids=BLOBS)
def test_blobs(server: ProxyServer, row: Row) -> None:
    check(server, row)


def test_gigabytes_are_refused_before_they_are_sent(server: ProxyServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("POST", f"/api/blobs/{DIGEST}")
    connection.putheader("Content-Length", str(8 * 1024**3))
    connection.endheaders(b"GGUF")
    answer = connection.getresponse()
    assert answer.status == 501
    assert b"cannot be uploaded" in answer.read()
    connection.close()


TOO_MUCH = {
    "text": ({"system": "x" * 1024 * 1025}, "the model is too large: 1025 KB of text, and at most 1024 are taken"),
    "a template": ({"template": "x" * 16385}, "the template is too long: at most 16384 characters are taken"),
    "messages": (
        {"messages": [{"role": "user", "content": "x"}] * 1001}, "too many messages: 1001, and at most 1000 are taken",
    ),
    "licenses": ({"license": ["x"] * 101}, "too many licenses: 101, and at most 100 are taken"),
    "depth": ({"parameters": {"x": json.loads("[" * 300 + "]" * 300)}}, "exceeded max depth"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_MUCH.values(), ids=TOO_MUCH)
def test_only_so_much_is_taken(server: ProxyServer, case: tuple[Json, str]) -> None:
    fields, error = case
    check(server, first({"from": BASE, **fields}, error))


@pytest.mark.parametrize("name", ["../x", "..", "a/../b", "a\\b", "x" * 81, "a:b:c", "ä", "x\0"])
def test_nothing_but_names_of_ollamas_grammar(server: ProxyServer, name: str) -> None:
    check(server, early({"model": name, "from": BASE}, "invalid model name"))


def test_any_character_may_stand_in_a_text(server: ProxyServer) -> None:
    odd = "{{ .Prompt }}tools\u2028b\0c\U0001f344\x1b\ufffe"
    create(server, "mario", system=odd, template=odd, license=odd, parameters={"stop": [odd], "x\0": None, "y\0": odd},
           messages=[{"role": "user", "content": odd}])  # fmt: skip
    shown = show(server, "mario")
    assert shown["system"] == shown["template"] == shown["license"] == odd.replace("\0", "")
    assert shown["messages"][0]["content"] == odd.replace("\0", "")
