"""What a persona adds to a request of the Ollama API: the body that goes upstream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ollama_proxy.errors import BadRequest
from ollama_proxy.ollama.request.chat_bodies import read_chat, read_generate
from ollama_proxy.ollama.request.personas import with_persona
from ollama_proxy.ollama.request.to_openrouter import Translation, translate_chat, translate_generate
from tests.unit.catalog.personas import persona

SYSTEM = {"role": "system", "content": "You are Mario."}
BE_KIND = {"role": "system", "content": "be kind"}
ASK, SAY = {"role": "user", "content": "who?"}, {"role": "assistant", "content": "Mario!"}
HI = {"role": "user", "content": "hi"}
MARIO: dict[str, Any] = {"system": SYSTEM["content"], "messages": (ASK, SAY)}


def chat(says: dict[str, Any], **fields: Any) -> Translation:
    request = read_chat(orjson.dumps({"model": "mario", **{"messages": [HI], **fields}}))
    return translate_chat(with_persona(request, persona(**says)))


def generate(says: dict[str, Any], **fields: Any) -> Translation:
    request = read_generate(orjson.dumps({"model": "mario", **{"prompt": "hi", **fields}}))
    return translate_generate(with_persona(request, persona(**says)))


@pytest.mark.parametrize(
    ("says", "messages", "expected"),
    [
        pytest.param({}, [HI], [HI], id="it says nothing"),
        pytest.param(MARIO, [HI], [SYSTEM, ASK, SAY, HI], id="its system, its messages, then the request's"),
        pytest.param({"system": "You are Mario."}, [HI], [SYSTEM, HI], id="its system"),
        pytest.param({"messages": (ASK, SAY)}, [HI], [ASK, SAY, HI], id="its messages"),
        pytest.param(MARIO, [BE_KIND, HI], [BE_KIND, ASK, SAY, HI], id="a system of the request goes first of all"),
        pytest.param(
            MARIO, [HI, BE_KIND, HI], [SYSTEM, ASK, SAY, HI, BE_KIND, HI], id="only the request's first one counts"
        ),
        pytest.param(
            MARIO, [{"role": "Developer", "content": "be kind"}, HI], [BE_KIND, ASK, SAY, HI], id="developer is system"
        ),
        pytest.param(MARIO, [BE_KIND], [ASK, SAY, BE_KIND], id="never an assistant's message last"),
        pytest.param({"messages": (ASK,)}, [HI], [ASK, HI], id="its messages may end with the user's"),
        pytest.param({"messages": (SYSTEM, ASK)}, [HI], [SYSTEM, ASK, HI], id="or hold a system"),
        pytest.param({"messages": ({"role": "user", "content": ""},)}, [HI], [HI], id="empty ones are left out"),
        pytest.param({"messages": ({"role": "user", "content": " \n"},)}, [HI], [HI], id="blanks are left out"),
        pytest.param({"messages": ({"role": 1, "content": 2}, {})}, [HI], [HI], id="what is no message is left out"),
        pytest.param({"template": "{{ .Prompt }}!"}, [HI], [HI], id="a template is not used"),
    ],
)
def test_a_chat(says: dict[str, Any], messages: list[Any], expected: list[Any]) -> None:
    assert chat(says, messages=messages).body == {"messages": expected}


@pytest.mark.parametrize(
    ("says", "fields", "expected"),
    [
        pytest.param(MARIO, {}, [SYSTEM, ASK, SAY, HI], id="system, messages, prompt"),
        pytest.param(MARIO, {"system": "be kind"}, [BE_KIND, ASK, SAY, HI], id="the request's system"),
        pytest.param(MARIO, {"context": [1, 2]}, [SYSTEM, HI], id="no messages with a context"),
        pytest.param(MARIO, {"raw": True}, [HI], id="a raw prompt stays alone"),
    ],
)
def test_a_prompt(says: dict[str, Any], fields: dict[str, Any], expected: list[Any]) -> None:
    assert generate(says, **fields).body == {"messages": expected}


@pytest.mark.parametrize(
    ("parameters", "options", "expected"),
    [
        pytest.param({"temperature": 0.6, "top_k": 9}, {}, {"temperature": 0.6, "top_k": 9}, id="its own"),
        pytest.param({"temperature": 0.6, "seed": 1}, {"temperature": 0}, {"temperature": 0, "seed": 1}, id="by key"),
        pytest.param({"temperature": 0.6}, {"temperature": None}, {"temperature": 0.6}, id="null says nothing"),
        pytest.param({"stop": ["a", "b"]}, {"stop": ["c"]}, {"stop": ["c"]}, id="a list replaces a list"),
        pytest.param({"num_predict": 50, "num_ctx": 4096}, {}, {"max_tokens": 50}, id="as in options"),
        pytest.param({"nonsense": "x"}, {}, {}, id="unknown ones mean nothing"),
    ],
)
@pytest.mark.parametrize("translated", [chat, generate])
def test_parameters(translated: Any, parameters: dict[str, Any], options: dict[str, Any], expected: Any) -> None:
    body = translated({"parameters": parameters}, options=options).body
    assert body == {"messages": [HI], **expected}


def test_a_parameter_of_a_wrong_type_fails_when_it_is_used() -> None:
    request = read_chat(b'{"model": "mario", "messages": [{"role": "user", "content": "hi"}]}')
    with pytest.raises(BadRequest, match='option "temperature" must be of type float32'):
        with_persona(request, persona(parameters={"temperature": "warm"})).check_values()


def test_a_request_that_says_nothing_goes_on_saying_nothing() -> None:
    mario = persona(**MARIO)
    assert with_persona(read_chat(b'{"model": "mario"}'), mario).is_load
    assert with_persona(read_generate(b'{"model": "mario"}'), mario).is_load


def test_what_it_says_counts_in_the_needs() -> None:
    needs = chat({"system": "x" * 400, "messages": ({"role": "user", "content": "y" * 4000},)}).needs
    assert needs.prompt_tokens == 1100
    assert chat({"parameters": {"num_predict": 50, "stop": "."}}).needs.output_tokens == 50
    assert generate(MARIO | {"parameters": {"stop": [".", "!"]}}).stops == (".", "!")


def test_its_messages_are_no_part_of_the_clients_opening() -> None:
    """All conversations with it would be one, and each would look like one that goes on."""
    alone, other = chat({}).opening, {"role": "user", "content": "another"}
    assert chat(MARIO).opening == alone
    assert chat(MARIO, messages=[other]).opening not in (None, alone)
    assert chat(MARIO, messages=[HI, SAY, other]).opening == alone._replace(continues=True)
