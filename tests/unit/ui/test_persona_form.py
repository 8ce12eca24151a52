"""The form of a persona: what it shows, and the body of POST /api/create that it means."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from ollama_proxy.catalog.persona import Persona
from ollama_proxy.errors import BadRequest
from ollama_proxy.ollama.request.create_body import read_create
from ollama_proxy.ui.persona_form import (
    PersonaForm,
    create_body,
    form_of,
    modelfile_body,
    parameters_text,
    read_parameters,
    says,
    sent,
)


def persona(**said: Any) -> Persona:
    empty: dict[str, Any] = {
        "name": "mario:latest", "base": "tidal/ember-4:free", "system": "", "template": "", "licenses": (),
        "parameters": {}, "messages": (), "digest": "", "created": 0.0, "modified": 0.0,
    }  # fmt: skip
    return Persona(**empty | said)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, ""),
        ({"temperature": 0.7, "num_predict": 500}, "num_predict 500\ntemperature 0.7"),
        ({"stop": ["User:", "\n\n", '"', "ü"]}, 'stop "User:"\nstop "\\n\\n"\nstop "\\""\nstop "ü"'),
        ({"use_mmap": True, "num_ctx": 1_000_000}, "num_ctx 1000000\nuse_mmap true"),
    ],
)
def test_parameters_come_back_as_they_were(parameters: dict[str, Any], text: str) -> None:
    assert parameters_text(parameters) == text
    assert read_parameters(text) == parameters


def test_what_no_modelfile_can_say_comes_back_if_it_was_there() -> None:
    kept = {"think": {"a": [1, "x"]}, "format": "json", "stop": "one"}
    text = parameters_text(kept)
    assert read_parameters(text, kept) == kept | {"stop": ["one"]}
    with pytest.raises(BadRequest, match="unknown parameter 'format'"):
        read_parameters(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("temperature 0.7\n\n  top_k\t5  ", {"temperature": 0.7, "top_k": 5}),
        ("PARAMETER temperature 1.0", {"temperature": 1}),
        ("stop User: now\nstop User", {"stop": ["User: now", "User"]}),
        ('stop "half', {"stop": ['"half']}),
        ('temperature "0.5"', {"temperature": 0.5}),
        ("top_k 1\ntop_k 2", {"top_k": 2}),
        ("parameter", {}),
    ],
)
def test_parameters_as_people_write_them(text: str, found: dict[str, Any]) -> None:
    assert read_parameters(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("temprature 0.7", "unknown parameter 'temprature'"),
        ("temperature", "parameter temperature has no value"),
        ("temperature hot", "invalid float value [hot]"),
        ("top_k 1.5", "invalid int value [1.5]"),
        ("mirostat 1", "parameter mirostat is deprecated: leave it out"),
        ("temperature " + "9" * 5000, "invalid float value [" + "9" * 279),
        ("x" * 5000, "parameter " + "x" * 40 + " has no value"),
    ],
)
def test_parameters_that_are_none(text: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_parameters(text)
    assert refused.value.message == words


def test_deep_json_and_half_a_character_are_no_fault_of_ours() -> None:
    deep = "[" * 100_000
    assert read_parameters(f"odd {deep}", {"odd": 1}) == {"odd": deep}
    assert read_parameters('stop "\\ud800"') == {"stop": ['"\\ud800"']}


@pytest.mark.parametrize("text", ["123456789012345678901234567890", "[" * 253 + "]" * 253])
def test_json_that_no_body_can_hold_is_a_text(text: str) -> None:
    form = PersonaForm(name="x", base="free", parameters=f"odd {text}")
    body = create_body(form, persona(parameters={"odd": 1}))
    assert orjson.loads(orjson.dumps(body))["parameters"] == {"odd": text}


def test_what_is_too_much_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadRequest, match="too many parameters: at most 1000 lines"):
        read_parameters("top_k 1\n" * 1000)
    with pytest.raises(BadRequest, match="the Modelfile is too long: at most 1124 KB"):
        modelfile_body("FROM free\nSYSTEM " + "x" * 1_200_000, "x")
    with pytest.raises(BadRequest, match="too many commands: at most 2000"):
        modelfile_body("FROM free\n" * 2001, "x")


def test_the_form_of_a_persona_comes_back_as_its_body() -> None:
    messages = ({"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me\nMario"})
    kept = persona(
        system="You are\n<b>Mario</b>", parameters={"top_k": 3}, messages=messages, template="{{ .Prompt }}",
        licenses=("MIT",), requires="0.14.0",
    )  # fmt: skip
    form = form_of(kept, "ember-4:free")
    fields = {"name": form.name, "base": form.base, "system": form.system, "parameters": form.parameters}
    for number, (role, text) in enumerate(form.with_rows().messages):
        fields |= {f"role_{number}": role, f"text_{number}": text}
    assert len(fields) == 4 + 2 * 4, "two rows to fill in"
    body = create_body(sent(fields), kept)
    assert body == {
        "model": "mario:latest", "from": "ember-4:free", "system": "You are\n<b>Mario</b>", "parameters": {"top_k": 3},
        "messages": list(messages), "stream": False, "license": ["MIT"], "template": "{{ .Prompt }}", "renderer": "",
        "parser": "", "requires": "0.14.0",
    }  # fmt: skip
    draft = read_create(orjson.dumps(body)).draft()
    assert (draft.messages, draft.licenses, draft.template) == (messages, ("MIT",), "{{ .Prompt }}")


def test_messages_are_in_their_order_and_strange_fields_are_nothing() -> None:
    fields = {"text_10": "third", "text_2": "second", "role_2": "assistant", "text_0": "first", "text_x": "no"}
    fields |= {"text_-1": "no", "text_007": "no", "text_99999": "no", "text_٣": "no", "role_5": "user"}
    assert sent(fields).messages == (("user", "first"), ("assistant", "second"), ("user", "third"))


@pytest.mark.parametrize(
    ("messages", "more", "roles"),
    [
        ((), 0, ["user", "assistant"]),
        ((("user", "x"),), 0, ["user", "assistant", "user"]),
        ((("user", "x"), ("assistant", ""), ("user", " ")), 0, ["user", "assistant", "user"]),
        ((("user", "x"), ("assistant", ""), ("user", "")), 3, ["user", "assistant"] * 3),
        ((("user", "x"),) * 1000, 3, ["user"] * 1000),
    ],
)
def test_rows_to_fill_in(messages: tuple[tuple[str, str], ...], more: int, roles: list[str]) -> None:
    assert [role for role, _ in PersonaForm(messages=messages).with_rows(more).messages] == roles


def test_a_modelfile_is_a_body_with_the_warnings_of_the_command_line() -> None:
    text = "FROM free\nSYSTEM You are Mario.\nPARAMETER mirostat 1\nPARAMETER top_k 3\nMESSAGE user hi"
    body, warnings = modelfile_body(text, "mario")
    assert json.loads(json.dumps(body)) == {
        "model": "mario", "from": "free", "system": "You are Mario.", "parameters": {"top_k": 3},
        "messages": [{"role": "user", "content": "hi"}], "stream": False,
    }  # fmt: skip
    assert warnings == ("warning: parameter mirostat is deprecated",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no FROM line"),
        ("FROM free\nSYSTEMS x", "(line 2): command must be one of"),
        ("FROM free\nADAPTER ./x.gguf", "ADAPTER names a file: models cannot be uploaded"),
    ],
)
def test_a_modelfile_that_is_none(text: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        modelfile_body(text, "x")
    assert refused.value.message.startswith(words)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, []),
        (
            {"system": "x", "parameters": {"a": 1}, "licenses": ("a", "b")},
            ["system prompt", "1 parameter", "2 licences"],
        ),
        ({"messages": ({},), "template": "x", "requires": "1"}, ["1 message", "template", "requires"]),
    ],
)
def test_what_a_persona_sets(said: dict[str, Any], words: list[str]) -> None:
    assert says(persona(**said)) == words
