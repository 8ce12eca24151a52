from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.errors import BadRequest
from ollama_proxy.openai.chat_messages import repaired_messages

USER: dict[str, Any] = {"role": "user", "content": "go on"}


def calling(*calls: tuple[str, str], content: Any = None) -> dict[str, Any]:
    made = [{"id": i, "type": "function", "function": {"name": name, "arguments": "{}"}} for i, name in calls]
    return {"role": "assistant", "content": content, "tool_calls": made}


def result(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": text, **more}


def seen(messages: list[Any]) -> list[str]:
    """`> id name` for a call, `< id text` for a result, `role text` for the rest."""
    lines = []
    for message in repaired_messages(messages):
        if message["role"] == "tool":
            lines.append(f"< {message['tool_call_id']} {message['content']}")
            continue
        if message["content"] is not None:
            lines.append(f"{message['role']} {message['content']}")
        lines += [f"> {call['id']} {call['function']['name']}" for call in message.get("tool_calls", ())]
    return lines


def test_no_text_and_no_thinking_is_lost_where_turns_become_one() -> None:
    part = {"type": "text", "text": "A"}
    first = {**calling(("a", "f"), content=[part]), "reasoning": "r", "reasoning_details": [{"type": "1"}], "name": "n"}
    second = {
        **calling(("b", "g"), content="B"),
        "reasoning": "s",
        "reasoning_details": [{"type": "2"}],
        "refusal": "x",
    }
    joined, *results = repaired_messages([first, second, result("1", tool_call_id="a"), result("2", tool_call_id="b")])
    assert joined == {
        **calling(("a", "f"), ("b", "g"), content=[part, {"type": "text", "text": "B"}]),
        "reasoning": "r\ns",
        "reasoning_details": [{"type": "1"}, {"type": "2"}],
        "name": "n",
        "refusal": "x",
    }
    assert len(results) == 2


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param(
            [calling(("a", "f")), result("A")], ["> a f", "< a A"], id="one call and one result belong together"
        ),
        pytest.param(
            [calling(("", "f"), ("", "g")), result("G", name="g"), result("F", name="f")],
            ["> call00001 f", "> call00002 g", "< call00001 F", "< call00002 G"],
            id="by name",
        ),
        pytest.param(
            [calling(("a", "f"), ("b", "f")), result("1"), result("2")],
            ["> a f", "> b f", "< a 1", "< b 2"],
            id="by order",
        ),
        pytest.param(
            [calling(("a", "f")), calling(("b", "g"), content="x"), result("B", tool_call_id="b"), result("A")],
            ["assistant x", "> a f", "> b g", "< a A", "< b B"],
            id="calls one after the other are one turn, and no text is lost",
        ),
        pytest.param([calling(("a", "f"))], ["> a f", "< a (no result was recorded)"], id="no result"),
        pytest.param(
            [USER, result("x", tool_call_id="q")], ["user go on", "user Tool result:\nx"], id="a result of nothing"
        ),
        pytest.param(
            [{"role": "Function", "name": "f", "content": "x"}], ["user Tool result of f:\nx"], id="an old role"
        ),
        pytest.param([{"content": "x"}, None], ["user x", "user "], id="no role, no message"),
    ],
)
def test_results_follow_their_calls(history: list[Any], expected: list[str]) -> None:
    assert seen(history) == expected


def test_a_sound_history_is_not_touched() -> None:
    history = [
        USER,
        calling(("a", "f"), ("b", "g")),
        result("B", tool_call_id="b"),
        result("A", tool_call_id="a"),
        USER,
    ]
    repaired = repaired_messages(history)
    assert all(one is other for one, other in zip(repaired, history, strict=True))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"role": "user", "content": 5}, "invalid message content type: float64"),
        ({"role": "user"}, "invalid message content type: <nil>"),
        ({"role": "user", "content": [5]}, "invalid message format"),
        (
            "x",
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.messages of type openai.Message",
        ),
    ],
)
def test_what_is_no_message_is_refused(message: Any, text: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        repaired_messages([message])
    assert refusal.value.message == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["user", "Tool", "assistant", "function", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "tool_calls", "id", "function", "name", "type", "text", "image_url"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(st.lists(json_values, max_size=6))
def test_any_history_comes_out_whole_or_is_refused(history: list[Any]) -> None:
    try:
        repaired = repaired_messages(history)
    except BadRequest:
        return
    open_ids: set[str] = set()
    for message in repaired:
        assert message["role"] in ("system", "developer", "user", "assistant", "tool")
        if message["role"] == "tool":
            open_ids.remove(message["tool_call_id"])
            continue
        assert not open_ids
        open_ids = {call["id"] for call in message.get("tool_calls") or ()}
    assert not open_ids
