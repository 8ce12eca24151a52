"""What a persona adds to a request of the OpenAI API: the body that goes upstream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ollama_proxy.errors import BadRequest
from ollama_proxy.openai import request
from ollama_proxy.openai.personas import chat_with, completion_with, response_with
from ollama_proxy.openai.request import PassedRequest
from tests.unit.catalog.personas import persona

SYSTEM = {"role": "system", "content": "You are Mario."}
BE_KIND = {"role": "system", "content": "be kind"}
DEVELOP = {"role": "developer", "content": "be kind"}
ASK, SAY = {"role": "user", "content": "who?"}, {"role": "assistant", "content": "Mario!"}
HI = {"role": "user", "content": "hi"}
MARIO: dict[str, Any] = {"system": SYSTEM["content"], "messages": (ASK, SAY)}
EVERYTHING = {
    "temperature": 0.6,
    "top_p": 0.9,
    "top_k": 9,
    "min_p": 0.1,
    "seed": 7,
    "num_predict": 50,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "repeat_penalty": 1.1,
    "stop": ["a", "b", "c", "d", "e"],
    "num_ctx": 4096,
}


def chat(says: dict[str, Any], **fields: Any) -> PassedRequest:
    data = orjson.dumps({"model": "mario", **{"messages": [HI], **fields}})
    return chat_with(request.read_chat(data, free_mode=True), persona(**says))


def respond(says: dict[str, Any], **fields: Any) -> PassedRequest:
    data = orjson.dumps({"model": "mario", **{"input": "hi", **fields}})
    return response_with(request.read_responses(data, free_mode=True), persona(**says))


@pytest.mark.parametrize(
    ("says", "messages", "expected"),
    [
        pytest.param({}, [HI], [HI], id="it says nothing"),
        pytest.param(MARIO, [HI], [SYSTEM, ASK, SAY, HI], id="its system, its messages, then the request's"),
        pytest.param(MARIO, [BE_KIND, HI], [BE_KIND, ASK, SAY, HI], id="a system of the request goes first of all"),
        pytest.param(MARIO, [DEVELOP, HI], [DEVELOP, ASK, SAY, HI], id="a developer's too"),
        pytest.param(MARIO, [HI, BE_KIND], [SYSTEM, ASK, SAY, HI, BE_KIND], id="only the request's first one counts"),
        pytest.param(MARIO, [BE_KIND], [ASK, SAY, BE_KIND], id="never an assistant's message last"),
    ],
)
def test_messages(says: dict[str, Any], messages: list[Any], expected: list[Any]) -> None:
    assert chat(says, messages=messages).body == {"model": "mario", "messages": expected}


def test_all_parameters_of_a_chat() -> None:
    asked = chat({"parameters": EVERYTHING})
    assert {name: value for name, value in asked.body.items() if name not in ("model", "messages")} == {
        "temperature": 0.6,
        "top_p": 0.9,
        "top_k": 9,
        "min_p": 0.1,
        "seed": 7,
        "max_tokens": 50,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "repetition_penalty": 1.1,
        "stop": ["a", "b", "c", "d"],
    }
    assert asked.stops == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"temperature": 0}, {"temperature": 0, "max_tokens": 50, "stop": ["x"]}, id="by field"),
        pytest.param(
            {"max_completion_tokens": 9},
            {"temperature": 0.6, "max_completion_tokens": 9, "stop": ["x"]},
            id="one limit, whatever its name",
        ),
        pytest.param({"max_tokens": 9}, {"temperature": 0.6, "max_tokens": 9, "stop": ["x"]}, id="a limit"),
        pytest.param({"stop": "y"}, {"temperature": 0.6, "max_tokens": 50, "stop": "y"}, id="stop"),
        pytest.param({"temperature": None}, {"temperature": 0.6, "max_tokens": 50, "stop": ["x"]}, id="null is none"),
    ],
)
def test_the_requests_own_fields_go_first(given: dict[str, Any], expected: dict[str, Any]) -> None:
    asked = chat({"parameters": {"temperature": 0.6, "num_predict": 50, "stop": "x"}}, **given)
    assert asked.body == {"model": "mario", "messages": [HI], **expected}
    assert asked.stops == (("y",) if "stop" in given else ("x",))
    assert asked.needs.output_tokens == expected.get("max_tokens", expected.get("max_completion_tokens"))


ITEM_SAY = {"type": "message", **SAY, "id": "msg_persona_1", "status": "completed"}
ITEM_ASK = {"type": "message", **ASK}


@pytest.mark.parametrize(
    ("says", "fields", "expected"),
    [
        pytest.param({}, {"input": "hi"}, {"input": "hi"}, id="it says nothing"),
        pytest.param(
            {"system": "You are Mario."}, {}, {"input": "hi", "instructions": "You are Mario."}, id="its system"
        ),
        pytest.param(
            MARIO,
            {},
            {"input": [ITEM_ASK, ITEM_SAY, HI], "instructions": "You are Mario."},
            id="its system, its messages, then the input",
        ),
        pytest.param(
            MARIO,
            {"instructions": "be kind"},
            {"input": [ITEM_ASK, ITEM_SAY, HI], "instructions": "be kind"},
            id="the request's instructions",
        ),
        pytest.param(
            MARIO,
            {"input": [DEVELOP, HI]},
            {"input": [DEVELOP, ITEM_ASK, ITEM_SAY, HI]},
            id="a developer's item counts as a system",
        ),
    ],
)
def test_items(says: dict[str, Any], fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert respond(says, **fields).body == {"model": "mario", **expected}


def test_a_stored_prompt_needs_no_input() -> None:
    data = orjson.dumps({"model": "mario", "prompt": {"id": "p"}})
    asked = response_with(request.read_responses(data, free_mode=False), persona(messages=(ASK, SAY)))
    assert asked.body["input"] == [ITEM_ASK, ITEM_SAY]


def test_all_parameters_of_a_response() -> None:
    asked = respond({"parameters": EVERYTHING}, temperature=0)
    assert {name: value for name, value in asked.body.items() if name not in ("model", "input")} == {
        "temperature": 0,
        "top_p": 0.9,
        "top_k": 9,
        "max_output_tokens": 50,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
    }
    assert asked.needs.output_tokens == 50
    assert asked.stops == ()


def test_a_bare_prompt_has_parameters_only() -> None:
    data = b'{"model": "mario", "prompt": "hi", "seed": 1}'
    asked = completion_with(request.read_completion(data), persona(**MARIO, parameters={"seed": 2, "top_k": 3}))
    assert asked.body == {"model": "mario", "prompt": "hi", "seed": 1, "top_k": 3}


def test_what_it_says_counts_in_the_needs() -> None:
    says = {"system": "x" * 400, "messages": ({"role": "user", "content": "y" * 4000},)}
    assert chat(says).needs.prompt_tokens == 1100
    assert respond(says).needs.prompt_tokens == 1100


def test_a_parameter_of_a_wrong_type_fails_when_it_is_used() -> None:
    for ask in (chat, respond):
        with pytest.raises(BadRequest, match='option "top_k" must be of type integer'):
            ask({"parameters": {"top_k": "many"}})


def test_the_clients_own_body_is_not_changed() -> None:
    """How the conversation began is read from it."""
    asked = request.read_chat(b'{"model": "mario", "messages": [{"role": "user", "content": "hi"}]}', free_mode=True)
    chat_with(asked, persona(**MARIO, parameters=EVERYTHING))
    assert asked.body == {"model": "mario", "messages": [HI]}
