from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.bodies.guard import guarded
from ollama_proxy.catalog.records import Model, parse_record

NOTHING = {"max_price": {"prompt": "0", "completion": "0"}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
FREE_PARSER = [{"id": "file-parser", "pdf": {"engine": "cloudflare-ai"}}]


def _model() -> Model:
    model = parse_record({"id": "vendor/slug:free"}, today=date(2026, 1, 1))
    assert model is not None
    return model


MODEL = _model()


def free(body: dict[str, Any]) -> dict[str, Any]:
    """The guarded body in free mode, without what is always there."""
    safe = guarded(body, MODEL, free_mode=True)
    assert safe.pop("model") == MODEL.id
    assert safe["provider"]["max_price"] == NOTHING["max_price"]
    if safe["provider"] == NOTHING:
        del safe["provider"]
    return safe


@pytest.mark.parametrize("free_mode", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        {"models": ["x-ai/grok-4"]},
        {"route": "fallback"},
        {"preset": "mine"},
        {"fallbacks": [{"model": "x-ai/grok-4"}]},
        {"model": "@preset/mine"},
        {"model": "vendor/slug:online"},
        {"Models": ["x-ai/grok-4"]},
        {" MODELS ": ["x-ai/grok-4"]},
        {"MODEL": "x-ai/grok-4"},
        {"Model ": "x-ai/grok-4", "model": "other"},
    ],
    ids=str,
)
def test_no_other_model_can_be_chosen(body: dict[str, Any], free_mode: bool) -> None:
    safe = guarded(body, MODEL, free_mode=free_mode)
    safe.pop("provider", None)
    assert safe == {"model": MODEL.id}


@pytest.mark.parametrize(
    "body",
    [
        {"plugins": [{"id": "web"}]},
        {"Plugins": [{"id": "web"}]},
        {"web_search_options": {}},
        {"service_tier": "priority"},
        {"speed": "fast"},
        {"prediction": {"type": "content", "content": "guessed"}},
        {"background": True},
        {"modalities": ["image", "text"], "image_config": {"size": "4K"}},
        {"audio": {"voice": "alloy"}},
        {"stop_server_tools_when": {}},
        {"provider": {"max_price": {"prompt": 100}}},
        {"provider": {"Max_Price": {"prompt": 100}}},
        {"provider": "anything"},
        {"Tools": [{"type": "openrouter:web_search"}], "PROVIDER": {"max_price": {"prompt": 9}}},
        {"provider": None},
        {"tools": [{"type": "openrouter:web_search"}]},
        {"tools": [{"type": "OpenRouter:web_search"}], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [{"type": " openrouter:datetime"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "web_search_preview"}]},
        {"tools": [{"type": "code_execution_20250522"}]},
        {"tools": [{"type": "image_generation"}, {"type": "mcp", "server_url": "http://x"}]},
        {"tools": [{"type": "namespace", "tools": [{"type": "openrouter:web_search"}]}]},
        {"tools": [{"type": ["openrouter:web_search"]}]},
        {"tools": [{"type": None, "name": "x"}]},
        {"tools": ["openrouter:web_search"]},
        {"tools": {"type": "openrouter:web_search"}},
        {"tools": "openrouter:web_search"},
    ],
    ids=str,
)
def test_in_free_mode_nothing_that_costs_money_is_left(body: dict[str, Any]) -> None:
    assert free(body) == {}


def test_outside_free_mode_all_that_is_kept() -> None:
    body = {
        "plugins": [{"id": "web"}],
        "web_search_options": {},
        "service_tier": "priority",
        "modalities": ["image", "text"],
        "provider": {"max_price": {"prompt": 1}},
        "tools": [{"type": "openrouter:web_search"}],
    }
    assert guarded(body, MODEL, free_mode=False) == {"model": MODEL.id, **body}


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "any"}},
        {"tools": [{"type": "custom", "name": "f"}, {"type": "bash_20250124", "name": "bash"}]},
        {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]}},
        {"tools": []},
        {"tools": None},
        {"transforms": ["middle-out"], "user": "me", "temperature": 0.5, "unknown": {"models": ["x"]}},
    ],
    ids=str,
)
def test_what_costs_nothing_stays(body: dict[str, Any]) -> None:
    assert free(body) == body


def test_other_provider_preferences_stay() -> None:
    sent = {"provider": {"order": ["a"], "data_collection": "deny", "max_price": {"request": 9}}}
    assert free(sent) == {"provider": {"order": ["a"], "data_collection": "deny", **NOTHING}}


def test_functions_stay_beside_what_is_dropped() -> None:
    sent = {"tools": [FUNCTION, {"type": "openrouter:web_search"}], "tool_choice": {"type": "web_search"}}
    assert free(sent) == {"tools": [FUNCTION]}


@pytest.mark.parametrize("free_mode", [True, False])
@pytest.mark.parametrize(
    "choice",
    [
        {"type": []},
        {"type": {}},
        {"type": None, "name": []},
        {"type": ["function"], "function": 1},
        {"type": "allowed_tools", "tools": [{"type": []}]},
        {"type": "allowed_tools", "tools": [{"type": "allowed_tools", "tools": []}]},
    ],
    ids=str,
)
def test_a_choice_of_no_known_type_is_dropped_and_harms_nobody(choice: dict[str, Any], free_mode: bool) -> None:
    sent = {"tools": [FUNCTION, {"type": "openrouter:web_search"}], "tool_choice": choice}
    kept = guarded(sent, MODEL, free_mode=free_mode)
    assert ("tool_choice" in kept) is not free_mode


def test_a_choice_nested_deeply_harms_nobody() -> None:
    choice: Any = {"type": "function", "name": "f"}
    for _ in range(5000):
        choice = {"type": "allowed_tools", "tools": [choice]}
    assert free({"tools": [FUNCTION], "tool_choice": choice}) == {"tools": [FUNCTION]}


def test_a_choice_among_dropped_tools_is_dropped() -> None:
    choice = {"type": "allowed_tools", "tools": [{"type": "openrouter:web_search"}]}
    assert free({"tools": [FUNCTION], "tool_choice": choice}) == {"tools": [FUNCTION]}


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "tool", "name": "web_search"},
        {"type": "function", "name": "web_search"},
        {"type": "function", "function": {"name": "web_search"}},
        {"type": "custom", "custom": {"name": "web_search"}},
        {"type": "allowed_tools", "tools": [{"type": "function", "name": "web_search"}]},
        {
            "type": "allowed_tools",
            "allowed_tools": {"tools": [{"type": "function", "function": {"name": "web_search"}}]},
        },
    ],
    ids=str,
)
def test_a_choice_that_names_a_dropped_tool_goes_with_it(choice: dict[str, Any]) -> None:
    assert free({"tools": [FUNCTION, SEARCH], "tool_choice": choice}) == {"tools": [FUNCTION]}


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "auto"},
        {"type": "tool", "name": "f"},
        {"type": "function", "function": {"name": "f"}},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    ],
    ids=str,
)
def test_a_choice_among_those_that_stay_stays(choice: Any) -> None:
    assert free({"tools": [FUNCTION, SEARCH], "tool_choice": choice}) == {"tools": [FUNCTION], "tool_choice": choice}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "data:"}}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "data:"}]}]},
        {"input": [{"type": "function_call_output", "output": [{"type": "input_file"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
        {"messages": [{"content": [{"type": "tool_result", "content": [{"type": "document"}]}]}]},
    ],
    ids=["chat", "responses", "in a call's output", "messages", "in a tool result"],
)
def test_files_are_read_by_the_parser_that_is_free(body: dict[str, Any]) -> None:
    assert free({**body, "plugins": [{"id": "file-parser", "pdf": {"engine": "mistral-ocr"}}]}) == {
        **body,
        "plugins": FREE_PARSER,
    }


@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output", "of tomorrow", None])
def test_no_server_tool_comes_with_an_input_item(kind: str | None) -> None:
    """Whatever the type of the item: what upstream reads there is not known here."""
    listed = [{"type": "openrouter:web_search"}, {"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]
    assert free({"input": [{"type": kind, "tools": [*listed, {"type": "custom", "name": "c"}]}]}) == {
        "input": [{"type": kind, "tools": [{"type": "custom", "name": "c"}]}]
    }
    assert free({"input": [{"type": kind, "tools": {"type": "mcp"}}]}) == {"input": [{"type": kind, "tools": []}]}


def test_a_file_is_found_however_deep_it_lies() -> None:
    content: Any = [{"type": "input_file"}]
    for _ in range(2000):
        content = [{"content": content}]
    assert free({"input": content})["plugins"] == FREE_PARSER


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["model", "models", "tools", "provider", "tool_choice", "plugins", "messages", "input", "Route"]
)


@given(st.dictionaries(names | st.text(max_size=5), json_values, max_size=6))
def test_any_body_comes_out_safe_and_is_left_as_it_was(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    safe = guarded(body, MODEL, free_mode=True)
    assert body == before
    assert safe["model"] == MODEL.id
    assert safe["provider"]["max_price"] == NOTHING["max_price"]
    assert {name.strip().lower() for name in safe}.isdisjoint({"models", "route", "preset", "fallbacks"})
    assert safe.get("plugins") in (None, FREE_PARSER)
