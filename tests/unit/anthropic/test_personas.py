"""What a persona adds to a Messages request: the body that goes upstream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ollama_proxy.anthropic.needs import needs_of
from ollama_proxy.anthropic.personas import with_persona
from ollama_proxy.anthropic.request import read_messages
from ollama_proxy.errors import BadRequest
from tests.unit.catalog.personas import persona

ASK, SAY = {"role": "user", "content": "who?"}, {"role": "assistant", "content": "Mario!"}
HI, BE_KIND = {"role": "user", "content": "hi"}, {"role": "system", "content": "be kind"}
BLOCKS = [{"type": "text", "text": "be kind"}]
MARIO: dict[str, Any] = {"system": "You are Mario.", "messages": (ASK, SAY)}


def body(says: dict[str, Any], **fields: Any) -> dict[str, Any]:
    data = orjson.dumps({"model": "mario", "max_tokens": 9, **{"messages": [HI], **fields}})
    made = with_persona(read_messages(data), persona(**says))
    assert (made.pop("model"), made.pop("max_tokens")) == ("mario", 9)
    return made


@pytest.mark.parametrize(
    ("says", "fields", "expected"),
    [
        pytest.param({}, {}, {"messages": [HI]}, id="it says nothing"),
        pytest.param(MARIO, {}, {"system": "You are Mario.", "messages": [ASK, SAY, HI]}, id="system and messages"),
        pytest.param(
            MARIO, {"system": "be kind"}, {"system": "be kind", "messages": [ASK, SAY, HI]}, id="the request's system"
        ),
        pytest.param(
            MARIO, {"system": BLOCKS}, {"system": BLOCKS, "messages": [ASK, SAY, HI]}, id="the request's blocks"
        ),
        pytest.param(
            MARIO, {"system": ""}, {"system": "You are Mario.", "messages": [ASK, SAY, HI]}, id="an empty one is none"
        ),
        pytest.param(
            MARIO, {"messages": [BE_KIND, HI]}, {"messages": [BE_KIND, ASK, SAY, HI]}, id="a system among the messages"
        ),
        pytest.param(
            {"parameters": {"temperature": 0.6, "top_p": 0.9, "top_k": 9, "stop": ["a", "b"]}},
            {},
            {"temperature": 0.6, "top_p": 0.9, "top_k": 9, "stop_sequences": ["a", "b"], "messages": [HI]},
            id="all parameters that there are",
        ),
        pytest.param(
            {"parameters": {"temperature": 0.6, "stop": ["a"]}},
            {"temperature": 0, "stop_sequences": ["b"]},
            {"temperature": 0, "stop_sequences": ["b"], "messages": [HI]},
            id="the request's own go first",
        ),
        pytest.param(
            {"parameters": {"num_predict": 5, "seed": 1, "min_p": 0.1, "repeat_penalty": 1.1}},
            {},
            {"messages": [HI]},
            id="others have no field there",
        ),
    ],
)
def test_what_goes_upstream(says: dict[str, Any], fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body(says, **fields) == expected


@pytest.mark.parametrize(
    ("temperature", "fields", "expected"),
    [
        pytest.param(1.5, {}, {"temperature": 1, "top_k": 9}, id="too warm"),
        pytest.param(0.5, {}, {"temperature": 0.5, "top_k": 9}, id="as it is"),
        pytest.param(0.5, {"thinking": {"type": "disabled"}}, {"temperature": 0.5, "top_k": 9}, id="it does not think"),
        pytest.param(0.5, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {}, id="it thinks"),
        pytest.param(0.5, {"thinking": {"type": "adaptive"}, "top_p": 0.95}, {"top_p": 0.95}, id="the client's own"),
    ],
)
def test_anthropics_own_models_take_less(temperature: float, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    asked = read_messages(orjson.dumps({"model": "mario", "max_tokens": 9, "messages": [HI], **fields}))
    says = persona(parameters={"temperature": temperature, "top_k": 9})
    made = with_persona(asked, says, own_model=True)
    assert {name: made[name] for name in ("temperature", "top_k", "top_p") if name in made} == expected
    assert with_persona(asked, says)["temperature"] == temperature


def test_what_it_says_counts_in_the_needs() -> None:
    says = {"system": "x" * 400, "messages": ({"role": "user", "content": "y" * 4000},)}
    assert needs_of(body(says) | {"max_tokens": 9}).prompt_tokens == 1100


def test_a_parameter_of_a_wrong_type_fails_when_it_is_used() -> None:
    with pytest.raises(BadRequest, match='option "top_k" must be of type integer'):
        body({"parameters": {"top_k": "many"}})
