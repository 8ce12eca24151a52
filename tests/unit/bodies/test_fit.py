from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ollama_proxy.bodies.fit import fit
from ollama_proxy.catalog.records import Model, parse_record

ALL = (
    "temperature top_p top_k min_p seed stop frequency_penalty presence_penalty repetition_penalty logprobs "
    "top_logprobs response_format structured_outputs tools tool_choice max_tokens reasoning"
)


def model(
    parameters: str = ALL, *, reasoning: Any = None, most: int | None = None, model_id: str = "vendor/slug"
) -> Model:
    made = parse_record(
        {
            "id": model_id,
            "supported_parameters": parameters.split(),
            "reasoning": reasoning,
            "top_provider": {"max_completion_tokens": most},
        },
        today=date(2026, 1, 1),
    )
    assert made is not None
    return made


def test_the_body_gets_the_model_and_stays_unchanged_itself() -> None:
    body = {"model": "other", "messages": [], "max_tokens": 10}
    assert fit(body, model(most=5)) == {"model": "vendor/slug", "messages": [], "max_tokens": 5}
    assert body == {"model": "other", "messages": [], "max_tokens": 10}


@pytest.mark.parametrize(
    ("asked", "most", "sent"),
    [
        ({"max_tokens": 100}, 50, {"max_tokens": 50}),
        ({"max_completion_tokens": 100}, 50, {"max_completion_tokens": 50}),
        ({"max_tokens": 20}, 50, {"max_tokens": 20}),
        ({"max_tokens": 100}, None, {"max_tokens": 100}),
        ({"max_tokens": None}, 50, {"max_tokens": None}),
        ({}, 50, {}),
    ],
)
def test_output_is_cut_and_never_added(asked: dict, most: int | None, sent: dict) -> None:
    assert fit(asked, model(most=most)) == {"model": "vendor/slug", **sent}


OPTIONAL = {"mandatory": False, "supported_efforts": ["max", "high", "low"]}
SWITCHABLE = {"mandatory": False, "supported_efforts": ["high", "medium", "low", "none"]}
MANDATORY = {"mandatory": True, "supported_efforts": ["high", "medium", "low"]}
MANDATORY_UNKNOWN = {"mandatory": True}


@pytest.mark.parametrize(
    ("reasoning", "asked", "sent"),
    [
        pytest.param(OPTIONAL, {"enabled": True}, {"enabled": True}, id="on"),
        pytest.param(OPTIONAL, {"effort": "medium"}, {"effort": "low"}, id="nearest effort, the lower of two"),
        pytest.param(SWITCHABLE, {"effort": "max"}, {"effort": "high"}, id="highest there is"),
        pytest.param(SWITCHABLE, {"effort": "minimal"}, {"effort": "low"}, id="never nearest to off"),
        pytest.param({}, {"effort": "max"}, {"effort": "max"}, id="efforts unknown"),
        pytest.param({}, {"effort": "none"}, {"effort": "none"}, id="off, efforts unknown"),
        pytest.param(SWITCHABLE, {"effort": "none"}, {"effort": "none"}, id="off is an effort"),
        pytest.param(OPTIONAL, {"effort": "none"}, {"enabled": False}, id="off is no effort"),
        pytest.param(OPTIONAL, {"enabled": False}, {"enabled": False}, id="disabled"),
        pytest.param(MANDATORY, {"effort": "none"}, {"effort": "low"}, id="must think: the least"),
        pytest.param(
            MANDATORY, {"enabled": False, "exclude": True}, {"effort": "low", "exclude": True}, id="rest stays"
        ),
        pytest.param(MANDATORY_UNKNOWN, {"enabled": False}, None, id="must think, efforts unknown: said nothing"),
        pytest.param(OPTIONAL, {"max_tokens": 500}, {"max_tokens": 500}, id="a budget"),
        pytest.param(OPTIONAL, {"effort": "ultra"}, {"enabled": True}, id="an effort nobody knows"),
    ],
)
def test_reasoning(reasoning: Any, asked: dict, sent: Any) -> None:
    for drop in (True, False):
        assert fit({"reasoning": asked}, model(reasoning=reasoning), drop_unsupported=drop).get("reasoning") == sent


@pytest.mark.parametrize(
    ("reasoning", "asked", "sent"),
    [
        (MANDATORY, "none", "low"),
        (MANDATORY_UNKNOWN, "none", None),
        (OPTIONAL, "high", "high"),
        (OPTIONAL, "xhigh", "high"),
    ],
)
def test_effort_in_openais_spelling(reasoning: Any, asked: str, sent: str | None) -> None:
    assert fit({"reasoning_effort": asked}, model(reasoning=reasoning)).get("reasoning_effort") == sent


def test_a_model_that_cannot_think_is_not_asked_to() -> None:
    body = {"reasoning": {"effort": "high"}, "reasoning_effort": "low"}
    assert fit(body, model("max_tokens temperature")) == {"model": "vendor/slug"}


SAMPLING = {
    "temperature": 1,
    "top_k": 1,
    "min_p": 0.1,
    "seed": 1,
    "stop": ["a"],
    "repetition_penalty": 1,
    "logprobs": True,
    "top_logprobs": 1,
    "response_format": {"type": "json_object"},
    "max_tokens": 5,
    "messages": [],
}


def test_unsupported_parameters_are_left_out_of_translated_requests_only() -> None:
    poor = model("temperature max_tokens")
    assert fit(SAMPLING, poor, drop_unsupported=True) == {
        "model": "vendor/slug",
        "temperature": 1,
        "max_tokens": 5,
        "messages": [],
    }
    assert fit(SAMPLING, poor) == {"model": "vendor/slug", **SAMPLING}
    assert fit(SAMPLING, model(), drop_unsupported=True) == {"model": "vendor/slug", **SAMPLING}


def test_a_record_without_parameters_says_nothing() -> None:
    assert fit(SAMPLING, model(""), drop_unsupported=True) == {"model": "vendor/slug", **SAMPLING}


@pytest.mark.parametrize("parameters", ["response_format", "structured_outputs"])
def test_a_schema_is_sent_to_models_that_know_either_kind(parameters: str) -> None:
    body = {"response_format": {"type": "json_schema", "json_schema": {}}}
    assert fit(body, model(parameters), drop_unsupported=True)["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("parameters", "choice", "sent"),
    [
        ("tools tool_choice", "none", {"tools", "tool_choice"}),
        ("tools", "none", set()),
        ("temperature", "none", set()),
        ("tools", "auto", {"tools"}),
        ("temperature", "required", {"tools"}),
    ],
)
def test_tools(parameters: str, choice: str, sent: set) -> None:
    body = {"tools": [{}], "tool_choice": choice}
    assert fit(body, model(parameters), drop_unsupported=True).keys() - {"model"} == sent


def test_mistral_gets_ids_of_nine_letters_and_digits() -> None:
    messages = [
        {"role": "assistant", "tool_calls": [{"id": "call_ab12cd34"}, {"id": "call00001"}, {"id": "m00000001"}]},
        {"role": "tool", "tool_call_id": "call_ab12cd34"},
        {"role": "tool", "tool_call_id": "call00001"},
        {"role": "tool", "tool_call_id": "m00000001"},
        {"role": "user", "content": "x"},
    ]
    sent = fit({"messages": messages}, model(model_id="mistralai/x"), drop_unsupported=True)["messages"]
    ids = [call["id"] for call in sent[0]["tool_calls"]]
    assert ids == ["m00000002", "call00001", "m00000001"]
    assert [message["tool_call_id"] for message in sent[1:4]] == ids
    assert sent[4] is messages[4]
    assert messages[0]["tool_calls"][0]["id"] == "call_ab12cd34"
    assert fit({"messages": messages}, model(), drop_unsupported=True)["messages"] is messages
